"""Files and directories that are whole or are not there, and the removal of what killed processes left.

Something is written under another name in the same directory and renamed at the end. While it is written, it is
locked; the kernel releases the lock when the process ends, in whatever way. So what has no lock was abandoned, and
the next writer removes it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from neuronkit import checks

_WORK = re.compile(r"\.(.+)\.[0-9a-f]{32}", re.DOTALL)
# Of the 255 bytes of a name, room for a dot before and a unique part behind.
_LONGEST_STEM = 200
# Where a file system has no locks, what is older than this is taken for abandoned.
_ABANDONED_S = 24 * 3600.0
_RENAME_EXCHANGE, _AT_FDCWD = 2, -100


@contextlib.contextmanager
def replacing_file(path: Path, *, sweep_first: bool = True) -> Iterator[Path]:
    """Write a file, whole or not at all.

    What earlier writers of the same file left, if they were killed, is removed first. The new file gets the permissions
    that any new file gets, also where an old one had others. Symbolic links are followed.

    Args:
        path: Where the file shall be; an existing one is replaced at once, at the end. Nothing but a file is.
        sweep_first: False where the caller has swept: it takes a look at every name in the directory.

    Yields:
        An empty file beside it, to be written; it is flushed to the disk and renamed when the block ends without an
        error, and removed otherwise.

    Raises:
        OSError: If it cannot be written, or something other than a file is there.
    """
    path = Path(os.path.realpath(path))
    if os.path.lexists(path) and not path.is_file():
        raise FileExistsError(errno.EEXIST, f"{checks.file_kind(os.lstat(path).st_mode)} is there", str(path))
    if sweep_first:
        sweep([path])
    with _locked(path, directory=False) as work:
        try:
            yield work
            _flush(work)
            os.replace(work, path)
            _flush(path.parent)
        finally:
            work.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_directory(path: Path) -> Iterator[Path]:
    """Write a directory, whole or not at all; as `replacing_file` does a file.

    Args:
        path: Where the directory shall be; whatever is there, is replaced at the end and then removed.

    Yields:
        An empty directory, to be filled.

    Raises:
        OSError: If it cannot be written.
    """
    sweep([path])
    with _locked(path, directory=True) as work:
        try:
            new = work / "new"
            new.mkdir()
            yield new
            for entry in (*new.rglob("*"), new):
                _flush(entry)
            _exchange(new, path, work / "old")
            _flush(path.parent)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def remove_directory(path: Path) -> bool:
    """Remove a directory at once: no half of it is ever seen.

    Returns:
        Whether it was there and could be removed.
    """
    try:
        with _locked(path, directory=True) as work:
            try:
                os.replace(path, work / "removed")
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def temporary_directory(purpose: str) -> Iterator[Path]:
    """Make a directory for temporary files, removed when the block ends; what killed processes left goes first.

    Args:
        purpose: What it is for, as part of its name: letters, digits and hyphens.

    Raises:
        OSError: If it cannot be made.
    """
    base = Path(tempfile.gettempdir()) / f"neuronkit-{purpose}"
    sweep([base])
    with _locked(base, directory=True, mode=0o700) as work:
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def sweep(paths: Iterable[Path]) -> None:
    """Remove what writers of these files and directories left that were killed; what a running one writes, stays."""
    folders: dict[Path, dict[str, Path]] = {}
    for path in paths:
        folders.setdefault(path.parent, {})[_stem(path)] = path
    for folder, stems in folders.items():
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                found = _WORK.fullmatch(name)
                if found and found[1] in stems:
                    _remove_abandoned(stems[found[1]], folder / name)


def _remove_abandoned(path: Path, work: Path) -> None:
    # Another process may sweep at the same time, and another user's files may be out of reach.
    with contextlib.suppress(OSError):
        handle = os.open(work, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not _lock(handle, older_than=_ABANDONED_S):
                return
            if not os.path.isdir(work):
                os.unlink(work)
                return
            # Killed between the two renames, where the file system cannot exchange.
            if not os.path.lexists(path) and os.path.lexists(work / "old"):
                os.replace(work / "old", path)
            shutil.rmtree(work, ignore_errors=True)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _locked(path: Path, *, directory: bool, mode: int = 0o777) -> Iterator[Path]:
    """Make a file or directory of a unique name beside `path`, and hold its lock."""
    while True:
        work = path.with_name(f".{_stem(path)}.{uuid.uuid4().hex}")
        # Not of tempfile: its files can be read by their owner alone, and artifacts are for servers to read.
        if directory:
            work.mkdir(mode)
        else:
            work.touch(exist_ok=False)
        # Before it is locked, another process may take it for abandoned, and remove it.
        try:
            handle = os.open(work, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            if _lock(handle) and _is_at(handle, work):
                yield work
                return
        finally:
            os.close(handle)


def _lock(handle: int, *, older_than: float = 0.0) -> bool:
    """Take the lock of an open file; where there are no locks, see whether it is old enough."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        return time.time() - os.fstat(handle).st_mtime >= older_than
    return True


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False


def _stem(path: Path) -> str:
    name = path.name
    return name if len(os.fsencode(name)) <= _LONGEST_STEM else hashlib.sha256(os.fsencode(name)).hexdigest()


def _exchange(new: Path, path: Path, old: Path) -> None:
    """Put `new` in the place of `path`, whatever is there, at once where the system can."""
    if not os.path.lexists(path):
        os.replace(new, path)
        return
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is not None and not rename(
        _AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(path), ctypes.c_uint(_RENAME_EXCHANGE)
    ):
        return
    os.replace(path, old)
    try:
        os.replace(new, path)
    except OSError:
        os.replace(old, path)
        raise


def _flush(path: Path) -> None:
    """Flush a file or directory to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems have no fsync for directories.
        if error.errno != errno.EINVAL or not os.path.isdir(path):
            raise
    finally:
        os.close(handle)
