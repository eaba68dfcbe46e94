"""Pixels out of an opened image: upright, as RGB, in blocks of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronkit.errors import ImageError
from neuronkit.ocr.images.deep import colour_file, dark_colours, declared_white, write_colours, write_deep
from neuronkit.ocr.images.ground import Colour, write_flat
from neuronkit.ocr.images.levels import row_blocks

if TYPE_CHECKING:
    from PIL import Image

    from neuronkit.ocr.images.types import RGBImage

_ORIENTATION = 0x0112
_DPI = 30, 2400
_NEW_SUBFILE_TYPE = 254
_REDUCED_OR_MASK = 0b101
# What further frames of these formats are: other sizes, layers or views of the one image.
NO_PAGES = frozenset({"CUR", "ICNS", "ICO", "MPO", "PSD"})


def page_frames(image: Image.Image) -> list[int]:
    """Give the frames of a file that are pages: not the thumbnails and masks of a TIFF, nor the layers of a PSD."""
    count = getattr(image, "n_frames", 1)
    if count < 2 or image.format in NO_PAGES:
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

    Besides Pillow's own copy of the image there is one other and a block of rows; dark colours of 16 bits, up to 25
    million pixels, are decoded a second time.

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
    declared, file = declared_white(image), colour_file(image)
    image.load()
    orientation = image.getexif().get(_ORIENTATION, 1)
    out = np.empty((image.height, image.width, 3), np.uint8)
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        write_deep(out, image, declared)
    elif file and (levels := dark_colours(image, file)) is not None:
        write_colours(out, levels, declared, background)
    elif image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        write_flat(out, lambda top, bottom: _rgba(_rows(image, top, bottom)), background)
    else:
        for top, bottom in row_blocks(image.height, image.width):
            out[top:bottom] = np.asarray(_rows(image, top, bottom).convert("RGB"))
    return upright(out, orientation)


def resolution(image: Image.Image) -> float | None:
    """Give the pixels per inch that a file notes; None where it notes none, or none that a scan has."""
    across, down = (float(number) for number in image.info.get("dpi", (0, 0)))
    plausible = _DPI[0] <= across <= _DPI[1] and abs(across - down) < 1
    return round(across, 1) if plausible else None


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
