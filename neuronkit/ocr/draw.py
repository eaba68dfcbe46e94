"""Boxes and text drawn over a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from neuronkit.ocr.images import RGBImage
    from neuronkit.ocr.page import Word

_BOX = (214, 39, 40)
_TEXT = (31, 72, 180)
_PAPER = (255, 255, 255)


def draw_words(image: RGBImage, words: Sequence[Word]) -> RGBImage:
    """Draw each word's outline, and above it what was read.

    Args:
        image: (H, W, 3) uint8, RGB; left as it is.
        words: Words in pixels of `image`.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    from PIL import Image, ImageDraw, ImageFont

    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    stroke = max(1, round(max(image.shape[:2]) / 800))
    for word in words:
        outline = [(float(x), float(y)) for x, y in word.box.outline]
        pen.line([*outline, outline[0]], fill=_BOX, width=stroke)
    for word in words:
        left, top, _, _ = word.box.bounds
        font = ImageFont.load_default(size=_font_size(word))
        _, _, right, bottom = pen.textbbox((0, 0), word.text, font=font)
        at = (max(0.0, left), max(0.0, top - bottom - stroke))
        pen.rectangle((at[0], at[1], at[0] + right, at[1] + bottom), fill=_PAPER)
        pen.text(at, word.text, fill=_TEXT, font=font)
    return np.asarray(canvas)


def _font_size(word: Word) -> float:
    quad = word.box.quad.astype(np.float64)
    height = min(np.hypot(*(quad[3] - quad[0])), np.hypot(*(quad[1] - quad[0])))
    return float(np.clip(0.6 * height, 9, 48))
