"""Lines grouped to paragraphs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neuronkit.ocr.page.words import Line

_APART = 0.8
_TALLER = 1.4


def paragraphs(lines: Sequence[Line]) -> list[list[Line]]:
    """Group lines that follow each other closely; a line that is much higher, or in another column, begins anew."""
    groups: list[list[Line]] = []
    for line in lines:
        if not line.text:
            continue
        if groups and _follows(line, groups[-1][-1]):
            groups[-1].append(line)
        else:
            groups.append([line])
    return groups


def line_height(line: Line) -> float:
    """The median height of a line's words, in pixels."""
    quads = np.stack([word.box.quad for word in line.words])
    return float(np.median(np.hypot(*(quads[:, 3] - quads[:, 0]).T)))


def _follows(line: Line, last: Line) -> bool:
    height, before = line_height(line), line_height(last)
    if max(height, before) > _TALLER * min(height, before):
        return False
    (left, top, right, bottom), (last_left, _, last_right, last_bottom) = _bounds(line), _bounds(last)
    beside = min(right, last_right) <= max(left, last_left)
    return not beside and bottom > last_bottom and top - last_bottom < _APART * height


def _bounds(line: Line) -> tuple[float, float, float, float]:
    assert line.box is not None
    return line.box.bounds
