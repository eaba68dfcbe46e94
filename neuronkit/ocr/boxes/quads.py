"""Rectangles around words, as CRAFT's original fits them (clovaai/CRAFT-pytorch, craft_utils.py)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuronkit.ocr._cv2 import load_cv2

_NEARLY_SQUARE = 0.1


def fit_quads(points: list[NDArray[np.int32]]) -> NDArray[np.float32]:
    """Fit the smallest rotated rectangle to each word.

    Args:
        points: (P, 2) int32, (x, y), for each of B words.

    Returns:
        (B, 4, 2) float32, (x, y), clockwise from the corner with the smallest x + y. A rectangle that is nearly
        square becomes upright, since a diamond around a short word says nothing about its direction.
    """
    cv2 = load_cv2()
    rectangles = [cv2.boxPoints(cv2.minAreaRect(p)) for p in points]
    quads = np.asarray(rectangles, dtype=np.float32).reshape(-1, 4, 2)
    for i in np.flatnonzero(_may_be_square(quads)):
        if _is_square(quads[i]):
            (left, top), (right, bottom) = points[i].min(axis=0), points[i].max(axis=0)
            quads[i] = [[left, top], [right, top], [right, bottom], [left, bottom]]
    start = quads.sum(axis=2).argmin(axis=1)
    order = (start[:, None] + np.arange(4)) % 4
    return np.take_along_axis(quads, order[:, :, None], axis=1)


def side_lengths(quads: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lengths of the first and the second side of (B, 4, 2) quads."""
    first, second = quads[:, 0] - quads[:, 1], quads[:, 1] - quads[:, 2]
    return np.hypot(first[:, 0], first[:, 1]), np.hypot(second[:, 0], second[:, 1])


def _may_be_square(quads: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Decide in bulk, generously; the few that are close are decided one by one in the original's arithmetic."""
    w, h = side_lengths(quads)
    return np.maximum(w, h) <= (np.minimum(w, h) + 1e-5) * (1 + 1.01 * _NEARLY_SQUARE)


def _is_square(quad: NDArray[np.float32]) -> bool:
    w, h = np.linalg.norm(quad[0] - quad[1]), np.linalg.norm(quad[1] - quad[2])
    return bool(abs(1 - max(w, h) / (min(w, h) + 1e-5)) <= _NEARLY_SQUARE)
