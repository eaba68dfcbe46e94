"""Resizing in blocks reads what the whole matrices read, and masks that reuse memory change no gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import neuronkit
from neuronkit.static.exact.bands import SMALLEST_BLOCK, Interpolation
from neuronkit.static.exact.sizes import HEIGHT, Extent
from tests.static.networks import UNet, lively

CANVAS = 2 * SMALLEST_BLOCK + 58


class Resized(nn.Module):
    """A map, resized, between convolutions."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.before, self.after = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.settings = settings

    def forward(self, x: Tensor) -> Tensor:
        settings = self.settings or {"size": x.shape[-2:], "mode": "bilinear"}
        return self.after(F.interpolate(self.before(x), **settings))


SETTINGS: list[dict[str, Any]] = [
    {},
    {"scale_factor": 2, "mode": "bilinear", "align_corners": True},
    {"scale_factor": 2, "mode": "bilinear", "align_corners": False},
    {"scale_factor": 3.3, "mode": "bicubic", "align_corners": False},
    {"scale_factor": 1.7, "mode": "bicubic", "align_corners": True},
    {"scale_factor": (2.5, 1), "mode": "bilinear", "align_corners": True},
    {"scale_factor": (2.5, 1.7), "mode": "nearest"},
    {"scale_factor": 3.3, "mode": "nearest-exact"},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_every_size_on_a_canvas_of_several_blocks(settings: dict[str, Any], layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    network = Resized(**settings).double().to(memory_format=layout)  # type: ignore[call-overload]
    padded = neuronkit.exact_padding(network)
    sizes = [(1, CANVAS), (2, 3), (67, 64), (CANVAS, 129), (CANVAS - 1, CANVAS), (130, 7)]
    images = torch.randn(len(sizes), 3, CANVAS, CANVAS, dtype=torch.float64).to(memory_format=layout)
    for image, (height, width) in zip(images, sizes):
        image[:, height:], image[:, :, width:] = float("nan"), float("nan")
    with torch.no_grad():
        outputs = padded(images, torch.tensor(sizes, dtype=torch.int32))
        for image, output, (height, width) in zip(images, outputs, sizes):
            alone = network(image[None, :, :height, :width])[0]
            rows, columns = alone.shape[1:]
            assert float((output[:, :rows, :columns] - alone).abs().max()) <= 1e-12
            assert not output[:, rows:].any()
            assert not output[:, :, columns:].any()


def test_blocks_read_a_part_and_small_or_wide_matrices_stay_whole() -> None:
    half = Extent(HEIGHT).then(lambda n: n // 2)
    bands = Interpolation(half, Extent(HEIGHT), None, align_corners=True).bands((512, 512))
    assert bands is not None
    assert [band[:2] for band in bands] == [(i, i + 64) for i in range(0, 512, 64)]
    assert max(last - first for _, _, first, last in bands) <= 42
    assert Interpolation(half, Extent(HEIGHT), None, align_corners=True).bands((64, 64)) is None


@pytest.mark.parametrize(("mode", "offset"), [("nearest", 0.0), ("nearest-exact", 0.5)])
@pytest.mark.parametrize("factor", [1.5, 0.21])
def test_blocks_hold_what_nearest_neighbours_read(mode: str, offset: float, factor: float) -> None:
    wanted = Extent(HEIGHT).then(lambda n: np.floor(n * factor).astype(np.int64))
    bands = Interpolation(Extent(HEIGHT), wanted, 1 / factor, False, offset).bands((900, 900))
    assert bands is not None
    for size in (5, 450, 899, 900):
        read = F.interpolate(torch.arange(float(size)).reshape(1, 1, size), scale_factor=factor, mode=mode).flatten()
        for first, last, begin, end in bands:
            assert ((read[first:last] >= begin) & (read[first:last] < end)).all()
    assert Interpolation(Extent(HEIGHT), 300, None, align_corners=False).bands((512, 512)) is None
    assert Interpolation(7, 300, None, align_corners=False).bands((512, 512)) is None


def test_gradients_are_those_of_the_network_alone() -> None:
    network = lively(UNet("bilinear", width=4, depth=2))
    padded = neuronkit.exact_padding(network)
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 40, 56))).float()
    canvas = torch.nn.functional.pad(image, [0, 24, 0, 8], value=7.0)
    found: list[Tensor] = []
    expected: list[Tensor] = []
    for given, run in ((found, lambda: padded(canvas, torch.tensor([[40, 56]]))), (expected, lambda: network(image))):
        network.zero_grad()
        run()[..., :40, :56].square().sum().backward()
        given += [parameter.grad.clone() for parameter in network.parameters()]
    for ours, theirs in zip(found, expected):
        assert float((ours - theirs).abs().max()) <= 1e-4 * float(theirs.abs().max())


def test_a_mask_takes_no_memory_of_its_own_and_spares_what_it_was_given() -> None:
    network = lively(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)))
    padded = neuronkit.exact_padding(network).fix_canvas(64, 64)
    images = torch.randn(1, 3, 64, 64)
    given, weights = images.clone(), {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad(), torch.autograd.profiler.profile() as profile:
        padded(images, torch.tensor([[40, 50]]))
    assert sum(event.count for event in profile.key_averages() if event.key == "aten::mul_") == 2
    assert torch.equal(images, given)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())
