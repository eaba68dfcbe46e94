"""Normalisation inside the graph: bytes go in, and the answer is the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from neuronkit import compile_for_inferentia, make_static
from neuronkit.adapters.craft import CRAFTOptions
from neuronkit.errors import OptionError
from neuronkit.models import CRAFT, PARSeq
from neuronkit.ocr import CraftProcessor, OCRPipeline, ParseqProcessor, fold_normalization

from .toys import CHARSET, Spec, grid, recognize

pytestmark = pytest.mark.arrays

PAGES = [np.random.default_rng(i).integers(0, 256, (60 + 30 * i, 90, 3), dtype=np.uint8) for i in range(2)]


def small_craft():
    torch.manual_seed(0)
    model = CRAFT(width=1 / 16).eval()
    for parameter in model.parameters():
        # Positive in the mean, or the last of so few channels may all be dead.
        torch.nn.init.normal_(parameter, 0.02, 0.2)
    return model


def small_parseq():
    torch.manual_seed(0)
    sizes = {"embed_dim": 32, "enc_num_heads": 2, "dec_num_heads": 2, "enc_depth": 1, "dec_depth": 1}
    return PARSeq(CHARSET, max_label_length=5, img_size=(32, 128), patch_size=(8, 16), **sizes).eval()


def test_craft_gives_the_same_scores_on_bytes() -> None:
    static = make_static(small_craft(), batch_size=2, options=CRAFTOptions(128, 128))
    floats, bytes_ = (CraftProcessor(canvas=(128, 128), raw_images=flag) for flag in (False, True))
    folded = fold_normalization(static, bytes_)
    assert [(spec.name, spec.dtype) for spec in folded.specs] == [("images", "uint8"), ("valid_size", "int32")]
    images, letterboxes = bytes_.preprocess(PAGES)
    assert images.dtype == np.uint8
    valid = torch.tensor([box.valid_size for box in letterboxes], dtype=torch.int32)
    expected = static(torch.from_numpy(floats.preprocess(PAGES)[0]), valid)[0]
    found = folded(torch.from_numpy(images), valid)[0]
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_craft_compiles_with_a_byte_input(tmp_path: Path) -> None:
    processor = CraftProcessor(canvas=(64, 64), raw_images=True)
    static = make_static(small_craft(), options=CRAFTOptions(64, 64))
    compiled = compile_for_inferentia(fold_normalization(static, processor), target="cpu", processor=processor)
    images, letterboxes = processor.preprocess(PAGES[:1])
    valid = torch.tensor([box.valid_size for box in letterboxes], dtype=torch.int32)
    normalized = torch.from_numpy(CraftProcessor(canvas=(64, 64)).preprocess(PAGES[:1])[0])
    found, expected = compiled(torch.from_numpy(images), valid)[0], static(normalized, valid)[0]
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.detach().abs().max()))
    assert compiled.processor == processor


def test_parseq_gives_the_same_logits_on_bytes() -> None:
    static = make_static(small_parseq(), batch_size=2)
    folded = fold_normalization(static, ParseqProcessor(CHARSET, raw_images=True))
    images = ParseqProcessor(CHARSET, raw_images=True).preprocess(PAGES)
    normalized = ParseqProcessor(CHARSET).preprocess(PAGES)
    torch.testing.assert_close(folded(torch.from_numpy(images)), static(torch.from_numpy(normalized)), rtol=0, atol=0)


def test_the_reader_follows_the_models_input() -> None:
    class Bytes:
        specs = (Spec("images", (2, 3, 32, 128)),)

        def __call__(self, images):
            assert images.dtype == torch.uint8
            return recognize((images / 255 - 0.5) / 0.5)

    from .toys import detect

    recognizer = Bytes()
    recognizer.specs = (type("ByteSpec", (), {"name": "images", "shape": (2, 3, 32, 128), "dtype": "uint8"})(),)
    processors = [ParseqProcessor(CHARSET, raw_images=flag) for flag in (True, False)]
    reader = OCRPipeline(detect, recognizer, detector_processor=CraftProcessor(), recognizer_processor=processors[0])
    assert reader(grid("abc")).text == "a b c"
    with pytest.raises(OptionError, match=r"normalises images for a model that takes images: uint8.*raw_images=True"):
        OCRPipeline(detect, recognizer, detector_processor=CraftProcessor(), recognizer_processor=processors[1])


def test_normalising_twice_or_never_is_refused() -> None:
    static = make_static(small_craft(), options=CRAFTOptions(64, 64))
    with pytest.raises(OptionError, match="normalises already"):
        fold_normalization(static, CraftProcessor())
    with pytest.raises(OptionError, match="expected a static model"):
        fold_normalization(small_craft(), CraftProcessor(raw_images=True))
    once = fold_normalization(static, CraftProcessor(raw_images=True))
    with pytest.raises(OptionError, match="first input is images: uint8"):
        fold_normalization(once, CraftProcessor(raw_images=True))
    with pytest.raises(OptionError, match="got raw_images=True for a model that takes images: float32"):
        OCRPipeline(
            static,
            recognize,
            detector_processor=CraftProcessor(raw_images=True),
            recognizer_processor=ParseqProcessor(CHARSET),
        )
