"""Files, folders, patterns and lists of them as one stream of pages."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from neuronkit import checks
from neuronkit.errors import ImageError, OptionError
from neuronkit.ocr.images.loading import image_pages
from neuronkit.ocr.images.opening import image_endings, is_image_file
from neuronkit.ocr.images.types import PDF_DPI, ImageLike, ImagePage

# Levels of lists in lists; one that holds itself has no end.
_DEEPEST = 32
_MOST_RANGES = 10_000


def page_stream(
    sources: Any, *, pages: str | Iterable[int] | None = None, dpi: float = PDF_DPI, rotation: int = 0
) -> Iterator[ImagePage]:
    """Give the pages of files, folders and lists, one after the other; nothing is decoded, and no page is kept.

    Args:
        sources: An image or a PDF (see `load_image`); a folder, whose files count if they are images or PDF, also in
            folders within; a pattern such as ``"scans/*.pdf"``; or any iterable of these.
        pages: Which pages of each file: numbers from 1, or text such as ``"1-3,7,9-"``. Numbers beyond the end of a
            file name no page of it. None takes all.
        dpi: Resolution at which PDF is drawn.
        rotation: By how many degrees, 0, 90, 180 or 270, each page is turned counter-clockwise.

    Yields:
        Pages that `load_image` and `OCRPipeline.read` take. A file that cannot be opened is one page, whose reading
        says why.

    Raises:
        OptionError: If an option has no such value.
        ImageError: If a pattern matches nothing, or a folder has no images.

    Examples:
        ``save_pages(pipeline.read(page_stream("scans", dpi=300)), "scans.pdf")``
    """
    wanted = parse_pages(pages)
    made = ImagePage(b"", 0, dpi, rotation)
    return _stream(sources, wanted, made.dpi, made.rotation)


def _stream(sources: Any, wanted: list[range] | None, dpi: float, rotation: int) -> Iterator[ImagePage]:
    for source in _flat(sources):
        try:
            found = image_pages(source, dpi=dpi, rotation=rotation)
        except ImageError:
            yield ImagePage(source, 0, dpi, rotation)
            continue
        if wanted is None:
            yield from found
        else:
            yield from (page for i, page in enumerate(found, start=1) if any(i in numbers for numbers in wanted))


def _flat(sources: Any, depth: int = 0) -> Iterator[ImageLike]:
    if depth > _DEEPEST:
        raise ImageError(
            f"got sources in lists of more than {_DEEPEST} levels; expected images and lists of them; give one list"
        )
    if isinstance(sources, str) and "://" in sources and not os.path.lexists(sources):
        # As a path it would lose a slash. Reading it says what to do.
        yield sources
    elif isinstance(sources, (str, os.PathLike)):
        yield from _files(checks.path("sources", sources))
    elif (
        isinstance(sources, (bytes, bytearray, memoryview, ImagePage)) or hasattr(sources, "read") or _is_image(sources)
    ):
        yield sources  # type: ignore[misc]
    else:
        try:
            items = iter(sources)
        except TypeError:
            yield sources
            return
        for source in items:
            yield from _flat(source, depth + 1)


def _is_image(source: Any) -> bool:
    # Arrays, tensors and Pillow's images can be iterated over, and are one image each.
    return hasattr(source, "shape") or hasattr(source, "getexif")


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        found = [file for file in sorted(path.rglob("*")) if is_image_path(file)]
        if not found:
            raise ImageError(f"got {checks.shown(path)}, a folder without images; expected some; give another folder")
        yield from found
    elif glob.has_magic(str(path)) and not path.exists():
        matches = sorted(glob.glob(str(path), recursive=True))
        if not matches:
            raise ImageError(f"got {checks.shown(path)}, which matches no file; expected a pattern that does; check it")
        yield from map(Path, matches)
    else:
        yield path


def files_of(sources: Any) -> Iterator[tuple[Path, Path]]:
    """Give the files of paths, folders, patterns and lists of them, each with its path within its folder.

    Raises:
        ImageError: If a pattern matches nothing, a folder has no images, or something is not a path.
    """
    listed = isinstance(sources, Iterable) and not isinstance(sources, (str, bytes, os.PathLike))
    for source in sources if listed else [sources]:
        root = checks.path("sources", source, error=ImageError)
        for file in _files(root):
            yield file, file.relative_to(root) if root.is_dir() else Path(file.name)


def is_image_path(path: Path) -> bool:
    """Whether a path is that of a regular file with the ending or the content of an image or a PDF."""
    return path.is_file() and (path.suffix.lower() in image_endings() or is_image_file(path))


def parse_pages(pages: str | Iterable[int] | None) -> list[range] | None:
    """Read numbers of pages, from 1: ``"1-3,7,9-"``, or numbers one by one; None stays None.

    Raises:
        OptionError: If they are no such numbers.
    """
    if pages is None:
        return None
    if isinstance(pages, str):
        found = [_range(part.strip(), pages) for part in islice(pages.split(","), _MOST_RANGES)]
    else:
        numbers = checks.items("pages", pages, "numbers of pages", most=_MOST_RANGES)
        found = [range(n, n + 1) for n in (checks.integer("pages[...]", number, 1, 1 << 31) for number in numbers)]
    if not found:
        raise OptionError(f"got pages={checks.shown(pages)}; expected at least one; give numbers from 1, or None")
    return found


def _range(part: str, pages: str) -> range:
    match = re.fullmatch(r"([1-9][0-9]{0,8})(?:\s*(-)\s*([1-9][0-9]{0,8})?)?", part)
    first, last = (int(match[1]), int(match[3] or (1 << 31 if match[2] else match[1]))) if match else (2, 1)
    if first > last:
        raise OptionError(
            f"got pages={checks.shown(pages)}; expected numbers and ranges of pages, from 1; give such as '1-3,7,9-'"
        )
    return range(first, last + 1)
