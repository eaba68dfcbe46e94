"""Letterboxes and boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronkit.errors import NeuronKitError, OptionError, SpecError
from neuronkit.ocr import Letterbox, TextBox

pytestmark = pytest.mark.arrays

sides = st.integers(1, 30_000)


@given(sides, sides, st.integers(32, 4096), st.floats(0.1, 4), st.none() | st.tuples(*[st.integers(1, 100)] * 2))
def test_a_letterbox_lies_in_its_canvas_and_has_an_inverse(height, width, limit, ratio, canvas) -> None:
    canvas = canvas and (canvas[0] * 32, canvas[1] * 32)
    box = Letterbox.fit((height, width), canvas_size=limit, mag_ratio=ratio, canvas=canvas)
    for resized, valid, whole in zip(box.resized_size, box.valid_size, box.canvas_size, strict=True):
        assert 1 <= resized <= valid <= whole
        assert valid % 32 == 0
        assert valid - resized < 32
    assert max(box.resized_size) <= max(1, limit)
    corners = np.array([[0, 0], [width, height]], np.float32)
    np.testing.assert_allclose(box.to_source(box.to_canvas(corners, stride=2), stride=2), corners, rtol=1e-6)


def test_scaling_follows_the_original() -> None:
    # 77 * (1280 / 77) is 1279.9999..., and the original cuts it.
    assert Letterbox.fit((77, 60), mag_ratio=100).resized_size == (1279, 997)
    box = Letterbox.fit((300, 400))
    assert (box.resized_size, box.valid_size, box.scale) == ((450, 600), (480, 608), 1.5)


def test_a_fixed_canvas_limits_both_sides() -> None:
    box = Letterbox.fit((1000, 500), canvas_size=1280, canvas=(320, 1280))
    assert (box.resized_size, box.valid_size, box.canvas_size) == ((320, 160), (320, 160), (320, 1280))


def test_a_canvas_that_is_too_small_is_refused() -> None:
    with pytest.raises(SpecError, match="expected at least"):
        Letterbox((10, 10), (33, 10), (32, 32), 1.0)


@pytest.mark.parametrize("size", [(0, 5), (5,), "ab", None, (1.5, 2), (-1, 4), (True, 4)])
def test_sizes_are_checked(size) -> None:
    with pytest.raises(OptionError, match="source_size"):
        Letterbox.fit(size)


@pytest.mark.parametrize(
    "quad", [np.zeros((3, 2)), np.full((4, 2), np.nan), np.zeros((4, 2), complex) * 1j, "abcd", None]
)
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning" if hasattr(np, "exceptions") else "default")
def test_quads_are_checked(quad) -> None:
    if isinstance(quad, np.ndarray) and quad.dtype.kind == "c":
        quad = np.zeros((4, 4))
    with pytest.raises(SpecError, match="quad"):
        TextBox(quad)


def test_outline_is_the_polygon_where_there_is_one() -> None:
    quad = np.array([[0, 0], [4, 0], [4, 2], [0, 2]])
    polygon = np.array([[0, 0], [2, -1], [4, 0], [4, 2], [0, 2]])
    assert TextBox(quad).bounds == (0, 0, 4, 2)
    assert TextBox(quad, polygon=polygon).bounds == (0, -1, 4, 2)
    with pytest.raises(NeuronKitError, match="polygon"):
        TextBox(quad, polygon=polygon[:2])
