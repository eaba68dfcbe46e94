"""DoctrProcessor gives what docTR's own pre- and post-processors give."""

from typing import Any

import numpy as np
import pytest
import torch

import neuronkit
from neuronkit.errors import OptionError, SpecError
from neuronkit.ocr import DoctrProcessor, processor_from_dict

VOCABULARY = "abcdefghij"


def crops() -> list[Any]:
    rng = np.random.default_rng(0)
    sizes = [(32, 128), (20, 100), (60, 40), (7, 200), (90, 9), (1, 1)]
    return [rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in sizes]


def test_settings_come_back() -> None:
    processor = DoctrProcessor(VOCABULARY, (32, 100), "minimum", raw_images=True)
    assert processor_from_dict(processor.to_dict()) == processor


@pytest.mark.parametrize(
    "settings",
    [{"charset": "aa"}, {"charset": ""}, {"confidence": "max"}, {"image_size": (0, 1)}, {"std": (0, 1, 1)}],
)
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        DoctrProcessor(**{"charset": VOCABULARY, **settings})


def test_proportions_are_kept_and_the_rest_is_black() -> None:
    images = DoctrProcessor(VOCABULARY, raw_images=True).preprocess([np.full((10, 10, 3), 255, np.uint8)])
    assert images.shape == (1, 3, 32, 128)
    assert (images[..., :32] == 255).all()
    assert (images[..., 32:] == 0).all()


def test_words_end_at_the_class_after_the_vocabulary() -> None:
    logits = torch.full((2, 4, 11), -20.0)
    for row, ids in enumerate([(0, 1, 10, 5), (10, 0, 0, 0)]):
        logits[row, range(4), ids] = 20.0
    first, second = DoctrProcessor(VOCABULARY).postprocess(logits)
    assert (first.text, first.confidence, len(first.char_confidences)) == ("ab", pytest.approx(1.0), 2)
    assert (second.text, second.confidence) == ("", 0.0)


@pytest.mark.parametrize("shape", [(1, 4, 10), (1, 4, 14), (4, 11), (1, 0, 11)])
def test_other_logits_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match="which do not fit a vocabulary of 10 characters"):
        DoctrProcessor(VOCABULARY).postprocess(np.zeros(shape, np.float32))
    with pytest.raises(SpecError, match="NaN or infinite"):
        DoctrProcessor(VOCABULARY).postprocess(np.full((1, 2, 11), np.nan, np.float32))


@pytest.mark.peers
def test_images_are_those_of_doctr() -> None:
    from doctr.models.preprocessor import PreProcessor

    processor = DoctrProcessor(VOCABULARY)
    theirs = PreProcessor((32, 128), 16, preserve_aspect_ratio=True, mean=processor.mean, std=processor.std)
    (expected,) = theirs(crops())
    # torchvision's scaling of bytes differs from Pillow's by one level at most.
    assert np.abs(processor.preprocess(crops()) - expected.numpy()).max() <= 1.01 / 255 / 0.296


@pytest.mark.peers
@pytest.mark.parametrize(("name", "extra"), [("parseq", 1), ("vitstr", 1), ("sar", 1), ("master", 3)])
def test_texts_and_confidences_are_those_of_doctr(name: str, extra: int) -> None:
    import importlib

    module = importlib.import_module(f"doctr.models.recognition.{name}.pytorch")
    theirs = getattr(module, {"vitstr": "ViTSTR", "parseq": "PARSeq"}.get(name, name.upper()) + "PostProcessor")
    confidence = "minimum" if name in ("sar", "master") else "mean"
    logits = torch.randn(50, 8, len(VOCABULARY) + extra, generator=torch.Generator().manual_seed(0)) * 3
    found = DoctrProcessor(VOCABULARY, confidence=confidence).postprocess(logits)
    expected = theirs(vocab=VOCABULARY)(logits)
    assert [word.text for word in found] == [text for text, _ in expected]
    np.testing.assert_allclose([word.confidence for word in found], [c for _, c in expected], atol=1e-5)


@pytest.mark.peers
@pytest.mark.slow
@pytest.mark.parametrize("name", ["vitstr_small", "sar_resnet31"])
def test_a_doctr_model_reads_as_before_without_a_processor_given(name: str) -> None:
    from doctr.models import recognition

    torch.manual_seed(0)
    model = getattr(recognition, name)(pretrained=False, pretrained_backbone=False, vocab=VOCABULARY).eval()
    compiled = neuronkit.compile_for_inferentia(neuronkit.make_static(model, batch_size=2), target="cpu", verify=False)
    images = torch.from_numpy(compiled.processor.preprocess(crops()[:2]))
    with torch.no_grad():
        expected = [model(image, return_preds=True)["preds"][0] for image in images.split(1)]
    found = compiled.processor.postprocess(compiled(images))
    assert [word.text for word in found] == [text for text, _ in expected]
    np.testing.assert_allclose([word.confidence for word in found], [c for _, c in expected], atol=1e-4)
