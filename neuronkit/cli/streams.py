"""Standard output and error: closed, full, read by nobody any more, or of an encoding that lacks characters."""

from __future__ import annotations

import contextlib
import os
import sys


def prepare() -> None:
    """Have messages go nowhere, and not to the output, where stderr is closed; have no character be an error."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def write(text: str, *, as_it_is: bool) -> None:
    """Write to stdout, where it is open.

    Args:
        text: What to write.
        as_it_is: As UTF-8, which formats for programs are in, whatever the terminal's encoding.
    """
    if sys.stdout is None:
        return
    if as_it_is and hasattr(sys.stdout, "buffer"):
        sys.stdout.flush()
        # Of names of files that are not text; JSON reads it as they were.
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    else:
        sys.stdout.write(text)


def flush() -> None:
    """Write what is kept back, so that it fails here and not as the process ends."""
    if sys.stdout is not None:
        sys.stdout.flush()


def drop() -> None:
    """Have what is kept back go nowhere: writing it would fail again as the process ends."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
