"""A folder of images read into a folder of JSON files, in as many goes as it takes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from neuronkit.errors import ImageError
from neuronkit.ocr.page import Page

ENDINGS = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))


class Reader(Protocol):
    """What reads images one after the other: an `OCRPipeline`."""

    def read(self, images: Iterable[Any]) -> Iterator[Page]: ...


@dataclass(frozen=True)
class FolderReport:
    """What became of the images of a folder.

    Attributes:
        read: Images read in this call.
        skipped: Images that had been read before, and have not changed since.
        failed: Images that could not be read, and why; the next call tries them again.
    """

    read: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{len(self.read)} read, {len(self.skipped)} read before, {len(self.failed)} failed"]
        return "\n".join([*lines, *(f"  {path}: {reason}" for path, reason in self.failed.items())])


def read_folder(
    reader: Reader, folder: str | os.PathLike[str], output: str | os.PathLike[str], *, pattern: str = "**/*"
) -> FolderReport:
    """Read all images of a folder; see `OCRPipeline.read_folder`."""
    root, target = Path(folder), Path(output)
    if not root.is_dir():
        raise ImageError(f"{os.fspath(folder)!r} is not a folder; give the one that holds the images")
    report = FolderReport()
    waiting: list[Path] = []
    for path in sorted(root.glob(pattern)):
        if path.suffix.lower() not in ENDINGS or not path.is_file():
            continue
        (report.skipped if _is_done(path, _result_path(root, target, path)) else waiting).append(path)
    # What is written belongs to the file as it was before it was read: a change meanwhile is seen the next time.
    marks = {path: _mark(path) for path in waiting}
    for path, page in zip(waiting, reader.read(waiting), strict=True):
        if page.error is not None:
            report.failed[path] = str(page.error)
            continue
        _write(_result_path(root, target, path), {"source": {"name": path.name, **marks[path]}, **page.to_dict()})
        report.read.append(path)
    return report


def _result_path(root: Path, target: Path, path: Path) -> Path:
    relative = path.relative_to(root)
    return target / relative.parent / f"{relative.name}.json"


def _mark(path: Path) -> dict[str, int]:
    try:
        status = path.stat()
    except OSError:
        return {}
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns}


def _is_done(path: Path, result: Path) -> bool:
    try:
        source = json.loads(result.read_text("utf-8"))["source"]
        return {name: source[name] for name in ("bytes", "modified_ns")} == _mark(path)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write a whole file or none: a run that is stopped leaves no half a result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_text(json.dumps(content, ensure_ascii=False), "utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
