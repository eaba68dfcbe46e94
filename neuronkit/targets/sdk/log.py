"""Reading a compiler's log, whatever its size and encoding: one line at a time is held in memory."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from neuronkit import tables

_CODE = re.compile(r"\bNCC_[A-Z]{3,4}\d{3}\b")
# Of the compiler, or of the Python module behind it; with some option, for the two words alone may be prose.
_CALL = re.compile(r"""[^\s'"]*neuronx?-?cc\b(?=.*\bcompile\b)(?=.*\s['"]?--\w).*""")
_LONGEST_LINE = 1 << 16
_SHOWN_LINE = 300
_TAIL_LINES = 15


@dataclass(frozen=True)
class LogSummary:
    """What a compiler's log contains.

    Attributes:
        tail: The last lines that are not empty, without control characters, long ones cut.
        code: The compiler's last error code, None without one.
        message: The piece of text of `tables.compiler_messages` that it holds, None without one.
        calls: The compiler's command lines, where they are shown.
    """

    tail: tuple[str, ...] = ()
    code: str | None = None
    message: str | None = None
    calls: tuple[str, ...] = ()


def read_log(path: Path) -> LogSummary:
    """Read a log from end to end; a missing one is empty."""
    return summarize(_lines(path))


def summarize(lines: Iterable[str]) -> LogSummary:
    """Find error code, known message, commands and last lines in a log."""
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    code = message = None
    command = ""
    calls: dict[str, None] = {}
    for line in lines:
        if "NCC_" in line and (codes := _CODE.findall(line)):
            code = codes[-1]
        message = next((text for text in tables.compiler_messages().texts if text in line), message)
        # A shell's command goes on in the next line after a backslash.
        command = f"{command[:-1]}{line.strip()}" if command.endswith("\\") else line.strip()
        if not command.endswith("\\") and "neuron" in command and (call := _CALL.search(command)):
            calls[call.group()] = None
        if shown := _printable(line):
            tail.append(shown)
    return LogSummary(tuple(tail), code, message, tuple(calls))


def compiler_logs(directory: Path) -> list[Path]:
    """The logs that the compiler itself wrote for the graph of a directory."""
    return [path for kind in ("*.txt", "*.log") for path in sorted((directory / "compiler").rglob(kind))]


def last_line(path: Path) -> str:
    """The last line of a log that still grows; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LONGEST_LINE))
            lines = file.read(_LONGEST_LINE).decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((shown for line in reversed(lines) if (shown := _printable(line))), "")


def _lines(path: Path) -> Iterator[str]:
    # Devices and pipes may never end.
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            while line := file.readline(_LONGEST_LINE):
                yield line.decode(errors="replace")
    except OSError:
        return


def _printable(line: str) -> str:
    # A progress bar overwrites what stands before the carriage return.
    text = line.rstrip().rsplit("\r", 1)[-1]
    text = "".join(c if c.isprintable() else " " for c in text[:_SHOWN_LINE]).rstrip()
    return f"{text} …" if len(line) > _SHOWN_LINE + 100 else text
