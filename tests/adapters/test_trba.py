"""TRBA in fixed shapes equals the dynamic model: rectification, recurrent layers and attention decoder."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import neuronkit
from neuronkit import compile_for_inferentia, load, make_static
from neuronkit.adapters.trba import Rectify, TRBAOptions
from neuronkit.errors import OptionError, SpecError
from neuronkit.ocr import ParseqProcessor
from neuronkit.static.model import StaticModel
from neuronkit.testing import AdapterConformance
from tests.adapters.trba_model import HEIGHT, TRBA, WIDTH, System


def lively(seed: int) -> TRBA:
    """A random model whose words depend on the image, and end at different lengths."""
    torch.manual_seed(seed)
    model = TRBA()
    with torch.no_grad():
        model.Transformation.LocalizationNetwork.localization_fc2.weight.normal_(0, 0.3)
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and not name.startswith("Transformation"):
                parameter.mul_(2)
        model.Prediction.generator.weight.mul_(2)  # type: ignore[union-attr, operator]
        model.Prediction.char_embeddings.weight.mul_(0.3)  # type: ignore[union-attr, operator]
    return model.eval()


def blurred(batch: int, seed: int) -> Tensor:
    noise = torch.randn(batch, 3, 4, 8, generator=torch.Generator().manual_seed(seed)) * 2
    return F.interpolate(noise, size=(HEIGHT, WIDTH), mode="bilinear", align_corners=False)


class TestTRBA(AdapterConformance):
    batch_size = 4
    options = TRBAOptions(max_length=9)
    distinct_results = 6

    def make_model(self) -> nn.Module:
        return lively(0)

    def make_static(self, model: nn.Module, batch_size: int) -> StaticModel:
        return neuronkit.make_static(model, family="trba", batch_size=batch_size, options=self.options)

    def make_inputs(self, batch: int, seed: int) -> tuple[Tensor, ...]:
        return (blurred(batch, seed),)


class TestTRBAInOneGraph(TestTRBA):
    options = TRBAOptions(max_length=9, method="unrolled")


def test_words_end_early_and_late() -> None:
    static = neuronkit.make_static(lively(0), family="trba", batch_size=24, options=TRBAOptions(max_length=9))
    lengths = {len(ids) for ids in static.decoded(static(blurred(24, 0)))}
    assert len(lengths) >= 3
    assert max(lengths) == 10


def test_rectification_reaches_over_the_border_and_equals_grid_sample() -> None:
    transformation = lively(0).Transformation
    with torch.no_grad():
        transformation.LocalizationNetwork.localization_fc2.bias.mul_(1.5)
        images = torch.randn(3, 3, HEIGHT, WIDTH)
        torch.testing.assert_close(Rectify(transformation)(images), transformation(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["stepwise", "unrolled"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.torch2  # the original runs in neither on the CPU of torch 1.13
def test_half_precision_reads_what_the_dynamic_model_reads(method: str, dtype: torch.dtype) -> None:
    options = TRBAOptions(max_length=9, method=method)
    static = neuronkit.make_static(lively(0).to(dtype), family="trba", batch_size=8, options=options)
    inputs = (blurred(8, 0).to(dtype),)
    with torch.no_grad():
        outputs, reference = (
            static.meaningful(logits, inputs) for logits in (static(*inputs), static.reference(*inputs))
        )
    assert outputs.dtype == dtype
    assert static.decoded(outputs) == static.decoded(reference)


@pytest.mark.parametrize("method", ["stepwise", "unrolled"])
def test_graphs_hold_only_operators_of_inf1(method: str) -> None:
    static = neuronkit.make_static(lively(0), family="trba", options=TRBAOptions(max_length=5, method=method))
    assert neuronkit.analyze(static, target="inf1").unsupported == {}


def test_the_training_system_says_how_long_words_are() -> None:
    model = lively(0)
    system = neuronkit.make_static(System(model, 7), family="trba", batch_size=2)
    alone = neuronkit.make_static(model, family="trba", batch_size=2, options=TRBAOptions(max_length=7))
    images = blurred(2, 1)
    assert torch.equal(system(images), alone(images))
    assert neuronkit.make_static(model, family="trba").steps == 26


def test_what_it_cannot_do_is_refused() -> None:
    model = lively(0)
    model.Prediction = nn.Linear(24, 20)
    with pytest.raises(SpecError, match="TRBA ends in CTC, which needs no decoding loop; it is static as it is"):
        neuronkit.make_static(model, family="trba")
    with pytest.raises(SpecError, match="got max_length=0; expected a whole number of at least 1"):
        TRBAOptions(max_length=0)


def test_its_processor_knows_that_bos_and_pad_are_classes(tmp_path: Path) -> None:
    characters = "abcdefghijklmnopq"
    torch.manual_seed(0)
    system = System(TRBA(len(characters) + 3).eval(), 5).eval()
    system.tokenizer = SimpleNamespace(_itos=("[E]", *characters, "[B]", "[P]"))
    system.model.Prediction.generator.bias.data[-2:] = -100.0
    static = make_static(system, family="trba", batch_size=2)
    compiled = compile_for_inferentia(static, target="cpu", verify=False)
    processor = compiled.processor
    assert processor == ParseqProcessor(characters, image_size=(HEIGHT, WIDTH), extra_classes=2)
    assert load(compiled.save(tmp_path / "trba.pt")).processor == processor
    crops = [np.random.default_rng(i).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for i in range(2)]
    logits = compiled(torch.from_numpy(processor.preprocess(crops)))
    ids = [row[: row.index(0)] if 0 in row else row for row in logits.argmax(-1).tolist()]
    texts = ["".join(characters[i - 1] for i in row) for row in ids]
    assert [word.text for word in processor.postprocess(logits)] == texts
    assert any(texts)
    logits[0, 0, -2] = 1000.0
    with pytest.raises(SpecError, match=r"got token 18 in word 0; expected 0 to 17"):
        processor.postprocess(logits)
    for wrong, message in (
        (ParseqProcessor(characters, image_size=(HEIGHT, WIDTH)), "extra_classes=2, since BOS and PAD are classes"),
        (ParseqProcessor(characters[::-1], image_size=(HEIGHT, WIDTH), extra_classes=2), "in another order"),
        (ParseqProcessor(characters + "rs", image_size=(HEIGHT, WIDTH)), "19 characters for a model of 17"),
    ):
        with pytest.raises(OptionError, match=message):
            compile_for_inferentia(static, target="cpu", processor=wrong, verify=False)
