"""Pages of PDF files as pictures, drawn by pdfium (extra ``[pdf]``)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from neuronkit import checks
from neuronkit.errors import ImageError
from neuronkit.ocr.images.decoding import check_size
from neuronkit.ocr.images.types import RGBImage, describe
from neuronkit.threads.turns import Turns

_INCH = 72.0
# Readers of PDF look for the signature in so many bytes.
_HEAD = 1024

# pdfium may be called by one thread at a time.
_drawing = Turns()


def is_pdf(file: Any) -> bool:
    """Whether a path, bytes or an open file is a PDF; the file stays where it is."""
    if isinstance(file, (bytes, bytearray, memoryview)):
        return b"%PDF-" in bytes(file[:_HEAD])
    if isinstance(file, (str, os.PathLike)):
        try:
            if not os.path.isfile(file):
                return False  # A pipe would be waited for.
            with open(file, "rb") as opened:
                return b"%PDF-" in opened.read(_HEAD)
        except (OSError, ValueError):
            return False
    if not (hasattr(file, "read") and hasattr(file, "seek")) or hasattr(file, "getexif"):
        return False
    start = file.tell()
    head = file.read(_HEAD)
    file.seek(start)
    return isinstance(head, bytes) and b"%PDF-" in head


def count_pages(file: Any) -> int:
    """Give the number of pages of a PDF.

    Raises:
        ImageError: If pdfium is missing, or cannot open it.
    """
    with _opened(file) as document:
        return len(document)


def draw_page(file: Any, index: int, *, dpi: float, max_pixels: int) -> tuple[RGBImage, int]:
    """Draw a page as a viewer shows it, with what was filled into forms, on white.

    Args:
        file: A path, the bytes of a PDF, or an open file.
        index: Of the page, from 0.
        dpi: Pixels per inch.
        max_pixels: Largest height * width.

    Returns:
        (H, W, 3) uint8, RGB; and how many pages there are.

    Raises:
        ImageError: If pdfium is missing or cannot draw the page, it is not there, or too large.
    """
    with _opened(file) as document:
        if index >= len(document):
            raise ImageError(
                f"got page {index + 1} of {describe(file)}, which has {len(document)}; expected one of them; "
                "image_pages lists them"
            )
        document.init_forms()
        page = document[index]
        scale = dpi / _INCH
        height, width = (max(1, round(side * scale)) for side in (page.get_height(), page.get_width()))
        check_size(height, width, max_pixels)
        bitmap = page.render(scale=scale, rev_byteorder=True)
        pixels = bitmap.to_numpy()
        drawn = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[:, :, :3].copy()
        bitmap.close()
        return drawn, len(document)


@contextlib.contextmanager
def _opened(file: Any) -> Iterator[Any]:
    try:
        import pypdfium2 as pdfium
    except ImportError as error:
        raise ImageError(
            f"got {describe(file)}, a PDF, and pypdfium2 is not installed; expected it, since it draws the pages; "
            "pip install 'neuronkit[pdf]', or turn them into images, as `pdftoppm -r 200 -png` does"
        ) from error
    with _drawing.taken():
        try:
            document = pdfium.PdfDocument(_input(file))
        except pdfium.PdfiumError as error:
            said = str(error)
            locked = "password" in said.lower()
            if "success" in said.lower():
                said = "it has no page"
            advice = "decrypt it first, as `qpdf --decrypt` does" if locked else "check that it is whole"
            raise ImageError(
                f"got {describe(file)}, a PDF that cannot be opened ({said}); expected a whole one without a "
                f"password; {advice}"
            ) from error
        with document:
            yield document


def _input(file: Any) -> Any:
    if isinstance(file, (str, os.PathLike)):
        return checks.input_file("image", file, error=ImageError)
    return file.read() if hasattr(file, "read") else bytes(file)
