"""Files and folders read into a folder of files of any format, in as many calls as it takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from neuronkit import checks
from neuronkit.errors import NeuronKitError
from neuronkit.ocr.images.sources import files_of, page_stream
from neuronkit.ocr.page import Page
from neuronkit.ocr.pipeline.folder import READ_BEFORE, FolderReport, made_folder
from neuronkit.ocr.writers import ending_of, save_pages
from neuronkit.shown import shown


def read_files(
    read: Callable[[Iterable[Any]], Iterator[Page]],
    sources: Any,
    folder: Any,
    *,
    format: str,
    report: Callable[[Page], None],
    **pages: Any,
) -> FolderReport:
    """Read files one after the other, each into a file of its own; see `OCRPipeline.read_files`."""
    ending = ending_of(format)
    target = made_folder("folder", checks.path("folder", folder))
    done = FolderReport()
    origins: dict[Path, Path] = {}
    for file, relative in files_of(sources):
        result = target / relative.parent / f"{relative.name}{ending}"
        first = origins.setdefault(result, file)
        if os.path.realpath(first) != os.path.realpath(file):
            done.failed[file] = f"{shown(first)} has the same name, and so the same result; give the folder of both"
            continue
        if _is_newer(result, file):
            done.skipped[file] = READ_BEFORE
            continue
        problems: list[str] = []
        try:
            result.parent.mkdir(parents=True, exist_ok=True)
            save_pages(_noted(read(page_stream(file, **pages)), problems, report), result, format=format)
        except (NeuronKitError, OSError) as error:
            problems.append(str(error))
        if problems:
            # Not kept: the next call tries again.
            result.unlink(missing_ok=True)
            done.failed[file] = "; ".join(problems)
        else:
            done.read.append(file)
    return done


def _noted(pages: Iterator[Page], problems: list[str], report: Callable[[Page], None]) -> Iterator[Page]:
    for number, page in enumerate(pages, start=1):
        if page.error is not None:
            problems.append(f"page {number}: {page.error}")
        report(page)
        yield page


def _is_newer(result: Path, file: Path) -> bool:
    try:
        return result.stat().st_mtime_ns >= file.stat().st_mtime_ns
    except OSError:
        return False
