"""Files with more than eight bits for each level."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronkit.ocr._cv2 import load_cv2
from neuronkit.ocr.images.ground import Colour, write_flat
from neuronkit.ocr.images.levels import array_to_rgba, write_levels

if TYPE_CHECKING:
    from PIL import Image

    from neuronkit.ocr.images.types import RGBImage

_BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE_VALUE, _SMAX_SAMPLE_VALUE = 258, 262, 281, 341
_WHITE_IS_ZERO = 0
_DARK = 63
"""The highest upper byte of levels of 14 bits."""

_MOST_PIXELS = 25_000_000
"""Colours of larger images are not decoded a second time."""


def declared_white(image: Image.Image) -> int | None:
    """The level that a 16-bit file says is white; None where it does not say, and for other files."""
    if image.mode != "I" and not image.mode.startswith("I;") and not _has_deep_colours(image):
        return None
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        bits = _first(tags.get(_BITS_PER_SAMPLE))
        highest = _first(tags.get(_MAX_SAMPLE_VALUE, tags.get(_SMAX_SAMPLE_VALUE)))
        if highest and 255 < highest <= 65535:
            return int(highest)
        return 2 ** int(bits) - 1 if bits and 8 < bits < 16 else None
    if image.format == "PNG":
        bits = _png_significant_bits(image)
        return 2**bits - 1 if bits and 8 < bits <= 16 else None
    return None


def write_deep(out: RGBImage, image: Image.Image, declared: int | None) -> None:
    """Write grey levels of 16 or 32 bits."""
    # Pillow opens 16-bit PPM files, and before release 11 PNG files too, in 32 bits.
    sixteen_bits = image.mode == "I" and image.format in ("PNG", "PPM")
    tags = getattr(image, "tag_v2", {})
    inverted = image.mode.startswith("I;") and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO

    def block(top: int, bottom: int) -> NDArray[Any]:
        levels = np.asarray(image.crop((0, top, image.width, bottom)))[:, :, None]
        return levels.astype(np.uint16) if sixteen_bits else levels

    write_levels(out, block, f"an image of mode {image.mode}", declared)
    if inverted:
        # Pillow turns only levels of 8 bits round.
        np.subtract(255, out, out=out)


def colour_file(image: Image.Image) -> bytes | None:
    """The file of an image whose colours have 16 bits, of which Pillow decodes the upper 8; None for other images."""
    file = getattr(image, "fp", None)
    small = image.width * image.height <= _MOST_PIXELS
    if file is None or image.tell() or not small or not _has_deep_colours(image):
        return None
    before = file.tell()
    try:
        file.seek(0)
        return bytes(file.read())
    finally:
        file.seek(before)


def dark_colours(image: Image.Image, file: bytes) -> NDArray[np.uint16] | None:
    """Decode colours again with all their bits, where the upper 8 leave them dark.

    Args:
        image: As Pillow decoded it.
        file: Its file.

    Returns:
        (H, W, 3) or (H, W, 4) uint16, RGB or RGBA; None where the upper bits are enough.
    """
    extrema: Any = image.getextrema()
    if max(high for _, high in extrema[:3]) > _DARK:
        return None
    cv2 = load_cv2()
    levels = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
    if levels is None or levels.dtype != np.uint16 or levels.shape != (image.height, image.width, len(extrema)):
        return None
    return cv2.cvtColor(levels, cv2.COLOR_BGR2RGB if len(extrema) == 3 else cv2.COLOR_BGRA2RGBA)  # type: ignore[no-any-return]


def write_colours(out: RGBImage, levels: NDArray[np.uint16], declared: int | None, background: Colour | None) -> None:
    """Write colours of 16 bits, laid on a ground where they are transparent."""
    if levels.shape[2] == 3:
        write_levels(out, lambda top, bottom: levels[top:bottom], "colours of 16 bits", declared)
        return
    rgba = array_to_rgba(levels, declared)
    write_flat(out, lambda top, bottom: rgba[top:bottom], background)


def _has_deep_colours(image: Image.Image) -> bool:
    """Whether a file has three or four channels of 16 bits."""
    tiles = getattr(image, "tile", None)
    if image.mode not in ("RGB", "RGBA") or image.format not in ("PNG", "TIFF") or not tiles:
        return False
    arguments = tiles[0][3]
    layout = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return isinstance(layout, str) and ";16" in layout


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and value else value


def _png_significant_bits(image: Image.Image) -> int | None:
    """Read the chunk sBIT, which Pillow passes over."""
    file = getattr(image, "fp", None)
    if file is None:
        return None
    before = file.tell()
    try:
        file.seek(8)
        while len(header := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", header)
            if name == b"sBIT":
                return int(file.read(1)[0])
            if name == b"IDAT":
                return None
            file.seek(length + 4, 1)
        return None
    finally:
        file.seek(before)
