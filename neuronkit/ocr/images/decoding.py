"""Pixels out of an opened image: upright, as RGB, in blocks of rows."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronkit.errors import ImageError
from neuronkit.ocr.images.ground import Colour, write_flat
from neuronkit.ocr.images.levels import row_blocks, write_levels

if TYPE_CHECKING:
    from PIL import Image

    from neuronkit.ocr.images.types import RGBImage

_ORIENTATION = 0x0112
_BITS_PER_SAMPLE, _MAX_SAMPLE_VALUE, _SMAX_SAMPLE_VALUE, _NEW_SUBFILE_TYPE = 258, 281, 341, 254
_REDUCED_OR_MASK = 0b101
# What further frames of these formats are: other sizes, layers or views of the one image.
_NO_PAGES = frozenset({"CUR", "ICNS", "ICO", "MPO", "PSD"})


def page_frames(image: Image.Image) -> list[int]:
    """Give the frames of a file that are pages: not the thumbnails and masks of a TIFF, nor the layers of a PSD."""
    count = getattr(image, "n_frames", 1)
    if count < 2 or image.format in _NO_PAGES:
        return [image.tell() if count > 1 else 0]
    if image.format != "TIFF":
        return list(range(count))
    before = image.tell()
    pages = []
    for frame in range(count):
        image.seek(frame)
        if not int(image.tag_v2.get(_NEW_SUBFILE_TYPE, 0)) & _REDUCED_OR_MASK:  # type: ignore[attr-defined]
            pages.append(frame)
    image.seek(before)
    return pages or [0]


def check_size(height: int, width: int, max_pixels: int) -> None:
    """Refuse what is empty or too large.

    Raises:
        ImageError: If it is.
    """
    if height < 1 or width < 1:
        raise ImageError(
            f"got an image that is empty: height {height}, width {width}; expected pixels; give at least one"
        )
    if height * width > max_pixels:
        raise ImageError(
            f"got an image of {height} x {width} pixels, more than max_pixels={max_pixels}; expected a smaller one; "
            "scale it down or cut it into tiles, or raise max_pixels if you trust where it comes from"
        )


def decode(image: Image.Image, max_pixels: int, background: Colour | None) -> RGBImage:
    """Decode the frame that an opened image stands at.

    Besides Pillow's own copy of the image there is never more than one other, and a block of rows.

    Returns:
        (H, W, 3) uint8, RGB, upright.

    Raises:
        ImageError: If it is too large, or a program and no image (EPS).
    """
    if image.format == "EPS":
        raise ImageError(
            "got an EPS file, a program that Pillow has Ghostscript run; expected an image; convert it to PNG or JPEG"
        )
    # Only the header has been read so far: nothing of a bomb is decoded.
    check_size(image.height, image.width, max_pixels)
    declared = _declared_white(image)
    image.load()
    orientation = image.getexif().get(_ORIENTATION, 1)
    out = np.empty((image.height, image.width, 3), np.uint8)
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        _write_deep(out, image, declared)
    elif image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        write_flat(out, lambda top, bottom: _rgba(_rows(image, top, bottom)), background)
    else:
        for top, bottom in row_blocks(image.height, image.width):
            out[top:bottom] = np.asarray(_rows(image, top, bottom).convert("RGB"))
    return upright(out, orientation)


def upright(image: RGBImage, orientation: Any) -> RGBImage:
    """Turn an image by the orientation, 1 to 8, that EXIF notes; anything else leaves it."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _rows(image: Image.Image, top: int, bottom: int) -> Image.Image:
    return image.crop((0, top, image.width, bottom))


def _rgba(image: Image.Image) -> NDArray[np.uint8]:
    # Pillow converts premultiplied colours to their own mode only.
    plain = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)
    return np.asarray((image.convert(plain) if plain else image).convert("RGBA"))


def _write_deep(out: RGBImage, image: Image.Image, declared: int | None) -> None:
    """Write levels of 16 or 32 bits."""
    # Pillow opens 16-bit PPM files, and before release 11 PNG files too, in 32 bits.
    sixteen_bits = image.mode == "I" and image.format in ("PNG", "PPM")

    def block(top: int, bottom: int) -> NDArray[Any]:
        levels = np.asarray(_rows(image, top, bottom))[:, :, None]
        return levels.astype(np.uint16) if sixteen_bits else levels

    write_levels(out, block, f"an image of mode {image.mode}", declared)


def _declared_white(image: Image.Image) -> int | None:
    """The level that a 16-bit file says is white, or None."""
    if image.mode != "I" and not image.mode.startswith("I;"):
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
