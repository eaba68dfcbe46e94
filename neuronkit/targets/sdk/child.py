"""Compiling in a child process: the child's side. ``python -m neuronkit.targets.sdk.child DIRECTORY PIPE``."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

DISK_FULL = 74  # EX_IOERR of sysexits.h


def main(directory: Path) -> None:
    """Compile the graph in a directory, with the parent's import path."""
    fields = json.loads((directory / "job.json").read_text(encoding="utf-8"))
    sys.path[:] = fields["sys_path"]
    from neuronkit.targets import find_target
    from neuronkit.targets.sdk.job import read_job
    from neuronkit.targets.sdk.target import SdkTarget

    target = find_target(fields["target"])
    if not isinstance(target, SdkTarget):
        raise SystemExit(f"target {fields['target']!r} compiles in process")
    target.compile_in_child(read_job(directory), directory)


def end_with_parent(pipe: int, *, grace_s: float = 0.0) -> None:
    """End this process and the compilers it started when the parent's end of a pipe closes: when the parent is gone.

    Args:
        pipe: This process's end.
        grace_s: How long this process may tidy up, once it is told by SIGTERM; 0 kills it at once.
    """

    def watch() -> None:
        while os.read(pipe, 1):
            pass
        if grace_s > 0:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(grace_s)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    os.set_inheritable(pipe, False)
    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def disk_full_as_status() -> Iterator[None]:
    """End with a status of its own where the disk is full: the log, which should say so, may be on that disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        with contextlib.suppress(OSError):
            traceback.print_exc()
        raise SystemExit(DISK_FULL) from error


if __name__ == "__main__":
    end_with_parent(int(sys.argv[2]))
    with disk_full_as_status():
        main(Path(sys.argv[1]))
        # The result is whole. Threads that an SDK left running, or a crash on its way out, shall not change that.
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(0)
