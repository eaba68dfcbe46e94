"""The types of images that the library takes and gives."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray

from neuronkit import checks
from neuronkit.errors import ImageError, SpecError

if TYPE_CHECKING:
    from PIL import Image

ImageLike = Union[
    str, "os.PathLike[str]", bytes, bytearray, memoryview, IO[bytes], "Image.Image", NDArray[Any], "ImagePage"
]
RGBImage = NDArray[np.uint8]

MAX_PIXELS = 1 << 26
"""Largest image that is decoded by default: 67 million pixels, 0.2 GB as RGB, and twice that while it is decoded."""


PDF_DPI = 200.0
"""Resolution, in pixels per inch, at which pages of PDF are drawn by default: text of 10 points is 28 pixels high."""


class ImageWarning(UserWarning):
    """Part of an image was not read, or may have been read wrongly."""


@dataclass(frozen=True)
class ImagePage:
    """One page of a file of several (PDF, TIFF, GIF, WebP, ...); every function that takes an image takes it.

    Attributes:
        source: The file: a path, its bytes, an open file or a Pillow image.
        index: Which frame of the file, counted from 0; `image_pages` lists those that are pages.
        dpi: Resolution, in pixels per inch, at which a page of a PDF is drawn; 10 to 2,400.
        rotation: By how many degrees, 0, 90, 180 or 270, the page is turned counter-clockwise.

    Raises:
        OptionError: If `index` is not a whole number of at least 0, or another number out of its range.
        ImageError: If `source` is a page itself.

    Examples:
        >>> neuronkit.ocr.image_pages(np.zeros((8, 8, 3), np.uint8))[0].index
        0
    """

    source: Any
    index: int = 0
    dpi: float = PDF_DPI
    rotation: int = 0

    def __post_init__(self) -> None:
        checks.set_field(self, "index", checks.integer, 0)
        checks.set_field(self, "dpi", checks.number, 10, 2400)
        checks.set_field(self, "rotation", checks.choice, (0, 90, 180, 270))
        if isinstance(self.source, ImagePage):
            raise ImageError(f"got source={describe(self.source)}; expected a file of pages; give its own source")


def describe(source: Any) -> str:
    """Say in a few words what was given."""
    if isinstance(source, ImagePage):
        return f"page {source.index + 1} of {describe(source.source)}"
    if isinstance(source, (str, os.PathLike)):
        return checks.shown(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"{len(source)} bytes"
    if isinstance(source, np.ndarray):
        return f"an array of shape {source.shape} and dtype {source.dtype}"
    return f"a {type(source).__name__:.100}"


def as_batch(images: Any) -> list[Any]:
    """Check that `images` is a list of images, and not one by itself; an (N, H, W, C) array is N images.

    Raises:
        SpecError: If it is not, or the list is empty.
    """
    if isinstance(images, np.ndarray) and images.ndim == 4:
        images = list(images)
    if not isinstance(images, (list, tuple)):
        raise SpecError(f"got {describe(images)}; expected a list of images; wrap a single one in a list")
    if not images:
        raise SpecError("got an empty list of images; expected at least one; leave the call out where there are none")
    return list(images)
