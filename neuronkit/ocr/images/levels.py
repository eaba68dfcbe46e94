"""Brightnesses of any bit depth as 0..255, in blocks of rows, so that no copy is as large as the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronkit.errors import ImageError
from neuronkit.ocr.images.types import describe

_BLOCK = 1 << 20
"""Pixels that are converted at once."""

_DEPTHS = (10, 12, 14, 16)
"""Bits that cameras and scanners put into 16."""

Block = Callable[[int, int], NDArray[Any]]


def row_blocks(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Cut an image into blocks of whole rows: (first row, row after the last)."""
    rows = max(1, _BLOCK // max(1, width))
    return ((top, min(top + rows, height)) for top in range(0, height, rows))


def white_level(high: float, *, sixteen_bits: bool, declared: int | None = None) -> int:
    """Decide which level of whole numbers is white.

    Args:
        high: The highest level in the image.
        sixteen_bits: Whether the levels come in 16 bits each, whatever their values.
        declared: What the file says is white, where it says so.

    Returns:
        255, or for 16 bits: what the file declares, as long as no level is higher; else 65535 where all levels are at
        most 255 (a dark image stays dark); else the largest level of the fewest bits (10, 12, 14 or 16) that hold
        all of them, since cameras and scanners of 12 bits leave the upper four empty.
    """
    if declared is not None and high <= declared:
        return declared
    if high <= 255:
        return 65535 if sixteen_bits else 255
    return next((2**bits - 1 for bits in _DEPTHS if high < 2**bits), 65535)


def array_to_rgb(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Give an array (H, W), (H, W, 1) or (H, W, 3) as (H, W, 3) uint8; one that is that comes back as it is.

    Raises:
        ImageError: If it holds no brightnesses, or some out of range.
    """
    channels = array[:, :, None] if array.ndim == 2 else array
    return channels if channels.dtype == np.uint8 and channels.shape[2] == 3 else _converted(channels, 3, array)


def array_to_rgba(array: NDArray[Any], declared: int | None = None) -> NDArray[np.uint8]:
    """Give an (H, W, 4) array as uint8; the opacity may have more bits than the colours.

    Args:
        array: RGB and opacity.
        declared: The white level that the file declares.

    Raises:
        ImageError: If it holds no brightnesses, or some out of range.
    """
    if array.dtype == np.uint8:
        return array
    out = np.empty(array.shape, np.uint8)
    write_levels(out[:, :, :3], lambda top, bottom: array[top:bottom, :, :3], describe(array), declared)
    write_levels(out[:, :, 3:], lambda top, bottom: array[top:bottom, :, 3:], describe(array))
    return out


def _converted(channels: NDArray[Any], count: int, given: NDArray[Any]) -> NDArray[np.uint8]:
    out = np.empty((*channels.shape[:2], count), np.uint8)
    write_levels(out, lambda top, bottom: channels[top:bottom], describe(given))
    return out


def write_levels(out: NDArray[np.uint8], block: Block, given: str, declared: int | None = None) -> None:
    """Write levels of any dtype into an (H, W, C) uint8 image.

    Args:
        out: (H, W, C) uint8, to be written to.
        block: Gives rows `top` up to `bottom` of the levels: (rows, W, C), or (rows, W, 1) for all channels.
        given: What to call the levels in an error.
        declared: The white level that the file declares.

    Raises:
        ImageError: If the levels are not brightnesses, or out of range.
    """
    height, width = out.shape[:2]
    dtype = block(0, 1).dtype
    if dtype.kind not in "biuf":
        raise ImageError(f"got {given}; expected brightnesses; give uint8 in 0..255 or floats in 0..1")
    white = 1.0 if dtype.kind == "b" else 255.0
    if dtype.kind != "b" and dtype != np.uint8:
        white = _white(*_range(block, height, width), dtype, given, declared)
    for top, bottom in row_blocks(height, width):
        levels = block(top, bottom)
        out[top:bottom] = levels if dtype == np.uint8 else np.rint(levels * np.float64(255.0 / white))


def _range(block: Block, height: int, width: int) -> tuple[float, float]:
    """The lowest and the highest level; NaN where there is one."""
    lows, highs = zip(*((part.min(), part.max()) for part in (block(*rows) for rows in row_blocks(height, width))))
    return float(np.min(lows)), float(np.max(highs))


def _white(low: float, high: float, dtype: np.dtype[Any], given: str, declared: int | None) -> float:
    whole = dtype.kind != "f"
    white = float(white_level(high, sixteen_bits=dtype.itemsize == 2, declared=declared)) if whole else 1.0
    # Written so that NaN fails it too.
    if not (low >= 0.0 and high <= white):
        wanted = "0 to 255, or 0 to 65535 for 16 bits" if whole else "0 to 1"
        raise ImageError(
            f"got {given} with values from {low:g} to {high:g}; expected {wanted}; scale them, or convert to uint8"
        )
    return white
