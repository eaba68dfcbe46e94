"""Files and folders read into a folder of files of any format, in as many calls as it takes."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from neuronkit import checks
from neuronkit.errors import NeuronKitError
from neuronkit.ocr.images.sources import files_of, page_stream
from neuronkit.ocr.page import Page
from neuronkit.ocr.pipeline.folder import (
    OWN_RESULT,
    READ_BEFORE,
    FolderReport,
    check_result,
    file_mark,
    made_folder,
)
from neuronkit.ocr.writers import ending_of, save_pages
from neuronkit.shown import shown

RECORD = ".neuronkit-read.jsonl"


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
    record = _Record(target, {"format": format, **{name: str(value) for name, value in pages.items()}})
    for file, relative in files_of(sources):
        if record.made(file):
            # Pictures and PDF in the folder that is read would be read anew, and theirs again.
            done.skipped[file] = OWN_RESULT
            continue
        result = target / relative.parent / f"{relative.name}{ending}"
        first = origins.setdefault(result, file)
        if os.path.realpath(first) != os.path.realpath(file):
            done.failed[file] = f"{shown(first)} has the same name, and so the same result; give the folder of both"
            continue
        # The result belongs to the file as it was before it was read: a change meanwhile is seen the next time.
        origin = record.origin(file)
        problems: list[str] = []
        try:
            if record.has(result, origin):
                done.skipped[file] = READ_BEFORE
                continue
            check_result(result)
            result.parent.mkdir(parents=True, exist_ok=True)
            save_pages(_noted(read(page_stream(file, **pages)), problems, report), result, format=format)
            if not problems:
                record.note(result, origin)
        except (NeuronKitError, OSError) as error:
            problems.append(str(error))
        if problems:
            # Not kept: the next call tries again. What is no file, and could not be replaced, stays.
            with contextlib.suppress(OSError):
                if result.is_file() and not result.is_symlink():
                    result.unlink()
            done.failed[file] = "; ".join(problems)
        else:
            done.read.append(file)
    return done


class _Record:
    """Of which file each result in a folder was made, and how: a line of JSON for each, the last one counts."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self._folder, self._settings = folder, settings
        self._origins: dict[str, Any] = {}
        if not os.path.lexists(folder / RECORD):
            return
        written = checks.input_file("record of earlier calls", folder / RECORD)
        for line in written.read_text("utf-8", errors="replace").splitlines():
            # A process that was killed leaves half a line: its result is made again.
            with contextlib.suppress(ValueError, TypeError, KeyError):
                entry = json.loads(line)
                self._origins[entry["result"]] = entry["origin"]

    def origin(self, file: Path) -> dict[str, Any]:
        """A file as it is now, and the settings with which it is read."""
        return {"file": _text(os.path.realpath(file)), **file_mark(file), **self._settings}

    def has(self, result: Path, origin: dict[str, Any]) -> bool:
        """Whether a result is there that was made of that."""
        return result.is_file() and self._origins.get(_text(result.relative_to(self._folder))) == origin

    def made(self, file: Path) -> bool:
        """Whether a file is a result in this folder."""
        folder, place = os.path.realpath(self._folder), os.path.realpath(file)
        return os.path.dirname(place).startswith(folder) and _text(os.path.relpath(place, folder)) in self._origins

    def note(self, result: Path, origin: dict[str, Any]) -> None:
        """Several processes may write: lines are appended whole."""
        self._origins[_text(result.relative_to(self._folder))] = origin
        with open(self._folder / RECORD, "a", encoding="utf-8") as lines:
            lines.write(json.dumps({"result": _text(result.relative_to(self._folder)), "origin": origin}) + "\n")


def _text(path: str | os.PathLike[str]) -> str:
    # Names of files need not be text.
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _noted(pages: Iterator[Page], problems: list[str], report: Callable[[Page], None]) -> Iterator[Page]:
    for number, page in enumerate(pages, start=1):
        if page.error is not None:
            problems.append(f"page {number}: {page.error}")
        report(page)
        yield page
