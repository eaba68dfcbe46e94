"""Line recognisers on a canvas give for each line what the originals give for the line alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import neuronkit
from neuronkit.adapters.lines.model import LineOptions, StaticLine
from neuronkit.errors import SpecError
from tests.adapters import line_models

WIDTH = 160
# Family → how a model of it is made, how its users call it, and its smallest width.
Original = Callable[[nn.Module, Tensor], Tensor]
FAMILIES: dict[str, tuple[Callable[[], nn.Module], Original, int]] = {
    f"easyocr, generation {generation}": (
        lambda generation=generation: line_models.easyocr(generation),
        lambda model, images: model(images, torch.zeros(len(images), 26, dtype=torch.int64)),
        smallest,
    )
    for generation, smallest in ((1, 4), (2, 8))
}  # fmt: skip
IN_PEERS = [pytest.param(name, marks=pytest.mark.peers) for name in FAMILIES if name.startswith("easyocr")]
NAMES = [*IN_PEERS]


def error(name: str, widths: list[int], seed: int, dtype: torch.dtype) -> float:
    """How far any row is from what its line gives alone, over the range."""
    make, call, _ = FAMILIES[name]
    model = make().to(dtype)
    static = neuronkit.make_static(model, batch_size=len(widths), options=LineOptions(width=WIDTH))
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(static.specs[0].shape, generator=generator).to(dtype)
    valid = torch.tensor(widths, dtype=torch.int32)
    with torch.no_grad():
        alone = [call(model, images[i : i + 1, :, :, :width])[0] for i, width in enumerate(widths)]
        for i, (image, width) in enumerate(zip(images, widths)):
            image[:, :, width:] = float("nan") if i % 2 else 1e3
        rows = static(images, valid)
    sizes = static.valid_output_sizes(valid)[:, 0].tolist()
    assert sizes == [len(row) for row in alone]
    assert (
        rows.softmax(2)[:, :, static.interface.blank_id][torch.arange(rows.shape[1]) >= torch.tensor(sizes)[:, None]]
        .eq(1)
        .all()
    )
    return max(float((row[: len(own)] - own).abs().max() / own.abs().max()) for row, own in zip(rows, alone))


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_what_lines_give_alone(name: str) -> None:
    smallest = FAMILIES[name][2]
    widths = [smallest, WIDTH, smallest + 1, 67, 121]
    assert error(name, widths, 0, torch.float64) <= 1e-12
    assert error(name, widths, 1, torch.float32) <= 5e-6


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_at_any_width_and_batch(name: str, data: st.DataObject) -> None:
    widths = data.draw(st.lists(st.integers(FAMILIES[name][2], WIDTH), min_size=1, max_size=8))
    assert error(name, widths, data.draw(st.integers(0, 1 << 20)), torch.float64) <= 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_width_is_the_originals(name: str) -> None:
    make, call, smallest = FAMILIES[name]
    model = make()
    static = neuronkit.make_static(model)
    assert isinstance(static, StaticLine)
    assert static.smallest_width == smallest
    channels, height = static.specs[0].shape[1:3]
    with pytest.raises(RuntimeError):
        call(model, torch.zeros(1, channels, height, smallest - 1))
    with pytest.raises(
        SpecError, match=f"got lines of width {smallest - 1} for .*; expected at least {smallest} pixels"
    ):
        static(torch.zeros(static.specs[0].shape), torch.tensor([smallest - 1], dtype=torch.int32))
    with pytest.raises(SpecError, match=f"got width={smallest - 1} for .*; expected at least {smallest} pixels"):
        neuronkit.make_static(model, options=LineOptions(width=smallest - 1))
