"""Metrics of one reading against another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronkit.ocr import Recognition, TextBox
from neuronkit.ocr.metrics import box_f1, quad_iou, text_accuracy

pytestmark = pytest.mark.arrays


def box(x: float, y: float, width: float = 10, height: float = 10) -> TextBox:
    return TextBox(np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float32))


@given(shift=st.floats(0, 10))
def test_iou_of_shifted_squares(shift: float) -> None:
    expected = (10 - shift) / (10 + shift)
    assert quad_iou(box(0, 0).quad, box(shift, 0).quad) == pytest.approx(expected, abs=1e-3)


def test_iou_of_a_turned_square() -> None:
    diamond = np.array([[5, -2.0710678], [12.0710678, 5], [5, 12.0710678], [-2.0710678, 5]], np.float32)
    octagon = 100 - 4 * (5 - 2.0710678) ** 2 / 2
    assert quad_iou(box(0, 0).quad, diamond) == pytest.approx(octagon / (200 - octagon), abs=1e-3)


def test_every_box_has_at_most_one_partner() -> None:
    assert box_f1([box(0, 0), box(0.1, 0)], [box(0, 0)]) == pytest.approx(2 / 3)
    assert box_f1([box(0, 0), box(50, 0)], [box(50, 0), box(0, 0)]) == 1.0
    assert box_f1([box(0, 0)], [box(3, 0)]) == 0.0
    assert box_f1([box(0, 0)], [box(3, 0)], min_iou=0.5) == 1.0
    assert box_f1([], []) == 1.0
    assert box_f1([], [box(0, 0)]) == 0.0


def test_texts() -> None:
    assert text_accuracy(["a", "b"], ["a", "c"]) == 0.5
    assert text_accuracy([], []) == 1.0
    assert text_accuracy(["a"], ["a", "b"]) == 0.0
    assert text_accuracy([Recognition("a", 1.0, (1.0,))], ["a"]) == 1.0
