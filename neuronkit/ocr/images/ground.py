"""Transparent images laid on a ground that shows what is drawn on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronkit import checks
from neuronkit.errors import OptionError
from neuronkit.ocr.images.levels import Block, row_blocks

Colour = tuple[int, int, int]

_CANDIDATES = (255, 0, 128)
"""Grounds in the order in which they are taken where several contrast equally."""

_OPAQUE = 128


def parse_background(background: Any) -> Colour | None:
    """Take a colour as a name, as ``"#rrggbb"`` or as three levels; None leaves the choice to the image.

    Raises:
        OptionError: If it is not a colour.
    """
    if background is None:
        return None
    if not isinstance(background, str):
        red, green, blue = checks.integers("background", background, 3, 0, 255)
        return red, green, blue
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(background)[:3]
    except ValueError as error:
        raise OptionError(
            f"got background={checks.shown(background)}; expected a colour; give 'white', '#ffffff' or (255, 255, 255)"
        ) from error


def write_flat(out: NDArray[np.uint8], block: Block, background: Colour | None) -> None:
    """Write a transparent image, laid on a ground, into an (H, W, 3) uint8 image.

    Args:
        out: (H, W, 3) uint8, to be written to.
        block: Gives rows `top` up to `bottom` as (rows, W, 4) uint8, RGBA.
        background: The ground; None takes one that contrasts with what is drawn.
    """
    rows = list(row_blocks(*out.shape[:2]))
    ground = _contrasting_ground(block(*pair) for pair in rows)
    for top, bottom in rows:
        rgba = block(top, bottom)
        out[top:bottom] = rgba[:, :, :3] if ground is None else _lay_on(rgba, background or ground)


def _lay_on(rgba: NDArray[np.uint8], ground: Colour) -> NDArray[np.uint8]:
    colours, opacity = rgba[:, :, :3].astype(np.uint16), rgba[:, :, 3:].astype(np.uint16)
    mixed = colours * opacity + np.array(ground, np.uint16) * (255 - opacity)
    return ((mixed + 127) // 255).astype(np.uint8)


def _contrasting_ground(blocks: Iterable[NDArray[np.uint8]]) -> Colour | None:
    """Choose the ground that contrasts with what is drawn next to transparency.

    Args:
        blocks: (rows, W, 4) uint8 each, the rows of an image from top to bottom.

    Returns:
        White, black or grey: the one from which nine tenths of the opaque pixels beside transparent ones lie farthest
        in brightness (where there are none, of all pixels that are not wholly transparent). None where the opacity is
        the same 0 or 255 everywhere: nothing is transparent, or a program left the opacity unset.
    """
    beside, visible = np.zeros(256, np.int64), np.zeros(256, np.int64)
    extremes: set[int] = set()
    for block in blocks:
        opacity = block[:, :, 3]
        extremes |= {int(opacity.min()), int(opacity.max())}
        if opacity.min() == 255:
            continue
        brightness = (block[:, :, :3].astype(np.uint16) @ np.array([77, 150, 29], np.uint16)) >> 8
        visible += np.bincount(brightness[opacity > 0], minlength=256)
        beside += np.bincount(brightness[_beside_transparency(opacity >= _OPAQUE)], minlength=256)
    if extremes in ({0}, {255}):
        return None
    drawn = beside if beside.any() else visible
    best = max(_CANDIDATES, key=lambda ground: _contrast(drawn, ground))
    return best, best, best


def _beside_transparency(opaque: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Opaque pixels with a transparent neighbour above, below, to the left or to the right."""
    found = np.zeros_like(opaque)
    found[1:] |= ~opaque[:-1]
    found[:-1] |= ~opaque[1:]
    found[:, 1:] |= ~opaque[:, :-1]
    found[:, :-1] |= ~opaque[:, 1:]
    found &= opaque
    return found


def _contrast(drawn: NDArray[np.int64], ground: int) -> int:
    """The distance in brightness that nine tenths of the drawn pixels keep from a ground."""
    by_distance = np.bincount(np.abs(np.arange(256) - ground), weights=drawn, minlength=256).cumsum()
    return int(np.searchsorted(by_distance, by_distance[-1] / 10))
