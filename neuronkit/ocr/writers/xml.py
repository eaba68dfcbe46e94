"""Text and places as hOCR and ALTO write them."""

from __future__ import annotations

import math
import re
from html import escape

from neuronkit.ocr.geometry import TextBox

_FORBIDDEN = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """Escape a text, without the characters that XML forbids."""
    return escape(_FORBIDDEN.sub("", text))


def bounds_in(size: tuple[int, int], box: TextBox) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a box in whole pixels, rounded outwards and cut at the borders of the page."""
    height, width = size
    left, top, right, bottom = box.bounds
    return (
        math.floor(_within(left, width)),
        math.floor(_within(top, height)),
        math.ceil(_within(right, width)),
        math.ceil(_within(bottom, height)),
    )


def corners_in(size: tuple[int, int], box: TextBox) -> list[tuple[int, int]]:
    """The corners (x, y) of a box's outline in whole pixels, cut at the borders of the page."""
    height, width = size
    return [(round(_within(x, width)), round(_within(y, height))) for x, y in box.outline.tolist()]


def _within(place: float, side: int) -> float:
    return min(max(place, 0.0), float(side))
