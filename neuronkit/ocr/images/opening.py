"""Files, bytes and streams opened with Pillow, and what to do about those that it cannot open."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from neuronkit import checks
from neuronkit.errors import ImageError
from neuronkit.ocr.images.pdf import is_pdf
from neuronkit.ocr.images.types import describe
from neuronkit.threads.quiet import quiet

if TYPE_CHECKING:
    from PIL import Image

_HEAD = 64
_PLUGINS = {
    "HEIC": "`pip install pillow-heif`, or convert it to PNG or JPEG",
    "AVIF": "update Pillow to 11.3 or newer, or `pip install pillow-avif-plugin`",
    "JPEG XL": "`pip install pillow-jxl-plugin`, or convert it to PNG or JPEG",
    "SVG": "turn it into a PNG first, as `rsvg-convert` does",
    "DjVu": "turn its pages into images first, as `ddjvu -format=tiff` does",
    "DICOM": "take the pixels out with pydicom and give the array",
    "JPEG XR": "convert it to PNG or JPEG",
    "a web page": "download the image itself",
    "a pointer of Git LFS": "run `git lfs pull`",
}
# Those that register themselves with Pillow, and those that have to be registered.
_PACKAGES = {"HEIC": "pillow_heif", "AVIF": "pillow_avif", "JPEG XL": "pillow_jxl"}
_SIGNATURES = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"AT&TFORM", "DjVu"),
    (b"II\xbc", "JPEG XR"),
    (b"version https://git-lfs", "a pointer of Git LFS"),
)
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
}


@contextlib.contextmanager
def open_image(source: Any) -> Iterator[Image.Image]:
    """Open an image file up to its header; a Pillow image is given as it is, and left open.

    Args:
        source: A path, the bytes of a file, an open binary file, or a Pillow image.

    Raises:
        ImageError: If there is no such file, or Pillow does not read its format.
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(source, Image.Image):
        yield source
        return
    file = _openable(source)
    start = file.tell() if hasattr(file, "tell") else 0
    try:
        with _opened(file) as image:
            yield image
    except UnidentifiedImageError as error:
        raise ImageError(_unknown(source, _head(file, start))) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"got {describe(source)}, larger than Pillow opens ({error}); expected a smaller image; scale it down or "
            "cut it into tiles, or raise PIL.Image.MAX_IMAGE_PIXELS and max_pixels if you trust where it comes from"
        ) from error


def image_endings() -> frozenset[str]:
    """Endings of files, such as ``".png"``, in the formats that Pillow reads here, or that a plugin would add."""
    from PIL import Image

    Image.init()
    readable = {ending for ending, name in Image.registered_extensions().items() if name in Image.OPEN}
    return frozenset(readable | {".heic", ".heif", ".avif", ".jxl"})


def is_image_file(path: os.PathLike[str]) -> bool:
    """Whether a file's header is that of an image or a PDF, whatever its name."""
    from PIL import Image, UnidentifiedImageError

    if is_pdf(path):
        return True
    try:
        with _opened(path):
            return True
    except (UnidentifiedImageError, OSError):
        return False
    except Image.DecompressionBombError:
        return True


def _opened(file: Any) -> Image.Image:
    from PIL import UnidentifiedImageError

    start = file.tell() if hasattr(file, "tell") else 0
    try:
        return _identified(file)
    except UnidentifiedImageError:
        if not _add_plugin(_format(_head(file, start))):
            raise
        if hasattr(file, "seek"):
            file.seek(start)
        return _identified(file)


def _add_plugin(name: str | None) -> bool:
    """Register a format with Pillow from an installed package; return whether there is one."""
    package = _PACKAGES.get(name or "")
    if package is None or importlib.util.find_spec(package) is None:
        return False
    plugin = importlib.import_module(package)
    if hasattr(plugin, "register_heif_opener"):
        plugin.register_heif_opener()
    return True


def _identified(file: Any) -> Image.Image:
    """Open without Pillow's warning of many pixels, which `max_pixels` decides on; its limit stays an error."""
    from PIL import Image

    with quiet(Image.DecompressionBombWarning):
        return Image.open(file)


def _openable(source: Any) -> Any:
    if isinstance(source, (bytes, bytearray, memoryview)):
        if not len(source):
            raise ImageError("got 0 bytes; expected an image file, which has a header; check where they come from")
        return io.BytesIO(source)
    if isinstance(source, (str, os.PathLike)):
        if isinstance(source, str) and "://" in source:
            raise ImageError(
                f"got {describe(source)}; expected a path, and this is an address; download it and give its bytes"
            )
        return checks.input_file("image", source, error=ImageError)
    if hasattr(source, "read"):
        return source
    raise ImageError(
        f"got {describe(source)}; expected an image; give a path, the bytes of an image file, an open binary file, a "
        "Pillow image or an (H, W, 3) uint8 array; a pipeline takes a list of them too"
    )


def _head(file: Any, start: int) -> bytes:
    if isinstance(file, os.PathLike):
        with open(file, "rb") as opened:
            return opened.read(_HEAD)
    file.seek(start)
    head = file.read(_HEAD)
    return head if isinstance(head, bytes) else b""


def _format(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    return next((name for signature, name in _SIGNATURES if head.startswith(signature)), None)


def _unknown(source: Any, head: bytes) -> str:
    # Pillow's own text names the address of an object in memory.
    known = _format(head)
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        known = "a web page"
    elif start.startswith((b"<svg", b"<?xml")):
        known = "SVG"
    if known is None:
        return (
            f"got {describe(source)}, which cannot be read as an image: it is in no format that Pillow reads; expected "
            "a whole image file; give PNG or JPEG"
        )
    return (
        f"got {describe(source)}, which cannot be read as an image: it is {known}; expected a format that Pillow "
        f"reads; {_PLUGINS[known]}"
    )
