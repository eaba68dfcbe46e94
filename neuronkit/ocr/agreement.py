"""Do two readings agree: boxes matched by overlap, texts compared. Each function gives a share, 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronkit.ocr._cv2 import load_cv2

if TYPE_CHECKING:
    from neuronkit.ocr.geometry import TextBox


def quad_iou(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> float:
    """Intersection over union of two convex quadrilaterals.

    Args:
        first: (4, 2) float, (x, y), in order around the quadrilateral.
        second: Likewise.

    Returns:
        0 to 1.
    """
    cv2 = load_cv2()
    a, b = np.asarray(first, np.float32), np.asarray(second, np.float32)
    shared = float(cv2.intersectConvexConvex(a, b)[0])
    union = float(cv2.contourArea(a)) + float(cv2.contourArea(b)) - shared
    return shared / union if union > 0 else float(np.array_equal(a, b))


def box_agreement(first: Sequence[TextBox], second: Sequence[TextBox], *, min_iou: float = 0.9) -> float:
    """Share of boxes that have a partner in the other list, each used once, best overlap first.

    Args:
        first: Boxes of one image, in any frame.
        second: Boxes of the same image, in the same frame.
        min_iou: Overlap from which two boxes are the same one.

    Returns:
        2 * pairs / boxes, 1 for two empty lists.
    """
    pairs = ((quad_iou(a.quad, b.quad), i, j) for i, a in enumerate(first) for j, b in enumerate(second))
    overlaps = sorted(pairs, reverse=True)
    used: tuple[set[int], set[int]] = (set(), set())
    for overlap, i, j in overlaps:
        if overlap >= min_iou and i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
    boxes = len(first) + len(second)
    return 2 * len(used[0]) / boxes if boxes else 1.0


def text_agreement(first: Sequence[Any], second: Sequence[Any]) -> float:
    """Share of results whose texts are equal.

    Args:
        first: Results with a ``text``, or strings.
        second: As many.
    """
    texts = [[getattr(item, "text", item) for item in items] for items in (first, second)]
    if len(texts[0]) != len(texts[1]):
        return 0.0
    return float(np.mean([a == b for a, b in zip(*texts)])) if texts[0] else 1.0
