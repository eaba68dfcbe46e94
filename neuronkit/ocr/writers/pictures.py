"""Annotated pictures: each page with what was found on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from neuronkit.ocr.writers.types import WritablePage
from neuronkit.storage.atomic import replacing_file

if TYPE_CHECKING:
    from PIL import Image


def write_pictures(pages: Iterable[WritablePage], path: Path, *, check: Callable[[WritablePage, Path], None]) -> None:
    """Draw every page: into one file of several pages where the format has them (TIFF), else each into its own.

    Args:
        pages: Those to draw.
        path: The first file.
        check: Called with each page and its file before that is written.

    Raises:
        ImageError: If the image of a page cannot be opened again.
    """
    together = path.suffix.lower() in (".tif", ".tiff")
    drawn = _drawn(pages, path, together, check)
    if together:
        first = next(drawn, None)
        if first is not None:
            with replacing_file(path) as unfinished:
                first.save(unfinished, "TIFF", compression="tiff_deflate", save_all=True, append_images=drawn)
        return
    for number, picture in enumerate(drawn, start=1):
        with replacing_file(_file(path, number)) as unfinished, unfinished.open("wb") as out:
            picture.save(out, _FORMATS[path.suffix.lower()])


_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def _file(path: Path, number: int) -> Path:
    return path if number == 1 else path.with_suffix(f".page-{number}{path.suffix}")


def _drawn(
    pages: Iterable[WritablePage], path: Path, together: bool, check: Callable[[WritablePage, Path], None]
) -> Iterator[Image.Image]:
    from PIL import Image

    number = 1
    for page in pages:
        if page.size[0] and page.size[1]:
            check(page, path if together else _file(path, number))
            number += 1
            yield Image.fromarray(page.draw())
