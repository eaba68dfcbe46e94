"""build: every artifact of a build file, several at a time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from fnmatch import fnmatch
from pathlib import Path

from tqdm import tqdm

from neuronkit import checks
from neuronkit.build.recipe import Item, read_build_file
from neuronkit.build.report import FAILED, BuildReport, BuiltArtifact
from neuronkit.errors import ArtifactError, OptionError
from neuronkit.storage.atomic import replacing_file, temporary_directory
from neuronkit.targets.sdk.failure import signal_text
from neuronkit.targets.sdk.process import child_process

REPORT = "build.json"
GRACE_S = 5.0  # for a process to tidy up, when the build ends early


def build(
    file: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    jobs: int = 1,
    only: Sequence[str] = (),
    progress: bool | None = None,
) -> BuildReport:
    """Make every artifact that a build file describes: each of its recipes, for each shape and each target.

    Each is made in a process of its own, so that a crash or an error of one leaves the others alone. An artifact is
    written whole or not at all, and what the compilers gave is kept in a cache: called again, after a failure or
    an interruption, it resumes where it stopped, and makes only what has changed anew.

    Args:
        file: A Python file that defines ``recipes``, a list of `Recipe`.
        output: Directory for the artifacts, made if it is not there: ``<recipe>-<shape>-<target>.pt``, logs of
            failures in ``logs/``, the compile cache in ``.cache/``, the report in ``build.json``.
        jobs: How many to make at a time.
        only: Make only those whose names match one of these patterns (``"detector-*"``).
        progress: Show a progress bar on stderr; None shows it on a terminal.

    Returns:
        One line for each artifact; those that failed are among them.

    Raises:
        OptionError: If the build file, `jobs` or `only` cannot be understood.
        ArtifactError: If `output` cannot be written.

    Examples:
        >>> code = "import torch; from neuronkit import TensorSpec; from neuronkit.build import Recipe; recipes = []"
        >>> _ = Path("build_none.py").write_text(code)
        >>> neuronkit.build.build("build_none.py", "artifacts")
        Traceback (most recent call last):
        neuronkit.errors.OptionError: ...
    """
    file, output = checks.path("file", file), checks.path("output", output).absolute()
    jobs = checks.integer("jobs", jobs, 1, 1 << 10)
    items = _chosen(read_build_file(file), only)
    try:
        (output / "logs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"{output}: cannot write there ({error}); choose another directory") from error
    workers = _Workers(file.absolute(), output, jobs)
    bar = tqdm(total=len(items), unit="artifact", disable=not (sys.stderr.isatty() if progress is None else progress))
    made: dict[str, BuiltArtifact] = {}
    with bar, ThreadPoolExecutor(jobs) as threads, workers.ended_on_error():
        for future in as_completed([threads.submit(workers.make, item) for item in items.values()]):
            artifact = future.result()
            made[artifact.name] = artifact
            if not bar.disable:
                bar.write(str(artifact), file=sys.stderr)
            bar.update()
    report = BuildReport(tuple(made[name] for name in items))
    _write(output / REPORT, report)
    return report


class _Workers:
    """The processes that make artifacts."""

    def __init__(self, file: Path, output: Path, jobs: int) -> None:
        self.file, self.output = file, output
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._lock = threading.Lock()
        threads = max(1, (os.cpu_count() or 1) // jobs)
        self._environment = {"OMP_NUM_THREADS": str(threads), **os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def make(self, item: Item) -> BuiltArtifact:
        try:
            return self._make(item)
        except OSError as error:
            return BuiltArtifact(item.name, item.target, FAILED, 0.0, error=f"{type(error).__name__}: {error}")

    def _make(self, item: Item) -> BuiltArtifact:
        log = self.output / "logs" / f"{item.name}.log"
        with temporary_directory("build") as work:
            result = work / "result.json"
            status = self._run([str(self.file), item.name, str(self.output), str(result)], log)
            made = BuiltArtifact(**json.loads(result.read_text(encoding="utf-8"))) if result.exists() else None
        if made is not None and made.state != FAILED:
            log.unlink(missing_ok=True)
            return made
        error = made.error if made is not None else _ended(status)
        seconds = made.seconds if made is not None else 0.0
        return BuiltArtifact(item.name, item.target, FAILED, seconds, error=error, log=str(log))

    def _run(self, arguments: Sequence[str], log: Path) -> int:
        with contextlib.ExitStack() as stack:
            with self._lock:
                if self._stopped:
                    return -signal.SIGTERM
                worker = child_process("neuronkit.build.worker", arguments, log=log, environment=self._environment)
                process = stack.enter_context(worker)
                self._running.add(process)
            status = process.wait()
            with self._lock:
                self._running.discard(process)
            return status

    @contextlib.contextmanager
    def ended_on_error(self) -> Iterator[None]:
        """Leave no process behind when something interrupts the build."""
        try:
            yield
        except BaseException:
            with self._lock:
                self._stopped = True
                running = list(self._running)
            for process in running:
                process.terminate()
            for process in running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE_S)
                process.kill()
            raise


def _chosen(items: dict[str, Item], only: Sequence[str]) -> dict[str, Item]:
    patterns = [only] if isinstance(only, str) else checks.items("only", only, "patterns", most=10_000)
    patterns = [checks.text(f"only[{i}]", pattern) for i, pattern in enumerate(patterns)]
    unmatched = [pattern for pattern in patterns if not any(fnmatch(name, pattern) for name in items)]
    if unmatched:
        raise OptionError(
            f"got only={checks.shown(unmatched)}, which matches no artifact; there are {', '.join(items)}"
        )
    return {name: item for name, item in items.items() if any(fnmatch(name, p) for p in patterns or ["*"])}


def _ended(status: int) -> str:
    """What the end of a process that wrote no result means."""
    return f"its process ended with status {status} and no result" + (f": {signal_text(-status)}" if status < 0 else "")


def _write(path: Path, report: BuildReport) -> None:
    try:
        with replacing_file(path) as work:
            work.write_text(json.dumps(report.to_dict(), indent=1), encoding="utf-8")
    except OSError as error:
        raise ArtifactError(f"{path}: was not written ({error}), after this was made:\n{report}") from error
