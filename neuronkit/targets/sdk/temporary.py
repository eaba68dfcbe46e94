"""Temporary directories of compiles: none outlives what it was made for, but for the logs of failures."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import weakref
from pathlib import Path

from neuronkit.storage.atomic import temporary_directory

_KEPT_LOGS = "neuronkit-log-"
_KEPT_S = 7 * 24 * 3600.0


def owned_directory(owner: object, purpose: str) -> Path:
    """A temporary directory that is removed together with an object, or at the end of this process.

    Args:
        owner: The object.
        purpose: As in `temporary_directory`, which also removes what killed processes left.
    """
    stack = contextlib.ExitStack()
    path = stack.enter_context(temporary_directory(purpose))
    weakref.finalize(owner, _close, stack, os.getpid())
    return path


def _close(stack: contextlib.ExitStack, pid: int) -> None:
    # A forked child has the object too, and the directory is its parent's.
    if os.getpid() == pid:
        stack.close()


def keep_log(log: Path) -> Path:
    """Give the log of a failed compile a second name, in a directory that stays for a week.

    Returns:
        That name; the first one where there can be no other.
    """
    try:
        kept = Path(tempfile.mkdtemp(prefix=_KEPT_LOGS)) / log.name
        os.link(log, kept)
    except OSError:
        return log
    return kept


def sweep_logs() -> None:
    """Remove the logs of failures that are older than a week."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_KEPT_LOGS}*"):
        # Another process may sweep too, and another user's logs are theirs.
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _KEPT_S:
                shutil.rmtree(folder, ignore_errors=True)
