"""TRBA in fixed shapes equals the dynamic model: rectification, recurrent layers and attention decoder."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import neuronkit
from neuronkit.adapters.trba import Rectify, TRBAOptions
from neuronkit.errors import SpecError
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
