"""Words as masks, with the box of each character."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from neuronkit.errors import MissingDependencyError

FONTS = tuple(
    f"DejaVu{family}{style}.ttf"
    for family, styles in (
        ("Sans", ("", "-Bold", "-Oblique", "-BoldOblique")),
        ("Serif", ("", "-Bold", "-Italic", "-BoldItalic")),
        ("SansMono", ("", "-Bold", "-Oblique", "-BoldOblique")),
    )
    for style in styles
)


@dataclass(frozen=True)
class WordMask:
    """A word, cropped to its ink above and below, and to the pen's start and end (or ink beyond them) at the sides.

    Attributes:
        mask: Mode "L", 0 paper to 255 ink.
        characters: (n, 4) float32: left, top, right, bottom of each character, in pixels of the mask. Left and right
            are the pen positions before and after it, top and bottom the extent of its ink.
        top: Distance from the top of the text line to the top of the mask, in pixels.
    """

    mask: Image.Image
    characters: NDArray[np.float32]
    top: float


def draw_mask(text: str, font: str, size: int) -> WordMask:
    """Draw a text as a mask.

    Args:
        text: What to draw.
        font: One of `FONTS`.
        size: Font size in pixels.

    Raises:
        MissingDependencyError: If matplotlib, whose wheel holds the fonts, is not installed.
    """
    face = _load(font, size)
    left, top, right, bottom = face.getbbox(text)
    mask = Image.new("L", (max(1, round(right - left)), max(1, round(bottom - top))))
    ImageDraw.Draw(mask).text((-left, -top), text, font=face, fill=255)
    pens = [face.getlength(text[:end]) - left for end in range(len(text) + 1)]
    boxes = []
    for character, begin, end in zip(text, pens, pens[1:]):
        _, ink_top, _, ink_bottom = face.getbbox(character)
        boxes.append((max(begin, 0.0), ink_top - top, min(end, mask.width), ink_bottom - top))
    return WordMask(mask, np.asarray(boxes, dtype=np.float32), float(top))


@lru_cache(maxsize=1024)
def _load(font: str, size: int) -> ImageFont.FreeTypeFont:
    # The simple layout is the same with and without libraqm, so a picture does not depend on how Pillow was built.
    return ImageFont.truetype(str(_folder() / font), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=1)
def _folder() -> Path:
    try:
        import matplotlib
    except ImportError as error:
        raise MissingDependencyError(
            "rendering needs the DejaVu fonts of matplotlib, which is not installed; pip install 'neuronkit[plot]'"
        ) from error
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"
