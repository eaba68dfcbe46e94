"""Polygons around curved words, as CRAFT's original fits them (`getPoly` in clovaai/CRAFT-pytorch, craft_utils.py).

A word is set upright and cut into eleven segments of equal width. The tallest column of every second one is a pivot:
five in all. Above and below each pivot, half a character's height away and across the word's local direction, lies a
pair of corners; a sixth and a seventh pair, moved outwards until they leave the word, close its ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, cos, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronkit.ocr._cv2 import load_cv2
from neuronkit.ocr.boxes.quads import side_lengths

_SEGMENTS = 11
_PIVOTS = 5
# A word whose tallest column fills more of its box than this is straight enough for the box.
_STRAIGHT = 0.7
# The height of a character is this much more than what its scores show.
_EXPANSION = 1.45
_STEP = 0.2
_LAST_STEP = 2.0
_STEPS = np.arange(0.5, _LAST_STEP, _STEP).tolist()


def fit_polygons(
    quads: NDArray[np.float32], labels: NDArray[np.int32], *, min_side: int = 10
) -> list[NDArray[np.float32] | None]:
    """Fit a polygon to each word that its quad does not fit.

    Args:
        quads: (B, 4, 2) float32, (x, y), clockwise, in pixels of `labels`.
        labels: (H, W) int32, the word that each pixel belongs to, counted from 1.
        min_side: Words with a shorter side, in pixels, get none.

    Returns:
        For each word (14, 2) float32, (x, y): seven corners along its top, then seven back along its bottom; None for
        small words, straight words, and those with too few columns to decide.
    """
    widths, heights = (_whole_sides(quads, side) for side in (0, 1))
    return [
        _fit(quad, labels, label, w, h) if w >= min_side and h >= min_side else None
        for label, (quad, w, h) in enumerate(zip(quads, widths, heights, strict=True), start=1)
    ]


def _whole_sides(quads: NDArray[np.float32], side: int) -> list[int]:
    """Lengths of side 0 or 1, rounded down after adding 1."""
    lengths = side_lengths(quads)[side] + np.float32(1)
    # Close to a whole number, the last bit decides, and it has to come from the original's own arithmetic.
    for i in np.flatnonzero(np.abs(lengths - np.rint(lengths)) < 1e-3):
        lengths[i] = np.linalg.norm(quads[i, side] - quads[i, side + 1]) + np.float32(1)
    whole: list[int] = lengths.astype(np.int64).tolist()
    return whole


def _fit(quad: NDArray[np.float32], labels: NDArray[np.int32], label: int, w: int, h: int) -> Any:
    cv2 = load_cv2()
    upright = cv2.getPerspectiveTransform(quad, np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32))
    mask = cv2.warpPerspective(labels, upright, (w, h), flags=cv2.INTER_NEAREST) == label
    columns = _columns(mask)
    if columns is None or h * _STRAIGHT < columns.heights.max():
        return None
    spine = _spine(columns, w)
    if spine is None:
        return None
    try:
        back = np.linalg.inv(upright)
    except np.linalg.LinAlgError:
        return None
    pairs = _close_ends(spine, mask.view(np.uint8))
    corners = np.concatenate([pairs[:, :2], pairs[::-1, 2:]])
    x, y, scale = back @ np.column_stack([corners, np.ones(len(corners))]).T
    return np.column_stack([x / scale, y / scale]).astype(np.float32)


@dataclass(frozen=True)
class _Columns:
    """The columns of an upright word with two pixels or more: where they are, their middles and their heights."""

    x: NDArray[np.intp]
    middle: NDArray[np.float64]
    heights: NDArray[np.intp]


def _columns(mask: NDArray[np.bool_]) -> _Columns | None:
    (x,) = (mask.sum(axis=0) >= 2).nonzero()
    if not len(x):
        return None
    mask = mask[:, x]
    first = mask.argmax(axis=0)
    last = len(mask) - 1 - mask[::-1].argmax(axis=0)
    return _Columns(x, (first + last) * 0.5, last - first + 1)


def _segments(x: NDArray[np.intp], segment_width: float) -> NDArray[np.intp] | None:
    """Give each column the number of its segment; after a gap, the count catches up by one a column."""
    reached = np.searchsorted(np.arange(1, _SEGMENTS) * segment_width, x, side="right")
    if reached[0]:
        return None
    steps = np.arange(len(x))
    return np.minimum.accumulate(reached - steps) + steps


@dataclass(frozen=True)
class _Spine:
    """The five pivots (x, y) of a word, the corners (upper x, y, lower x, y) at each, and half a character's height."""

    pivots: list[tuple[float, float]]
    pairs: list[tuple[float, float, float, float]]
    half_height: float


def _spine(columns: _Columns, w: int) -> _Spine | None:
    segment_width = w / _SEGMENTS
    segments = _segments(columns.x, segment_width)
    # The last pivot lies in the last segment but one; without it there are too few.
    if segments is None or segments[-1] < _SEGMENTS - 2:
        return None
    bounds = np.searchsorted(segments, np.arange(_SEGMENTS + 1)).tolist()
    tallest = [b + int(columns.heights[b:e].argmax()) for b, e in zip(bounds[1:-1:2], bounds[2::2], strict=True)]
    heights = columns.heights[tallest].tolist()
    if segment_width < max(heights) * 0.25:
        return None
    half = sorted(heights)[_PIVOTS // 2] * _EXPANSION / 2
    pivots = list(zip(columns.x[tallest].tolist(), columns.middle[tallest].tolist(), strict=True))
    centres = _centres(columns, bounds)
    pairs = []
    for (x, y), (x0, y0), (x1, y1) in zip(pivots, centres[:-1], centres[1:], strict=True):
        angle = atan2(y1 - y0, x1 - x0) if x1 != x0 else 0.0
        across, up = half * sin(angle), half * cos(angle)
        pairs.append((x + across, y - up, x - across, y + up))
    return _Spine(pivots, pairs, half)


def _centres(columns: _Columns, bounds: list[int]) -> list[tuple[float, float]]:
    """Mean (x, y) of the six segments beside the pivots."""
    centres = []
    for begin, end in zip(bounds[0::2], bounds[1::2], strict=True):
        x, y, count = columns.x[begin:end].sum(), columns.middle[begin:end].sum(), end - begin
        # A word that ends before its last segment: the original takes the origin for its centre.
        centres.append((float(x) / count, float(y) / count) if count else (0.0, 0.0))
    return centres


def _close_ends(spine: _Spine, mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Add a pair of corners at each end: (7, 4) of upper x, y, lower x, y."""
    p, reach = spine.pivots, 2 * spine.half_height
    before = _beyond(spine.pairs[0], -reach, _slope(p[0], p[1]) + _slope(p[1], p[2]), mask)
    after = _beyond(spine.pairs[-1], reach, _slope(p[3], p[4]) + _slope(p[2], p[3]), mask)
    return np.array([before, *spine.pairs, after])


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0])


def _beyond(
    pair: tuple[float, float, float, float], reach: float, slope: float, mask: NDArray[np.uint8]
) -> tuple[float, float, float, float]:
    """Move a pair of corners outwards until the line between them meets no pixel of the word."""
    cv2 = load_cv2()
    pixels = cv2.countNonZero(mask)
    x0, y0, x1, y1 = pair
    for step in _STEPS:
        dx = reach * step
        dy = slope * dx
        moved = (x0 + dx, y0 + dy, x1 + dx, y1 + dy)
        if step + 2 * _STEP >= _LAST_STEP:
            break
        # Erasing the line takes no pixel away: it meets none.
        erased = cv2.line(mask.copy(), (int(moved[0]), int(moved[1])), (int(moved[2]), int(moved[3])), 0)
        if cv2.countNonZero(erased) == pixels:
            break
    return moved
