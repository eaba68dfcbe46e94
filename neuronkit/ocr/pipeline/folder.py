"""A folder of images read into a folder of JSON files, in as many goes as it takes."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from neuronkit.errors import ImageError, NeuronKitError, OptionError
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
        failed: Images that could not be read, or their results written, and why; the next call tries them again.
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
    root, target = _folders(folder, output)
    report = FolderReport()
    paths: list[Path] = []
    for path in _images(root, pattern):
        done = _is_done(path, _result_path(root, target, path))
        (report.skipped if done else paths).append(path)
    # What is written belongs to the file as it was before it was read: a change meanwhile is seen the next time.
    marks = {path: _mark(path) for path in paths}
    for path, page in zip(paths, reader.read(paths), strict=True):
        content = {"source": {"name": path.name, **marks[path]}, **page.to_dict()}
        try:
            if page.error is not None:
                raise page.error
            _write(_result_path(root, target, path), content)
            report.read.append(path)
        except (NeuronKitError, OSError) as error:
            report.failed[path] = str(error)
    return report


def _folders(folder: Any, output: Any) -> tuple[Path, Path]:
    for name, value in (("folder", folder), ("output", output)):
        if not isinstance(value, (str, os.PathLike)):
            raise OptionError(f"{name} is a {type(value).__name__}; give a path")
    if not os.path.isdir(folder):
        raise ImageError(f"{os.fspath(folder)!r:.500} is not a folder; give the one that holds the images")
    try:
        os.makedirs(output, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OptionError(f"output={os.fspath(output)!r:.500} cannot be made ({error}); give another folder") from error
    return Path(folder), Path(output)


def _images(root: Path, pattern: Any) -> list[Path]:
    inside = isinstance(pattern, str) and ".." not in (path := Path(pattern)).parts and not path.is_absolute()
    if not inside or not path.name:
        raise OptionError(
            f"pattern={pattern!r:.200} is no pattern of paths within the folder; give one such as '**/*.png'"
        )
    try:
        return sorted(path for path in root.glob(pattern) if path.suffix.lower() in ENDINGS and path.is_file())
    except ValueError as error:
        # What glob says of stars in places where they mean nothing.
        raise OptionError(f"pattern={pattern!r:.200}: {error}; give one such as '**/*.png'") from error


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
    # A name that nobody else takes: two containers on one shared folder may have the same process number.
    unfinished = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        # Names of files need not be text; what is not, is written as "?".
        unfinished.write_text(json.dumps(content, ensure_ascii=False), "utf-8", errors="replace")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
