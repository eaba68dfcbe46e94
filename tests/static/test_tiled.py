from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neuronkit.adapters.craft import StaticCRAFT
from neuronkit.demo.pages import PageStyle, render_page
from neuronkit.demo.weights import load_craft
from neuronkit.errors import SpecError
from neuronkit.models.craft import CRAFT
from neuronkit.ocr import CraftProcessor
from neuronkit.specs import TensorSpec
from neuronkit.static.exact import exact_padding
from neuronkit.static.shapes.reach import Reach, reach
from neuronkit.static.shapes.tiled import Tiled

from .networks import Net, UNet, between, conv, lively

SPECS = (TensorSpec("images", (2, 3, 64, 96), "float64"), TensorSpec("valid_size", (2, 2), "int32"))


def small_unet() -> Any:
    torch.manual_seed(0)
    return lively(UNet("bilinear", depth=1, width=4)).double()


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (conv(3, 4), Reach(1, 1, 1, 1)),
        (conv(3, 4, 1, padding=0), Reach(0, 0, 0, 0)),
        (conv(3, 4, (5, 1), padding=(2, 0)), Reach(2, 2, 0, 0)),
        (nn.Sequential(conv(3, 4), conv(4, 4, dilation=3, padding=3)), Reach(4, 4, 4, 4)),
        # An output looks one row further on each side than the two it stands for: counted in whole outputs, two.
        (nn.Conv2d(3, 4, 4, stride=2, padding=1), Reach(2, 2, 2, 2)),
        (nn.Sequential(nn.MaxPool2d(2), conv(3, 4), nn.Upsample(scale_factor=2)), Reach(2, 2, 2, 2)),
        (Net(lambda x, c: {"near": c(x), "far": c(c(x))}, conv(3, 3)), Reach(2, 2, 2, 2)),
    ],
)
def test_reach_is_that_of_the_windows(module: nn.Module, expected: Reach) -> None:
    assert reach(module, stride=2) == expected
    assert expected.largest == max(expected.up, expected.down, expected.left, expected.right)


def test_reach_of_craft_covers_its_dilated_layer() -> None:
    found = reach(CRAFT(width=0.0625), stride=16)
    # Six entries on either side at stride 16, and what lies before and after it.
    assert 6 * 16 < found.largest < 400


@pytest.mark.parametrize("layer", [nn.AdaptiveAvgPool2d(1), nn.InstanceNorm2d(4)])
def test_a_network_that_looks_at_everything_is_refused(layer: nn.Module) -> None:
    net = Net(lambda x, c, norm: c(x) * norm(c(x)), conv(3, 4), layer)
    with pytest.raises(SpecError, match="Net reads more than 4096 pixels"):
        reach(net, stride=32)
    with pytest.raises(SpecError, match="does not follow the input's size"):
        reach(nn.Sequential(conv(3, 4), nn.AdaptiveAvgPool2d(1)), stride=2)


def test_the_module_is_not_touched() -> None:
    model = between(nn.BatchNorm2d(4), nn.ReLU(True)).train()
    reach(model, stride=2)
    assert all(module.training for module in model.modules())
    assert next(model.parameters()).dtype == torch.float32
    assert model[1].running_mean.isfinite().all()


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 3), st.integers(0, 1000))
def test_tiles_are_exact_with_the_computed_overlap(rows: int, columns: int, count: int, seed: int) -> None:
    model = small_unet()
    exact = exact_padding(model)
    tiled = Tiled(exact, SPECS, module=model, stride=4, valid_size="valid_size")
    assert tiled.exact
    images = torch.randn(count, 3, 4 * rows, 4 * columns, generator=torch.Generator().manual_seed(seed)).double()
    with torch.no_grad():
        out = tiled(images)
        assert out.shape == (count, 2, 4 * rows, 4 * columns)
        if count:
            expected = model(images)
            assert (out - expected).abs().max() <= 1e-12 * expected.abs().max()


def test_less_overlap_is_not_exact_and_its_error_is_measured() -> None:
    model = small_unet()
    exact = exact_padding(model)
    images = torch.randn(1, 3, 160, 200, dtype=torch.float64)
    settings: dict[str, Any] = {"module": model, "stride": 4, "valid_size": "valid_size"}
    with torch.no_grad():
        errors = [Tiled(exact, SPECS, overlap=overlap, **settings).measure_error(images) for overlap in (0, 4, 16)]
        expected = model(images)
        actual = float((Tiled(exact, SPECS, overlap=0, **settings)(images) - expected).abs().max())
    assert not Tiled(exact, SPECS, overlap=4, **settings).exact
    assert errors[0] == pytest.approx(actual / float(expected.abs().max()), rel=1e-6)
    assert errors[0] > errors[1] > 1e-6
    assert errors[2] == 0


def test_several_outputs_of_several_sizes_and_layouts() -> None:
    torch.manual_seed(0)
    model = lively(CRAFT(width=0.0625)).double()
    static = StaticCRAFT(model, batch_size=2, height=768, width=800)
    tiled = Tiled(static, module=model, valid_size="valid_size")
    images = torch.randn(1, 3, 1024, 800, dtype=torch.float64)
    with torch.no_grad():
        out, expected = tiled(images), model(images)
    for actual, wanted in zip(out, expected):
        assert actual.shape == wanted.shape
        assert (actual - wanted).abs().max() <= 1e-12 * wanted.abs().max()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give module"),
        ({"overlap": 32, "stride": 4}, "more than 64"),
        ({"overlap": 4, "stride": 28}, "multiples of 28"),
        ({"overlap": -4}, "got overlap=-4; expected a whole number from 0"),
        ({"overlap": 4.5}, "got overlap=4.5; expected a whole number"),
        ({"overlap": 4, "stride": 0}, "got stride=0; expected a whole number from 1"),
        ({"module": nn.Conv2d(1, 2, 3)}, r"Conv2d cannot run on images \(1, 3, 256, 64\).*number of channels"),
    ],
)
def test_tiles_that_cannot_be_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Tiled(lambda x, size: x, SPECS, valid_size="valid_size", **settings)  # type: ignore[arg-type]


def test_what_cannot_be_put_together_is_refused() -> None:
    def run(fn: Any, images: Tensor, **settings: Any) -> None:
        Tiled(fn, SPECS, overlap=4, stride=4, valid_size="valid_size", **settings)(images)

    images = torch.zeros(1, 3, 160, 200, dtype=torch.float64)
    with pytest.raises(SpecError, match=r"161x200.*multiples of 4"):
        run(lambda x, size: x, torch.zeros(1, 3, 161, 200, dtype=torch.float64))
    with pytest.raises(SpecError, match="does not follow the tile's size"):
        run(lambda x, size: x.mean((2, 3)), images)
    with pytest.raises(SpecError, match="does not follow the size of the input"):
        run(lambda x, size: (x, x.mean((2, 3))), images, output_sizes=lambda size: (size, None))
    with pytest.raises(SpecError, match="no whole number of output entries"):
        run(lambda x, size: x[..., ::8, ::8], images, output_sizes=0.125)
    with pytest.raises(SpecError, match=r"got \(3, 64, 64\) float32; .*images.unsqueeze"):
        run(lambda x, size: x, torch.zeros(3, 64, 64))
    with pytest.raises(SpecError, match="exact overlap is not known"):
        Tiled(lambda x, size: x, SPECS, overlap=4, stride=4, valid_size="valid_size").measure_error(images)
    with pytest.raises(SpecError, match="cut from one input"):
        Tiled(lambda x, y: x, [SPECS[0], TensorSpec("other", (2, 3))], overlap=4, stride=4)


@pytest.mark.tooling
@pytest.mark.slow
def test_a_tiled_page_has_the_boxes_of_one_pass() -> None:
    model = load_craft()
    page = render_page(np.random.default_rng(0), (1024, 1408), PageStyle(font_sizes=(16, 60), max_words=150))
    processor = CraftProcessor(canvas_size=1408, mag_ratio=1.0)
    canvas, letterboxes = processor.preprocess([page.image])
    images = torch.from_numpy(canvas)
    tiled = Tiled(StaticCRAFT(model, height=768, width=768), module=model)
    with torch.no_grad():
        found, expected = (processor.postprocess(run(images)[0], letterboxes)[0] for run in (tiled, model))
    assert len(found) == len(expected) > 50
    for box, wanted in zip(found, expected):
        assert np.abs(box.quad - wanted.quad).max() <= 1e-3
