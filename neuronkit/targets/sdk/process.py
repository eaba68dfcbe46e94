"""Processes that end with the one that started them, in whatever way it ends, and take along what they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path


@contextlib.contextmanager
def child_process(
    module: str, arguments: Sequence[str], *, log: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``python -m MODULE *ARGUMENTS PIPE`` in a session of its own.

    The module calls `end_with_parent(PIPE)`. The pipe closes when the block ends and when this process ends.

    Args:
        module: Name of the module.
        arguments: Its arguments, before the number of the pipe.
        log: Takes what it prints, from the beginning.
        environment: Its whole environment.

    Yields:
        The running process, which the block should wait for or end.

    Raises:
        OSError: If it cannot be started.
    """
    reader, writer = os.pipe()
    try:
        with log.open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", module, *arguments, str(reader)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
                pass_fds=(reader,),
                start_new_session=True,
            )
        yield child
    finally:
        os.close(reader)
        os.close(writer)


def end_with_parent(pipe: int, *, grace_s: float = 0.0) -> None:
    """End this process and those it started when the parent's end of a pipe closes.

    Args:
        pipe: This process's end.
        grace_s: How long this process may tidy up after SIGTERM; 0 kills it at once.
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


def kill_session(child: subprocess.Popen[bytes]) -> None:
    """End a child and what it started, at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
