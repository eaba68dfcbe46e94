"""Metrics of a reading against another one: overlap and F1 of boxes, accuracy of texts. Each is 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronkit import checks
from neuronkit.errors import SpecError
from neuronkit.ocr._cv2 import load_cv2
from neuronkit.ocr.geometry import TextBox, as_boxes


def quad_iou(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> float:
    """Intersection over union of two quadrilaterals, by their convex hulls.

    Args:
        first: (4, 2) float, (x, y), in order around the quadrilateral.
        second: Likewise.

    Returns:
        0 to 1.

    Raises:
        SpecError: If one has another shape, or holds NaN or infinity.

    Examples:
        >>> quad = np.array([[0, 0], [9, 0], [9, 5], [0, 5]], np.float32)
        >>> neuronkit.ocr.metrics.quad_iou(quad, quad)
        1.0
    """
    cv2 = load_cv2()
    both = np.stack([TextBox(first).quad, TextBox(second).quad]).astype(np.float64)
    if np.array_equal(*both):
        return 1.0
    both -= both.min(axis=(0, 1))
    # Neither shift nor scale changes a ratio of areas; float32 has room for neither huge nor tiny ones.
    hulls = [cv2.convexHull((quad / both.max()).astype(np.float32)) for quad in both]
    areas = [float(cv2.contourArea(hull)) if hull is not None and len(hull) > 2 else 0.0 for hull in hulls]
    if min(areas) == 0:
        return 0.0
    shared = float(cv2.intersectConvexConvex(*hulls)[0])
    return float(np.clip(shared / (sum(areas) - shared), 0, 1))


def box_f1(first: Sequence[TextBox], second: Sequence[TextBox], *, min_iou: float = 0.9) -> float:
    """F1 of boxes: those with a partner in the other list, each used once, best overlap first.

    Args:
        first: Boxes of one image, in any frame.
        second: Boxes of the same image, in the same frame.
        min_iou: Overlap from which two boxes are the same one.

    Returns:
        2 * pairs / boxes, 1 for two empty lists.

    Raises:
        SpecError: If one is not a list of `TextBox` objects.
        OptionError: If `min_iou` is not from 0 to 1.

    Examples:
        >>> box = neuronkit.ocr.TextBox(np.array([[0, 0], [9, 0], [9, 5], [0, 5]], np.float32))
        >>> neuronkit.ocr.metrics.box_f1([box], [box])
        1.0
    """
    min_iou = checks.number("min_iou", min_iou, 0, 1)
    first, second = as_boxes(first), as_boxes(second)
    pairs = ((quad_iou(a.quad, b.quad), i, j) for i, a in enumerate(first) for j, b in enumerate(second))
    overlaps = sorted(pairs, reverse=True)
    used: tuple[set[int], set[int]] = (set(), set())
    for overlap, i, j in overlaps:
        if overlap >= min_iou and i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
    boxes = len(first) + len(second)
    return 2 * len(used[0]) / boxes if boxes else 1.0


def text_accuracy(first: Sequence[Any], second: Sequence[Any]) -> float:
    """Share of results whose texts are equal.

    Args:
        first: Results with a ``text``, or strings.
        second: As many.

    Returns:
        0..1; 1 for two empty lists.

    Raises:
        SpecError: If one is not a list of them.

    Examples:
        >>> neuronkit.ocr.metrics.text_accuracy(["ab", "cd"], ["ab", "ce"])
        0.5
    """
    ours, theirs = _texts(first), _texts(second)
    if len(ours) != len(theirs):
        return 0.0
    return sum(a == b for a, b in zip(ours, theirs)) / len(ours) if ours else 1.0


def _texts(results: Any) -> list[str]:
    if not isinstance(results, (list, tuple)):
        raise SpecError(f"got {checks.shown(results)}; expected a list of results; give strings, or what has a text")
    texts: list[Any] = [getattr(item, "text", item) for item in results]
    for text in texts:
        if not isinstance(text, str):
            raise SpecError(f"got a result with the text {checks.shown(text)}; expected a str; give strings")
    return texts
