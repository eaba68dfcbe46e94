"""Compiling in a child process, since real compilers hang and crash: the parent's side."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuronkit import tables
from neuronkit.errors import CompileError
from neuronkit.options import CompileOptions
from neuronkit.specs import TensorSpec

_CODE = re.compile(r"\bNCC_[A-Z]{3,4}\d{3}\b")
_TAIL_LINES = 15


@dataclass(frozen=True)
class Job:
    """One graph to compile.

    Attributes:
        target: Name of the target, whose `compile_in_child` runs in the child.
        graph: Name of the graph.
        specs: Its inputs.
        arguments: What the target's `compile_in_child` needs beyond that; ready for JSON.
    """

    target: str
    graph: str
    specs: tuple[TensorSpec, ...]
    arguments: dict[str, Any] = field(default_factory=dict)


class Workshop:
    """The directories and the deadline that all graphs of one compile share.

    Args:
        options: `workdir` keeps everything; without it a temporary directory is kept only if a compile fails.
            `timeout_s` is the time for all graphs together.
    """

    def __init__(self, options: CompileOptions) -> None:
        self._temporary = None if options.workdir else tempfile.mkdtemp(prefix="neuronkit-")
        self.root = Path(self._temporary or options.workdir or ".").absolute()
        self.timeout_s = options.timeout_s
        self._deadline = None if options.timeout_s is None else time.monotonic() + options.timeout_s

    def directory(self, graph: str) -> Path:
        """Where a graph's files lie: ``graph.*`` in, ``compiled.pt`` out, ``compile.log``, ``compiler/``."""
        path = self.root / graph
        path.mkdir(parents=True, exist_ok=True)
        return path

    def run(self, job: Job) -> Path:
        """Compile one graph, whose file `directory(job.graph)` holds already.

        Returns:
            The compiled graph's TorchScript file.

        Raises:
            CompileError: If the child fails, crashes, exceeds the time, or leaves no result.
        """
        directory = self.directory(job.graph)
        log, result = directory / "compile.log", directory / "compiled.pt"
        result.unlink(missing_ok=True)
        write_job(directory, job)
        status = self._spawn(directory, log)
        text = log.read_text(encoding="utf-8", errors="replace")
        if status != 0 or not result.exists():
            raise failure(job, _outcome(status, self.timeout_s), text, log)
        for message, explained in tables.compiler_messages().texts.items():
            if message in text:
                # The SDK reports success, and gives something that does not run on the device.
                raise failure(job, f"was not compiled: {explained.meaning}", text, log)
        return result

    def _spawn(self, directory: Path, log: Path) -> int | None:
        """Run the child; None if it ran out of time."""
        command = [sys.executable, "-m", "neuronkit.targets.child", str(directory)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        remaining = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        with log.open("wb") as output:
            # Its own session, so that a compiler which the child started ends with it.
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
            )
            try:
                return child.wait(timeout=remaining)
            except subprocess.TimeoutExpired:
                return None
            finally:
                _end(child)

    def clean(self) -> None:
        """Remove the temporary directory, if that is what it is."""
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)


def _end(child: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    if child.poll() is None:
        child.kill()
    child.wait()


def _outcome(status: int | None, timeout_s: float | None) -> str:
    if status is None:
        return f"was not compiled within timeout_s={timeout_s:g} seconds"
    if status < 0:
        name = signal.Signals(-status).name
        return f"was not compiled: the compiler's process was killed by {name}{_SIGNAL_HINTS.get(name, '')}"
    return f"was not compiled: the compiler's process ended with status {status}"


_SIGNAL_HINTS = {"SIGKILL": " (the usual cause is too little host memory)", "SIGSEGV": " (a crash inside the SDK)"}


def failure(job: Job, outcome: str, text: str, log: Path) -> CompileError:
    """The error for a log: with the compiler's own code, what the documentation says of it, and the log's end."""
    code, hint = explain(text)
    tail = "\n".join(f"  | {line}" for line in text.splitlines()[-_TAIL_LINES:])
    advice = hint or "read the log; compile again with CompileOptions(workdir=...) to keep the compiler's own files"
    return CompileError(
        f"graph {job.graph!r} for target {job.target!r} {outcome}{f' ({code})' if code else ''}.\n{tail}\n"
        f"Log: {log}\nNext: {advice}",
        code=code,
        log_path=log,
        hint=hint,
    )


def explain(text: str) -> tuple[str | None, str | None]:
    """The compiler's error code in what it printed, and what the documentation recommends; None where there is none."""
    codes = _CODE.findall(text)
    code = codes[-1] if codes else None
    known = tables.compiler_messages()
    explained = known.codes.get(code or "")
    if explained is None:
        explained = next((e for piece, e in known.texts.items() if piece in text), None)
    return code, explained.hint if explained else None


def write_job(directory: Path, job: Job) -> None:
    fields = {
        "target": job.target,
        "graph": job.graph,
        "specs": [spec.to_dict() for spec in job.specs],
        "arguments": job.arguments,
        "sys_path": sys.path,
    }
    (directory / "job.json").write_text(json.dumps(fields, indent=1), encoding="utf-8")


def read_job(directory: Path) -> Job:
    fields = json.loads((directory / "job.json").read_text(encoding="utf-8"))
    specs = tuple(TensorSpec.from_dict(spec) for spec in fields["specs"])
    return Job(fields["target"], fields["graph"], specs, fields["arguments"])
