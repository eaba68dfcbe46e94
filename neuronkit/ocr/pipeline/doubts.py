"""Warnings of pages whose result is doubtful."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from neuronkit.ocr.geometry import TextBox
from neuronkit.ocr.page import Word
from neuronkit.ocr.pipeline.strips import MIN_SCALE, SMALLEST_TEXT

LOW_CONFIDENCE = 0.5
"""Words are read doubtfully where their median confidence is below this."""

TRY_ROTATIONS = "rotations=(90, 180, 270)"
"""What a warning recommends; the command line names its own option instead."""

_FEW = 4
"""So few high boxes say nothing about the direction of a page: digits have such."""
_VERTICAL = 1.5
_LONG = 3
"""Words of so many letters are wider than they are high, unless they run up or down."""


def may_be_turned(words: Sequence[Word]) -> bool:
    """Whether a page's words look like those of a turned page: read with low confidence, or running up or down."""
    if not words:
        return False
    vertical = [word for word in words if _height(word.box) >= _VERTICAL * _width(word.box)]
    run_down = sum(n for n in map(_letters, vertical) if n >= _LONG)
    return (
        _is_doubtful(words)
        or (len(words) >= _FEW and 2 * len(vertical) > len(words))
        or 2 * run_down > sum(map(_letters, words))
    )


def turned_warning(rotations: Sequence[int]) -> str:
    """Give the warning that a page may be turned."""
    advice = "none of the rotations that were tried is better" if rotations else f"{TRY_ROTATIONS} tries that"
    return f"the words were read with low confidence, or run up or down: the page may be turned; {advice}"


def scale_warning(size: tuple[int, int], scale: float | None, words: Sequence[Word]) -> str | None:
    """Give a warning if the detector saw a page at a scale at which its text may be lost.

    Args:
        size: (height, width) of the page.
        scale: Of what the detector saw.
        words: What was read.
    """
    if scale is None or scale >= MIN_SCALE or min(size) < SMALLEST_TEXT:
        return None
    lost = _is_doubtful(words) or not words
    if not lost and np.median([_height(word.box) for word in words]) * scale >= SMALLEST_TEXT:
        return None
    found = "found no words" if not words else "found words that are hard to read"
    return (
        f"the detector saw the page at scale {scale:.2f} and {found}: text lower than "
        f"{round(SMALLEST_TEXT / scale)} pixels is lost; give its processor a larger canvas, or cut the image"
    )


def _is_doubtful(words: Sequence[Word]) -> bool:
    return bool(words) and bool(np.median([word.confidence for word in words]) < LOW_CONFIDENCE)


def _letters(word: Word) -> int:
    """How many characters of a word take place in its line: no accents that stand on others."""
    return sum(not unicodedata.category(character).startswith("M") for character in word.text)


def _width(box: TextBox) -> float:
    return float(np.hypot(*(box.quad[1] - box.quad[0]).astype(np.float64)))


def _height(box: TextBox) -> float:
    return float(np.hypot(*(box.quad[3] - box.quad[0]).astype(np.float64)))
