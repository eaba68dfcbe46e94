"""Compiling in a child process, since real compilers hang and crash: the parent's side."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from neuronkit.errors import CompileError
from neuronkit.options import CompileOptions
from neuronkit.specs import TensorSpec
from neuronkit.storage.atomic import temporary_directory
from neuronkit.targets.progress import ProgressCallback, detail
from neuronkit.targets.sdk.failure import disk_errors, failure, outcome_of
from neuronkit.targets.sdk.log import last_line, read_log
from neuronkit.targets.sdk.process import child_process, kill_session
from neuronkit.targets.sdk.temporary import keep_log, sweep_logs

RESULT, PARTIAL, CALL, LOG = "compiled.pt", "compiled.pt.partial", "call.txt", "compile.log"
_TICK_S = 0.5


@dataclass(frozen=True)
class Job:
    """One graph to compile.

    Attributes:
        target: Name of the target.
        target_class: Module and name of its class, whose `compile_in_child` runs in the child.
        graph: Name of the graph.
        specs: Its inputs.
        arguments: What the target's `compile_in_child` needs beyond that; ready for JSON.
    """

    target: str
    target_class: tuple[str, str]
    graph: str
    specs: tuple[TensorSpec, ...]
    arguments: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"graph {self.graph!r} for target {self.target!r}"

    def write(self, directory: Path) -> None:
        """Write the job for the child to read."""
        fields = {**asdict(self), "specs": [spec.to_dict() for spec in self.specs], "sys_path": sys.path}
        (directory / "job.json").write_text(json.dumps(fields, indent=1), encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> Job:
        """Read what `write` wrote."""
        fields = json.loads((directory / "job.json").read_text(encoding="utf-8"))
        specs = tuple(TensorSpec.from_dict(spec) for spec in fields["specs"])
        module, name = fields["target_class"]
        return cls(fields["target"], (module, name), fields["graph"], specs, fields["arguments"])


class ChildCompiler:
    """The directories and the deadline that all graphs of one compile share.

    As a context manager it removes its temporary directory. The log that a `CompileError` names stays, for a week.

    Args:
        options: `workdir` keeps everything; without it there is a temporary directory. With `cpu_operators` or
            `cpu_fallback`, what the compiler refuses may be left to the CPU. `timeout_s` is the time for all graphs
            together.
        progress: Called with the time that a graph has taken and the last line of its log, while the child runs.

    Attributes:
        deadline: When the time is up, on the clock of `time.monotonic`; None without a limit.
    """

    def __init__(self, options: CompileOptions, progress: ProgressCallback | None = None) -> None:
        self._stack = contextlib.ExitStack()
        self._keeps_files = options.workdir is not None
        with disk_errors("the model"):
            sweep_logs()
            self.root = (options.workdir or self._stack.enter_context(temporary_directory("compile"))).absolute()
        self._may_fall_back = bool(options.cpu_operators or options.cpu_fallback)
        self.timeout_s = options.timeout_s
        self.deadline = None if options.timeout_s is None else time.monotonic() + options.timeout_s
        self._progress = progress

    def __enter__(self) -> ChildCompiler:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def failure(self, job: Job, outcome: str, *, hint: str | None = None) -> CompileError:
        """The error for a graph, with what its log says, and the path of a log that stays."""
        log = self.directory(job.graph) / LOG
        return failure(str(job), outcome, log, hint=hint, kept=log if self._keeps_files else keep_log(log))

    def directory(self, graph: str) -> Path:
        """Where a graph's files lie: ``graph.*`` in, ``compiled.pt`` out, ``compile.log``, ``compiler/``."""
        path = self.root / graph
        with disk_errors(f"graph {graph!r}"):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def run(self, job: Job) -> Path:
        """Compile one graph, whose file `directory(job.graph)` holds already.

        Returns:
            The compiled graph's TorchScript file. Beside it lie the log and the SDK's call.

        Raises:
            CompileError: If the child fails, crashes, exceeds the time, or leaves no whole result.
        """
        directory = self.directory(job.graph)
        try:
            with disk_errors(str(job), directory / LOG if self._keeps_files else None):
                for name in (RESULT, PARTIAL, CALL):
                    (directory / name).unlink(missing_ok=True)
                # An earlier compile's logs would be taken for this one's.
                shutil.rmtree(directory / "compiler", ignore_errors=True)
                (directory / LOG).write_bytes(b"")
                job.write(directory)
                status = self._spawn(directory, directory / LOG)
            self._check(job, status, directory)
        except BaseException:
            for name in (RESULT, PARTIAL):
                (directory / name).unlink(missing_ok=True)
            raise
        return directory / RESULT

    def _check(self, job: Job, status: int | None, directory: Path) -> None:
        """Raise CompileError unless the child ended well and left a whole result that runs on the device."""
        log = directory / LOG
        if status is None:
            raise self.failure(job, f"was not compiled within timeout_s={self.timeout_s:g} seconds")
        if status != 0:
            outcome, hint = outcome_of(status)
            raise self.failure(job, outcome, hint=hint)
        if not ((directory / RESULT).exists() and (directory / CALL).exists()):
            raise self.failure(job, "was not compiled: the compiler's process reported success and left no result")
        said = read_log(log)
        if said.message is not None or (said.code is not None and not self._may_fall_back):
            # The SDK reports success, and gives something that does not run on the device.
            raise self.failure(job, "was not compiled, though the SDK reported success")
        if not _is_whole(directory / RESULT):
            raise self.failure(job, "was not compiled: the result is cut or damaged")

    def _spawn(self, directory: Path, log: Path) -> int | None:
        """Run the child; None if it ran out of time."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        # So that the log shows at once what was printed, and where a crash happened.
        environment.update(PYTHONUNBUFFERED="1", PYTHONFAULTHANDLER="1")
        # The child ends without tidying up, whether it succeeds or is killed.
        with temporary_directory("child") as scratch:
            environment["TMPDIR"] = str(scratch)
            with child_process(
                "neuronkit.targets.sdk.child", [str(directory)], log=log, environment=environment
            ) as child:
                try:
                    return self._wait(child, directory.name, log)
                finally:
                    kill_session(child)

    def _wait(self, child: subprocess.Popen[bytes], graph: str, log: Path) -> int | None:
        started = time.monotonic()
        while True:
            left = _TICK_S if self.deadline is None else self.deadline - time.monotonic()
            try:
                return child.wait(timeout=max(0.0, min(left, _TICK_S)))
            except subprocess.TimeoutExpired:
                if left <= _TICK_S and self.deadline is not None and time.monotonic() >= self.deadline:
                    return None
            elapsed = time.monotonic() - started
            detail(self._progress, f"compiling {graph}, {elapsed:.0f} s: {last_line(log)}")


def _is_whole(archive: Path) -> bool:
    """Whether every member of a TorchScript archive has the CRC that it was written with."""
    try:
        with zipfile.ZipFile(archive) as members:
            return members.testzip() is None
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        # What zipfile raises for damaged headers, which claim other compressions, encryption or more bytes.
        return False
