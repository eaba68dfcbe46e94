"""Compiling in a child process: the child's side. ``python -m neuronkit.targets.sdk.child DIRECTORY PIPE``."""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from neuronkit.targets.sdk.failure import DISK_FULL
from neuronkit.targets.sdk.process import end_with_parent


def main(directory: Path) -> None:
    """Compile the graph in a directory, with the parent's import path."""
    fields = json.loads((directory / "job.json").read_text(encoding="utf-8"))
    sys.path[:] = fields["sys_path"]
    from neuronkit.targets.sdk.job import Job
    from neuronkit.targets.sdk.target import SdkTarget

    module, name = fields["target_class"]
    target = getattr(importlib.import_module(module), name)()
    if not isinstance(target, SdkTarget):
        raise SystemExit(f"target {target.name!r} compiles in process")
    target.compile_in_child(Job.read(directory), directory)


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
        # The result is whole; threads that an SDK left running, or a crash at exit, must not change that.
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(0)
