"""Images of any kind read as (H, W, 3) uint8 arrays."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neuronkit import checks
from neuronkit.errors import ImageError, NeuronKitError, SpecError
from neuronkit.ocr._arrays import to_numpy
from neuronkit.ocr.images.decoding import check_size, decode, page_frames, resolution
from neuronkit.ocr.images.ground import Colour, parse_background, write_flat
from neuronkit.ocr.images.levels import array_to_rgb, array_to_rgba
from neuronkit.ocr.images.opening import open_image
from neuronkit.ocr.images.pdf import count_pages, draw_page, is_pdf
from neuronkit.ocr.images.resuming import open_for
from neuronkit.ocr.images.types import (
    MAX_PIXELS,
    PDF_DPI,
    ImageLike,
    ImagePage,
    ImageWarning,
    RGBImage,
    describe,
)
from neuronkit.threads.turns import Turns

_MOST_ARRAY_PIXELS = 1 << 31

# A Pillow image is at one page, and several threads may read several.
_turning_pages = Turns()


@dataclass(frozen=True)
class LoadedImage:
    """An image, and how many pages its file has.

    Attributes:
        pixels: (H, W, 3) uint8, RGB.
        unread: Pages of the file that were not selected.
        dpi: Pixels per inch, where the file says how many.
    """

    pixels: RGBImage
    unread: int
    dpi: float | None = None

    @property
    def warning(self) -> str | None:
        """A sentence about the pages that were not read; None if there are none."""
        if not self.unread:
            return None
        pages = self.unread + 1
        return f"the file has {pages} pages and one was read; load_images and OCRPipeline.read_pages give all of them"


def load_image(source: ImageLike, *, max_pixels: int = MAX_PIXELS, background: str | Colour | None = None) -> RGBImage:
    """Read an image, whatever it is given as.

    Args:
        source: A path, the bytes of an image or PDF, an open binary file, a Pillow image, an `ImagePage`, or an array:
            (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA; uint8 or another integer type in 0..255, uint16 in
            0..65535, bool, or floating point in 0..1.
        max_pixels: Largest height * width that is accepted; larger images are refused before they are decoded.
            Pillow's own limit for files, 179 million, holds as well.
        background: The colour behind transparent images: a name, ``"#rrggbb"`` or (red, green, blue) in 0..255. None
            takes white, black or grey, whichever contrasts with what is drawn. An image without any opaque pixel
            is read as if it had no transparency.

    Returns:
        (H, W, 3) uint8, RGB, 0..255, upright: the rotation that a camera notes in EXIF is applied. An array that is
        (H, W, 3) uint8 comes back as it is, not copied. Levels of 10, 12 or 14 bits in 16 are stretched to 0..255:
        where the file says that it has so few (TIFF tags, the PNG chunk sBIT), and else by the highest level, as
        long as that is above 255.

    Raises:
        ImageError: If `source` is empty, unreadable, too large, or not an image.
        OptionError: If `max_pixels` or `background` has no such value.

    Warns:
        ImageWarning: If the file has more pages, which were not read. `load_images` gives all of them.

    Examples:
        >>> neuronkit.ocr.load_image(IMAGE).shape
        (690, 450, 3)
    """
    loaded = open_page(source, max_pixels=max_pixels, background=background)
    if loaded.warning:
        warnings.warn(f"{describe(source)}: {loaded.warning}", ImageWarning, stacklevel=2)
    return loaded.pixels


def load_pixels(source: ImageLike) -> RGBImage:
    """Read an image for a processor; an array, which is in memory already, may have more pixels than `MAX_PIXELS`."""
    return load_image(source, max_pixels=_MOST_ARRAY_PIXELS if _is_array(source) else MAX_PIXELS)


# Pages that `load_images` holds at once, of the largest size.
_PAGES_TOGETHER = 8


def load_images(
    source: ImageLike, *, max_pixels: int = MAX_PIXELS, background: str | Colour | None = None
) -> list[RGBImage]:
    """Read all pages of a file: of a PDF, a TIFF, of a GIF, WebP or PNG animation; one page of what has no more.

    All pages are held at once; `image_pages` and `OCRPipeline.read_pages` take one after the other.

    Args:
        source: See `load_image`. A Pillow image stands at its last page afterwards.
        max_pixels: Largest height * width of a page; all pages together have at most eight times as many.
        background: See `load_image`.

    Returns:
        A list of (H, W, 3) uint8, RGB, in the order of the file. The layers of a PSD, the thumbnails of a TIFF and the
        further views of an MPO are not pages.

    Raises:
        ImageError: If a page is unreadable or too large, or `source` is not an image.
        OptionError: If `max_pixels` or `background` has no such value.

    Examples:
        >>> [image.shape for image in neuronkit.ocr.load_images(IMAGE)]
        [(690, 450, 3)]
    """
    pages = image_pages(source)
    left, found = _PAGES_TOGETHER * checks.integer("max_pixels", max_pixels, 1, 1 << 40), []
    for number, page in enumerate(pages):
        found.append(open_page(page, max_pixels=max_pixels, background=background).pixels)
        left -= found[-1].shape[0] * found[-1].shape[1]
        if left < 0:
            raise ImageError(
                f"got {describe(source)}, whose first {number + 1} of {len(pages)} pages have more pixels together "
                f"than {_PAGES_TOGETHER} times max_pixels={max_pixels}; expected fewer; read one page after the other: "
                "load_image of each that image_pages lists, or OCRPipeline.read_pages"
            )
    return found


def image_pages(source: ImageLike, *, dpi: float = PDF_DPI, rotation: int = 0) -> list[ImagePage]:
    """List the pages of a file without decoding them.

    Args:
        source: See `load_image`. An open file is read once, here. Pages that are read in their order, each by a call
            of its own, take as long as together: the file stays open, and there are at most two such files.
        dpi: Resolution at which pages of a PDF are drawn.
        rotation: By how many degrees, 0, 90, 180 or 270, each page is turned counter-clockwise.

    Returns:
        At least one page, each of which `load_image` and `OCRPipeline` take.

    Raises:
        ImageError: If `source` is not an image.
        OptionError: If `dpi` or `rotation` has no such value.

    Examples:
        >>> len(neuronkit.ocr.image_pages(np.zeros((8, 8, 3), np.uint8)))
        1
    """
    if isinstance(source, ImagePage):
        return [source]
    first = ImagePage(source, 0, dpi, rotation)
    if _is_array(source):
        return [first]
    with _image_errors(source):
        if hasattr(source, "read") and not hasattr(source, "getexif"):
            source = source.read()  # type: ignore[union-attr]
            if not isinstance(source, (bytes, bytearray, memoryview)):
                # Text would be taken for a path.
                raise TypeError(f"its read() gave {checks.shown(source)}; an image is opened with mode 'rb'")
        if isinstance(source, (bytearray, memoryview)):
            # Others may change before the last page is read.
            source = bytes(source)
        frames: Sequence[int]
        if is_pdf(source):
            frames = range(count_pages(source))
        else:
            with _alone(source), open_image(source) as image:
                frames = page_frames(image)
        return [ImagePage(source, frame, first.dpi, first.rotation) for frame in frames]


def open_page(
    source: ImageLike, *, max_pixels: int = MAX_PIXELS, background: str | Colour | None = None
) -> LoadedImage:
    """Read one page, and count those that were not read; see `load_image`."""
    max_pixels = checks.integer("max_pixels", max_pixels, 1, 1 << 40)
    ground = parse_background(background)
    with _image_errors(source):
        page = source if isinstance(source, ImagePage) else None
        loaded = _load(page.source if page else source, page, max_pixels, ground)
    if page is None or not page.rotation:
        return loaded
    return replace(loaded, pixels=np.ascontiguousarray(np.rot90(loaded.pixels, page.rotation // 90)))


def _load(file: Any, page: ImagePage | None, max_pixels: int, ground: Colour | None) -> LoadedImage:
    if _is_array(file):
        return LoadedImage(_from_array(file, max_pixels, ground), 0)
    if is_pdf(file):
        wanted = page or ImagePage(file)
        pixels, count = draw_page(file, wanted.index, dpi=wanted.dpi, max_pixels=max_pixels)
        return LoadedImage(pixels, 0 if page else count - 1, wanted.dpi)
    opening = open_image(file) if page is None else open_for(file, page.index)
    with _alone(file), opening as image:
        return _open_frame(image, page, max_pixels, ground)


@contextlib.contextmanager
def _image_errors(source: Any) -> Iterator[None]:
    """Turn whatever a decoder raises into an `ImageError`."""
    try:
        yield
    except NeuronKitError:
        raise
    # Decoders of broken files raise nearly anything: SyntaxError, struct.error, IndexError, MemoryError...
    except Exception as error:
        raise ImageError(
            f"got {describe(source)}, which cannot be read as an image ({type(error).__name__}: "
            f"{checks.shown(str(error))}); expected an image; give a path, the bytes of an image file, a Pillow image "
            "or an (H, W, 3) uint8 array"
        ) from error


def _alone(source: Any) -> contextlib.AbstractContextManager[Any]:
    """Keep other threads from a Pillow image while its pages are turned."""
    return _turning_pages.taken() if hasattr(source, "getexif") else contextlib.nullcontext()


def _open_frame(image: Any, page: ImagePage | None, max_pixels: int, background: Colour | None) -> LoadedImage:
    unread = 0
    if page is None and image.tell() == 0:
        # A Pillow image at a later page was moved there by the caller, who means this page.
        unread = len(page_frames(image)) - 1
    elif page is not None:
        try:
            image.seek(page.index)
        except EOFError as error:
            raise ImageError(f"got {describe(page)}; expected a page that is there; image_pages lists them") from error
    return LoadedImage(decode(image, max_pixels, background), unread, resolution(image))


def _is_array(source: Any) -> bool:
    return isinstance(source, np.ndarray) or (hasattr(source, "detach") and hasattr(source, "cpu"))


def _from_array(source: Any, max_pixels: int, background: Colour | None) -> RGBImage:
    try:
        array = to_numpy(source)
    except SpecError as error:
        raise ImageError(str(error)) from error
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        hint = ""
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            hint = " (channels come last: image.transpose(1, 2, 0))"
        elif array.ndim == 4:
            hint = " (one image at a time: images[0])"
        raise ImageError(
            f"got {describe(array)}, which is not an image; expected one image; "
            f"give (H, W), (H, W, 3) RGB or (H, W, 4) RGBA{hint}"
        )
    check_size(array.shape[0], array.shape[1], max_pixels)
    if array.ndim == 2 or array.shape[2] != 4:
        return array_to_rgb(array)
    rgba = array_to_rgba(array)
    out = np.empty((*rgba.shape[:2], 3), np.uint8)
    write_flat(out, lambda top, bottom: rgba[top:bottom], background)
    return out
