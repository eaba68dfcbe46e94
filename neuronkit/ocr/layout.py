"""Reading order: words to lines, lines from top to bottom, on pages that may be tilted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuronkit.ocr.geometry import TextBox, as_boxes

_SAME_LINE = 0.5


def reading_order(boxes: Sequence[TextBox]) -> list[list[int]]:
    """Group words into lines.

    The page's tilt is the median direction of its wide words. In the upright frame, a word belongs to the line whose
    last word it overlaps in height by more than half of the lower of the two.

    Args:
        boxes: B boxes of one page, in the same frame.

    Returns:
        Lines from top to bottom, each the indices of its words from left to right.

    Raises:
        SpecError: If `boxes` is no list of `TextBox` objects.
    """
    boxes = as_boxes(boxes)
    if not boxes:
        return []
    quads = np.stack([box.quad for box in boxes]).astype(np.float64)
    corners = quads @ _rotation(-_tilt(quads)).T
    xs, ys = np.sort(corners[:, :, 0], axis=1), np.sort(corners[:, :, 1], axis=1)
    left, right = xs[:, 0].tolist(), xs[:, 3].tolist()
    # Corners rather than extremes, so that a word tilted against the page does not grow tall.
    top, bottom = ys[:, :2].mean(axis=1).tolist(), ys[:, 2:].mean(axis=1).tolist()
    lines: list[list[int]] = []
    for i in np.argsort(left, kind="stable").tolist():
        best, best_overlap = None, _SAME_LINE
        for line in lines:
            last = line[-1]
            shared = min(bottom[i], bottom[last]) - max(top[i], top[last])
            lower = max(min(bottom[i] - top[i], bottom[last] - top[last]), 1e-6)
            # A word that begins before the other's middle lies above or below it, not beside it.
            beside = left[i] >= (left[last] + right[last]) / 2
            if beside and shared / lower > best_overlap:
                best, best_overlap = line, shared / lower
        if best is None:
            lines.append([i])
        else:
            best.append(i)
    return sorted(lines, key=lambda line: sum(top[i] + bottom[i] for i in line) / len(line))


def _tilt(quads: NDArray[np.float64]) -> float:
    """Median direction, in radians, of the long side of words that are clearly wider than high."""
    first, second, third, fourth = quads.transpose(1, 2, 0)
    across, down = second - first + third - fourth, fourth - first + third - second
    x, y = across[:, np.hypot(*across) > 1.5 * np.hypot(*down)]
    return float(np.median(np.arctan2(y, x))) if len(x) else 0.0


def _rotation(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
