"""Annotated pictures: each page with what was found on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from neuronkit.ocr.writers.types import WritablePage
from neuronkit.storage.atomic import replacing_file

if TYPE_CHECKING:
    from PIL import Image


def write_pictures(pages: Iterable[WritablePage], path: Path) -> None:
    """Draw every page: into one file of several pages where the format has them (TIFF), else each into its own.

    Raises:
        ImageError: If the image of a page cannot be opened again.
    """
    drawn = _drawn(pages)
    if path.suffix.lower() in (".tif", ".tiff"):
        first = next(drawn, None)
        if first is not None:
            with replacing_file(path) as unfinished:
                first.save(unfinished, "TIFF", compression="tiff_deflate", save_all=True, append_images=drawn)
        return
    for number, picture in enumerate(drawn, start=1):
        file = path if number == 1 else path.with_suffix(f".page-{number}{path.suffix}")
        with replacing_file(file) as unfinished, unfinished.open("wb") as out:
            picture.save(out, _FORMATS[path.suffix.lower()])


_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def _drawn(pages: Iterable[WritablePage]) -> Iterator[Image.Image]:
    from PIL import Image

    for page in pages:
        if page.size[0] and page.size[1]:
            yield Image.fromarray(page.draw())
