"""Pages saved in a format that the ending of the file names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from neuronkit import checks
from neuronkit.errors import OptionError, SpecError
from neuronkit.ocr.images import ImagePage
from neuronkit.ocr.writers.alto import alto
from neuronkit.ocr.writers.hocr import hocr
from neuronkit.ocr.writers.pdf import write_pdf
from neuronkit.ocr.writers.pictures import write_pictures
from neuronkit.ocr.writers.plain import json_array, json_lines, markdown, table, text
from neuronkit.ocr.writers.types import WritablePage
from neuronkit.storage.atomic import replacing_file

_Texts = Callable[[Iterable[WritablePage]], Iterator[str]]
_TEXTS: dict[str, _Texts] = {
    "text": text,
    "markdown": markdown,
    "csv": table,
    "json": json_array,
    "jsonl": json_lines,
    "hocr": hocr,
    "alto": alto,
}
FORMATS = (*_TEXTS, "pdf", "picture")
"""What pages are written as."""

_ENDINGS = {
    ".txt": "text",
    ".md": "markdown",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".hocr": "hocr",
    ".html": "hocr",
    ".xml": "alto",
    ".pdf": "pdf",
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"), "picture"),
}


def save_pages(pages: Iterable[WritablePage], path: Any, *, format: str | None = None) -> None:
    """Write pages to a file, whole or not at all; pages that are read meanwhile are not kept.

    Args:
        pages: Any iterable of pages, such as `OCRPipeline.read` gives.
        path: The file. A ``.txt`` holds the text, with a form feed between pages; a ``.md`` its paragraphs; a
            ``.csv`` a row for each word; a ``.json`` an array of pages and a ``.jsonl`` one page a line
            (docs/page.schema.json); a ``.hocr`` or ``.html`` hOCR; a ``.xml`` ALTO 4; a ``.pdf`` the pictures with
            text that can be searched (needs ``neuronkit[pdf]``); a picture (``.png``, ``.jpg``, ``.webp``, ``.tif``)
            what `Page.draw` gives, the second and further pages in ``<name>.page-2.png`` and so on, or in one TIFF.
        format: One of "text", "markdown", "csv", "json", "jsonl", "hocr", "alto", "pdf" and "picture"; None goes by
            the ending.

    Raises:
        OptionError: If the ending or `format` is none of these, the file cannot be written, or is one that was read.
        SpecError: If `pages` is not an iterable of pages.
        ImageError: If a picture is needed and cannot be opened again.
        MissingDependencyError: If it is a PDF, and what writes it is missing.

    Examples:
        ``save_pages(pipeline.read(["1.png", "2.png"]), "scan.pdf")``
    """
    _save(_checked(pages), path, format, _TEXTS)


def save_page(page: WritablePage, path: Any, *, format: str | None = None) -> None:
    """Write one page as `save_pages` does, but that JSON is the page and no array of pages."""
    _save(iter([page]), path, format, {**_TEXTS, "json": json_lines})


def page_text(pages: Iterable[WritablePage], format: str) -> Iterator[str]:
    """Write pages as pieces of text, for a terminal or a connection; see `save_pages`.

    Args:
        pages: Any iterable of pages.
        format: One of "text", "markdown", "csv", "json", "jsonl", "hocr" and "alto".

    Raises:
        OptionError: If `format` is none of these.
        SpecError: If `pages` is not an iterable of pages.
    """
    return _TEXTS[checks.choice("format", format, tuple(_TEXTS))](_checked(pages))


def _save(pages: Iterator[WritablePage], path: Any, format: str | None, texts: Mapping[str, _Texts]) -> None:
    file = checks.path("path", path)
    kind = format_of(file) if format is None else checks.choice("format", format, FORMATS)
    try:
        if kind == "picture":
            write_pictures(pages, file, check=_check_target)
            return
        pages = _written_elsewhere(pages, file)
        with replacing_file(file) as unfinished:
            if kind == "pdf":
                write_pdf(pages, unfinished)
            else:
                with unfinished.open("w", encoding="utf-8", errors="replace", newline="") as out:
                    out.writelines(texts[kind](pages))
    except OSError as error:
        raise OptionError(
            f"got path={checks.shown(file)}, which cannot be written ({error.strerror or error}); expected a file in a "
            "folder that is there; give another path"
        ) from error


def _written_elsewhere(pages: Iterable[WritablePage], file: Path) -> Iterator[WritablePage]:
    for page in pages:
        _check_target(page, file)
        yield page


def _check_target(page: WritablePage, file: Path) -> None:
    """Raise OptionError where a page was read from the file that is to be written: it would be lost."""
    source = page.source.source if isinstance(page.source, ImagePage) else page.source
    if not isinstance(source, (str, os.PathLike)):
        return
    try:
        same = os.path.samefile(source, file)
    except (OSError, ValueError):
        return  # One of them is not there.
    if same:
        raise OptionError(
            f"got path={checks.shown(file)}, the file that a page was read from; expected another one; "
            "give another path, so that it is kept"
        )


def ending_of(format: str) -> str:
    """Give the ending of files of a format; ".png" of pictures.

    Raises:
        OptionError: If there is no such format.
    """
    checks.choice("format", format, FORMATS)
    return next(ending for ending, kind in _ENDINGS.items() if kind == format)


def format_of(path: Path) -> str:
    """Give the format that the ending of a file names.

    Raises:
        OptionError: If it names none.
    """
    try:
        return _ENDINGS[path.suffix.lower()]
    except KeyError:
        raise OptionError(
            f"got path={checks.shown(path)}; expected the ending of a format, one of {' '.join(_ENDINGS)}; "
            "give one, or format="
        ) from None


def _checked(pages: Any) -> Iterator[WritablePage]:
    try:
        given = iter(pages)
    except TypeError as error:
        raise SpecError(
            f"got pages={checks.shown(pages)}; expected pages; give a list of them, or an iterator"
        ) from error

    def each() -> Iterator[WritablePage]:
        for page in given:
            if not hasattr(type(page), "to_dict") or not hasattr(page, "lines"):
                raise SpecError(f"got {checks.shown(page)} among the pages; expected a Page; give what a pipeline read")
            yield page

    return each()
