"""A folder of images read into a folder of JSON files, in as many calls as it takes."""

from __future__ import annotations

import errno
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuronkit import checks
from neuronkit.errors import ImageError, NeuronKitError, OptionError
from neuronkit.ocr.images import image_endings, image_pages, is_image_file
from neuronkit.ocr.page import Page
from neuronkit.storage.atomic import replacing_file, sweep

READ_BEFORE = "read before, and not changed since"
NO_IMAGE = "not an image that Pillow reads, nor a PDF"
NO_FILE = "not a regular file"
OWN_RESULT = "written by an earlier call"


@dataclass(frozen=True)
class FolderReport:
    """The outcome of `OCRPipeline.read_folder` for each file.

    Attributes:
        read: Images read in this call, all their pages.
        skipped: Files that were not read, and why: `READ_BEFORE`, `OWN_RESULT`, `NO_IMAGE` or `NO_FILE`.
        failed: Images that could not be read, or their results written, and why; the next call tries them again.
    """

    read: list[Path] = field(default_factory=list)
    skipped: dict[Path, str] = field(default_factory=dict)
    failed: dict[Path, str] = field(default_factory=dict)

    def __str__(self) -> str:
        reasons = [f"{count} {reason}" for reason, count in Counter(self.skipped.values()).items()]
        skipped = f"{len(self.skipped)} skipped" + (f" ({'; '.join(reasons)})" if reasons else "")
        lines = [f"{len(self.read)} read, {len(self.failed)} failed, {skipped}"]
        return "\n".join([*lines, *(f"  {path}: {reason}" for path, reason in self.failed.items())])


@dataclass(frozen=True)
class _Job:
    """One page of a file that is read: its number from 1, out of how many, and where its result goes."""

    path: Path
    number: int
    count: int
    result: Path
    mark: dict[str, int]
    last: bool


def read_folder(
    read: Callable[[Iterable[Any]], Iterator[Page]], folder: Any, output: Any, *, pattern: Any = "**/*"
) -> FolderReport:
    """Read all images of a folder with a function that reads one after the other; see `OCRPipeline.read_folder`."""
    root, target = _folders(folder, output)
    report = FolderReport()
    jobs: list[_Job] = []
    problems: list[str] = []
    # What earlier runs left, when they were killed.
    sweep(left.with_name(left.name[1:-33]) for left in target.rglob(".*.json." + "[0-9a-f]" * 32))
    pages = read(_pages(root, target, _images(root, target, pattern, report), report, jobs))
    for page in pages:
        job = jobs.pop(0)
        try:
            if page.error is not None:
                raise page.error
            source = {"name": job.path.name, "page": job.number, "pages": job.count, **job.mark}
            _write(job.result, {"source": source, **page.to_dict()})
        except (NeuronKitError, OSError) as error:
            problems.append(str(error) if job.count == 1 else f"page {job.number}: {error}")
        if job.last:
            if problems:
                report.failed[job.path] = "; ".join(problems)
            else:
                report.read.append(job.path)
            problems.clear()
    return report


def _pages(root: Path, target: Path, paths: Iterable[Path], report: FolderReport, jobs: list[_Job]) -> Iterator[Any]:
    """Give the pages that have no result yet, and note in `jobs` which they are."""
    for path in paths:
        # The result belongs to the file as it was before it was read: a change meanwhile is seen the next time.
        mark = file_mark(path)
        first = _result_path(root, target, path, 1)
        known = _pages_done(first, mark)
        if known and all(_pages_done(_result_path(root, target, path, i), mark) for i in range(2, known + 1)):
            report.skipped[path] = READ_BEFORE
            continue
        try:
            pages = image_pages(path)
        except ImageError as error:
            report.failed[path] = str(error)
            continue
        left = [i for i in range(len(pages)) if not _pages_done(_result_path(root, target, path, i + 1), mark)]
        for i in left:
            result = _result_path(root, target, path, i + 1)
            jobs.append(_Job(path, i + 1, len(pages), result, mark, i == left[-1]))
            yield path if len(pages) == 1 else pages[i]


def _folders(folder: Any, output: Any) -> tuple[Path, Path]:
    root, target = checks.path("folder", folder), checks.path("output", output)
    if not root.is_dir():
        raise ImageError(
            f"got folder={checks.shown(folder)}, which is not a folder; expected one that holds images; give its path"
        )
    return root, made_folder("output", target)


def made_folder(name: str, folder: Path) -> Path:
    """The folder, made if it is not there.

    Raises:
        OptionError: If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"got {name}={checks.shown(folder)}, which cannot be made ({error.strerror}); expected a folder; "
            "give another one"
        ) from error
    return folder


def _images(root: Path, target: Path, pattern: Any, report: FolderReport) -> Iterator[Path]:
    endings = image_endings()
    for path in _matches(root, pattern):
        if path.is_dir() or (path.suffix == ".json" and target in path.parents):
            continue
        if not path.is_file():
            report.skipped[path] = NO_FILE
        elif path.suffix.lower() in endings or is_image_file(path):
            yield path
        else:
            report.skipped[path] = NO_IMAGE


def _matches(root: Path, pattern: Any) -> list[Path]:
    expected = "expected a pattern of paths within the folder; give one such as '**/*.png'"
    path = Path(checks.text("pattern", pattern))
    if ".." in path.parts or path.is_absolute() or not path.name:
        raise OptionError(f"got pattern={checks.shown(pattern)}; {expected}")
    try:
        return sorted(root.glob(str(path)))
    except (ValueError, OSError) as error:
        # What glob says of stars in places where they mean nothing.
        raise OptionError(f"got pattern={checks.shown(pattern)} ({checks.shown(error)}); {expected}") from error


def _result_path(root: Path, target: Path, path: Path, number: int) -> Path:
    relative = path.relative_to(root)
    page = "" if number == 1 else f".page-{number}"
    return target / relative.parent / f"{relative.name}{page}.json"


def file_mark(path: Path) -> dict[str, int]:
    """Size and time of modification of a file; empty where it cannot be seen."""
    try:
        status = path.stat()
    except OSError:
        return {}
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns}


def _pages_done(result: Path, mark: dict[str, int]) -> int:
    """How many pages the file has whose result this is; 0 where there is none of the file as it is."""
    try:
        # A named pipe would be waited for.
        if not result.is_file():
            return 0
        source = json.loads(result.read_text("utf-8"))["source"]
        same = {name: source[name] for name in ("bytes", "modified_ns")} == mark
        return int(source["pages"]) if same else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def check_result(path: Path) -> None:
    """Raise OSError where a result would go through a link to a picture, which would be lost."""
    if path.is_symlink() and is_image_file(path):
        raise FileExistsError(errno.EEXIST, "a link to a picture is there", str(path))


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write a whole file or none: a run that is stopped leaves no half a result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    check_result(path)
    # Names of files need not be text; what is not, is written as "?".
    with replacing_file(path, sweep_first=False) as unfinished:
        unfinished.write_text(json.dumps(content, ensure_ascii=False), "utf-8", errors="replace")
