"""Calls entry points with wrong arguments, and judges what comes of it."""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import resource
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from inspect import getdoc, unwrap
from pathlib import Path
from typing import Any

import torch

import neuronkit
from neuronkit.checks import shown
from neuronkit.errors import NeuronKitError

from .entries import Entry, entries, fill
from .values import OwnError, anything, neighbours

HANG_S, GROWTH_BYTES, LONGEST_MESSAGE = 20.0, 500 << 20, 3000
_PACKAGE = os.path.dirname(neuronkit.__file__)


class Hang(BaseException):
    """The call takes too long."""


@dataclass(frozen=True)
class Fault:
    """A call that gave neither a result nor a documented error.

    Attributes:
        kind: "foreign" (another library's error), "undocumented" (one of neuronkit's that the docstring does not
            name), "message", "hang", "growth" or "damage" (a file of someone else's is changed).
        path: The entry point.
        call: Its number; with the seed it gives the arguments again.
        error: The error.
        where: The last line of neuronkit's that it came through.
        arguments: What was given.
    """

    kind: str
    path: str
    call: int
    error: str
    where: str
    arguments: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.path}({self.arguments}), call {self.call}: {self.error} at {self.where}"


@dataclass
class Report:
    """What the calls gave."""

    calls: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[int, str] = (0, "")

    def __str__(self) -> str:
        total, refused = sum(self.calls.values()), sum(self.refused.values())
        kinds = Counter(fault.kind for fault in self.faults)
        return (
            f"{total} calls of {len(self.calls)} entry points: {refused} documented errors, "
            f"{total - refused - len(self.faults)} results, {len(self.faults)} faults {dict(kinds)}; "
            f"slowest {self.slowest[0]:.1f} s ({self.slowest[1]}), "
            f"largest growth {self.largest[0] / 2**20:.0f} MB ({self.largest[1]})"
        )


def run(calls: int, seed: int = 0, *, only: str = "", first: int = 0) -> Report:
    """Call entry points `calls` times, those whose names contain `only`."""
    report = Report()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, surroundings(Path(name)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        fill(folder)
        chosen = [entry for entry in entries(folder) if only in entry.path and entry.weight]
        weights = [entry.weight for entry in chosen]
        with _limited_memory():
            for number in range(first, first + calls):
                rng = random.Random(f"{seed} {number}")
                # Each once, then by weight.
                entry = chosen[number] if number < len(chosen) else rng.choices(chosen, weights)[0]
                call(entry, _arguments(entry, rng, folder), number, report)
                damage = _damage(folder)
                if damage:
                    report.faults.append(Fault("damage", entry.path, number, damage, "", ""))
                    return report
    return report


def _arguments(entry: Entry, rng: random.Random, folder: Path) -> dict[str, Any]:
    """Right arguments, of which one or some are replaced."""
    arguments = {name: list(value) if name == "*" else value for name, value in entry.arguments.items()}
    places: list[tuple[Any, Any]] = [(arguments, name) for name in arguments if name != "*"]
    positional = arguments.get("*", [])
    places += [(positional, index) for index in range(len(positional))]
    if not places:
        return arguments
    wrong = rng.choices((1, 2, len(places)), (8, 3, 1))[0]
    for holder, key in rng.sample(places, min(wrong, len(places))):
        value = neighbours(holder[key], rng, folder) if rng.random() < 0.6 else anything(rng)
        if not (key in entry.own and callable(value)):
            holder[key] = value
    if "*" in arguments and rng.random() < 0.1:
        positional[rng.randrange(len(positional) + 1) :] = [anything(rng)]
    return arguments


def call(entry: Entry, arguments: dict[str, Any], number: int, report: Report) -> None:
    positional = arguments.pop("*", [])
    report.calls[entry.path] += 1
    before = _reset_peak()
    began = time.perf_counter()
    kind, error = None, None
    try:
        signal.setitimer(signal.ITIMER_REAL, HANG_S)
        try:
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                entry.function(*positional, **arguments)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except OwnError:
        pass
    except Hang as caught:
        kind, error = "hang", caught
    except NeuronKitError as caught:
        kind, error = _judge(entry, caught), caught
        report.refused[entry.path] += kind is None
    except BaseException as caught:
        kind, error = "foreign", caught
    seconds, growth = time.perf_counter() - began, _peak() - before
    report.slowest = max(report.slowest, (seconds, entry.path))
    report.largest = max(report.largest, (growth, entry.path))
    if kind is None and (seconds > HANG_S or growth > GROWTH_BYTES):
        kind = "hang" if seconds > HANG_S else "growth"
        error = RuntimeError(f"{seconds:.1f} s, {growth >> 20} MB")
    if kind is not None and error is not None:
        given = ", ".join([shown(v, 60) for v in positional] + [f"{k}={shown(v, 60)}" for k, v in arguments.items()])
        text = f"{type(error).__name__}: {shown(str(error), 200)}"
        report.faults.append(Fault(kind, entry.path, number, text, _where(error), given))


def _judge(entry: Entry, error: NeuronKitError) -> str | None:
    """What is wrong with one of neuronkit's errors, if anything."""
    message = str(error)
    if len(message) > LONGEST_MESSAGE or len(message) < 10 or not message.replace("\n", "").isprintable():
        return "message"
    if not {cls.__name__ for cls in type(error).__mro__} & documented(entry.documented or entry.function):
        return "undocumented"
    return None


def documented(function: Any) -> set[str]:
    """The errors that a docstring names under Raises."""
    owner = getattr(function, "__self__", None)
    if getattr(function, "__name__", "") == "__call__" and owner is not None:
        function = type(owner).__call__
    text = getdoc(unwrap(getattr(function, "__func__", function))) or ""
    return set(re.findall(r"^\s+(\w+Error):", text.partition("Raises:")[2], re.MULTILINE))


def _where(error: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(_PACKAGE)]
    return f"{os.path.relpath(frames[-1].filename, _PACKAGE)}:{frames[-1].lineno}" if frames else "outside neuronkit"


def _damage(folder: Path) -> str | None:
    try:
        whole = (folder / "keep" / "file").read_text() == "kept" and (folder / "pipe").is_fifo()
    except OSError as error:
        return str(error)
    return None if whole else "a file of someone else's is changed"


@contextlib.contextmanager
def surroundings(folder: Path) -> Iterator[None]:
    """In a folder of its own, which takes what is written to relative paths; with an alarm for hangs."""

    def alarm(*_: Any) -> None:
        raise Hang(f"no result within {HANG_S:.0f} s")

    previous, home = signal.signal(signal.SIGALRM, alarm), os.getcwd()
    (folder / "here").mkdir()
    os.chdir(folder / "here")
    try:
        yield
    finally:
        os.chdir(home)
        signal.signal(signal.SIGALRM, previous)


@contextlib.contextmanager
def _limited_memory(more: int = 4 << 30) -> Iterator[None]:
    """Let the process grow by 4 GB at most, so that a fault of the library does no harm to the machine."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + more, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def _reset_peak() -> int:
    """Forget the largest size that the process had, and give its size."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) << 10 if found else 0
