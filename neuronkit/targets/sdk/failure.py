"""The error that a failed compile ends in: what happened, the compiler's code, the log's end, and the way out."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from neuronkit import tables
from neuronkit.errors import CompileError
from neuronkit.targets.sdk.log import LogSummary, compiler_logs, read_log, summarize

# The status of a child whose disk is full: EX_IOERR of sysexits.h.
DISK_FULL = 74
_FREE_SPACE = "the disk is full: free some space, or choose another disk with CompileOptions(workdir=...) and TMPDIR"
_MEMORY = "the host ran out of memory: compile on a larger machine, a smaller batch or image, or with optlevel=1"
# Messages of the host, not of the compiler.
_HOST_MESSAGES = {
    "No space left on device": _FREE_SPACE,
    "Disk quota exceeded": _FREE_SPACE,
    "File too large": "a file grew beyond the limit for files (ulimit -f): raise it",
    "MemoryError": _MEMORY,
    "std::bad_alloc": _MEMORY,
    "Cannot allocate memory": _MEMORY,
    # How an SDK reports that its compiler was killed.
    "Signals.SIGKILL": _MEMORY,
    "forcibly killed": _MEMORY,
    "exit status 137": _MEMORY,
}
_SIGNALS = {
    "SIGKILL": ("the usual cause is too little host memory", _MEMORY),
    "SIGSEGV": ("a crash inside the SDK", None),
    "SIGABRT": ("the SDK gave up; a full disk is one cause", None),
}
_ADVICE = "read the log; compile again with CompileOptions(workdir=...) to keep the compiler's own files"


def failure(graph: str, outcome: str, log: Path, *, hint: str | None = None, kept: Path | None = None) -> CompileError:
    """The error for a log: with the compiler's own code, what the documentation says of it, and the log's end.

    Args:
        graph: Which graph for which target, in words.
        outcome: What happened to it, in words.
        log: What the child printed.
        hint: What to do, where the log says nothing better.
        kept: Where the log will be found later; None: where it is.
    """
    summary = read_log(log)
    if summary.code is None:
        # Some SDKs only refer to the compiler's own log.
        codes = (read_log(path).code for path in compiler_logs(log.parent))
        summary = replace(summary, code=next(filter(None, codes), None))
    known = _hint(summary) or hint
    tail = "\n".join(f"  | {line}" for line in summary.tail) or "  | (the log is empty)"
    return CompileError(
        f"{graph} {outcome}{f' ({summary.code})' if summary.code else ''}.\n"
        f"{tail}\nLog: {kept or log}\nNext: {known or _ADVICE}",
        code=summary.code,
        log_path=kept or log,
        hint=known,
    )


def explain(text: str) -> tuple[str | None, str | None]:
    """The compiler's error code in a message, and what the documentation recommends; None where there is none."""
    summary = summarize(text.splitlines())
    return summary.code, _hint(summary)


def outcome_of(status: int) -> tuple[str, str | None]:
    """What the end of the compiler's process means, in words, and a hint."""
    if status < 0:
        _, hint = _SIGNALS.get(_signal_name(-status), ("", None))
        return f"was not compiled: the compiler's process was killed by {signal_text(-status)}", hint
    hint = _FREE_SPACE if status == DISK_FULL else None
    return f"was not compiled: the compiler's process ended with status {status}", hint


def signal_text(number: int) -> str:
    """A signal's name, and what usually sends it."""
    name = _signal_name(number)
    cause, _ = _SIGNALS.get(name, ("", None))
    return f"{name} ({cause})" if cause else name


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextlib.contextmanager
def disk_errors(what: str, log: Path | None = None) -> Iterator[None]:
    """Turn what a full or forbidden disk raises into an error that says so.

    Raises:
        CompileError: In place of an OSError.
    """
    try:
        yield
    except OSError as error:
        known = next((hint for text, hint in _HOST_MESSAGES.items() if text in str(error)), None)
        advice = known or "choose another directory with CompileOptions(workdir=...)"
        raise CompileError(
            f"{what} was not compiled: {error}.{f' Log: {log}.' if log else ''} Next: {advice}",
            log_path=log,
            hint=advice,
        ) from error


def _hint(summary: LogSummary) -> str | None:
    known = tables.compiler_messages()
    if summary.code is not None and summary.code in known.codes:
        return known.codes[summary.code].hint
    if summary.message is not None:
        return known.texts[summary.message].hint
    host = (hint for text, hint in _HOST_MESSAGES.items() if any(text in line for line in summary.tail))
    return next(host, None)
