"""A tritonserver on this machine, without a container: to try a repository out, to test it, to measure it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO

import neuronkit
from neuronkit import checks
from neuronkit.errors import MissingDependencyError, ServerError
from neuronkit.serving.triton.probe import DIRECT, Watch
from neuronkit.storage.atomic import temporary_directory

INSTALL = "pip install nvidia-pytriton 'numpy<2'"
EXIT_TIMEOUT_S = 60.0
# A server never stops waiting for a model whose process has died.
_FAILED_EXIT_TIMEOUT_S = 5.0
# Linux gives out ports from 32768 on.
_PORTS = range(20_000, 32_000)


@dataclass(frozen=True)
class Server:
    """A running tritonserver.

    Attributes:
        http: host:port, as `tritonclient.http.InferenceServerClient` takes it.
        grpc: host:port, as `tritonclient.grpc.InferenceServerClient` takes it.
        metrics: Address of its metrics, in Prometheus' text format.
        process: The server's own.
        log: What it prints.

    Examples:
        ```python
        with serve("models") as server:
            print(server.http, server.log)
        ```
    """

    http: str
    grpc: str
    metrics: str
    process: subprocess.Popen[bytes]
    log: Path


@contextlib.contextmanager
def serve(
    directory: str | os.PathLike[str],
    *,
    host: str = "127.0.0.1",
    http_port: int | None = None,
    grpc_port: int | None = None,
    metrics_port: int | None = None,
    arguments: Sequence[str] = (),
    ready_timeout_s: float = 120.0,
    probe_interval_s: float | None = 30.0,
    probe_timeout_s: float = 30.0,
) -> Iterator[Server]:
    """Run a tritonserver on a model repository, as long as the block lasts.

    Takes the `tritonserver` on the PATH, as in NVIDIA's containers, or else that of the package nvidia-pytriton, whose
    Python backend then finds the packages of this interpreter.

    Args:
        directory: A model repository, as `export_repository` writes it.
        host: Address to listen on.
        http_port: Port for HTTP; None takes a free one.
        grpc_port: Port for gRPC; None takes a free one.
        metrics_port: Port for the metrics; None takes a free one.
        arguments: Further arguments of tritonserver.
        ready_timeout_s: How long to wait until all models are loaded and warm.
        probe_interval_s: Pause between two probes of all models (`neuronkit.serving.triton.probe`). A server of which a
            model does not answer is ended. None probes never.
        probe_timeout_s: How long a probe may take: longer than the longest batch. A model whose process hangs is
            noticed after the pause and two such times.

    Yields:
        The server, once it is ready.

    Raises:
        MissingDependencyError: If there is no tritonserver; says how to install one.
        OptionError: If a port or a time is out of range.
        ServerError: If it stops or is not ready in time, with the errors in its log; at the end of the block, if it was
            ended because a model did not answer, or ended by itself.

    Examples:
        ```python
        with serve("models") as server:
            print(server.http)
        ```
    """
    ready_timeout_s = checks.number("ready_timeout_s", ready_timeout_s, 0, 86_400, open_low=True)
    given = {"http_port": http_port, "grpc_port": grpc_port, "metrics_port": metrics_port}
    for name, port in given.items():
        if port is not None:
            checks.integer(name, port, 1, 65_535)
    ports = [port or free for port, free in zip(given.values(), free_ports(host, 3))]
    http, grpc, metrics = (f"{host}:{port}" for port in ports)
    with temporary_directory("triton-log") as folder:
        log = folder / "log"
        with (
            open(log, "wb") as output,
            running(
                directory,
                host,
                ports,
                arguments,
                output,
                probe_interval_s=probe_interval_s,
                probe_timeout_s=probe_timeout_s,
            ) as process,
        ):
            _wait_until_ready(process, f"http://{http}/v2/health/ready", log, ready_timeout_s)
            yield Server(http, grpc, f"http://{metrics}/metrics", process, log)
            status = process.poll()
        if status is not None:
            raise ServerError(
                f"tritonserver {_stopped(status)} before the end of its block. Its log says:\n{_told(log)}"
            )


@contextlib.contextmanager
def running(
    directory: str | os.PathLike[str],
    host: str,
    ports: Sequence[int],
    arguments: Sequence[str],
    output: IO[bytes] | None = None,
    *,
    probe_interval_s: float | None = 30.0,
    probe_timeout_s: float = 30.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a tritonserver as long as the block lasts, ready or not. All its processes end with the block.

    Args:
        directory: A model repository.
        host: Address to listen on.
        ports: Those for HTTP, gRPC and metrics.
        arguments: Further arguments of tritonserver.
        output: Where it prints; None is where this process does.
        probe_interval_s: Pause between two probes of all models; None probes never.
        probe_timeout_s: How long a probe may take.

    Raises:
        MissingDependencyError: If there is no tritonserver.
        OptionError: If `probe_interval_s` or `probe_timeout_s` is out of range.
        ServerError: At the end of the block, if the server was ended because a model did not answer.
    """
    if probe_interval_s is not None:
        probe_interval_s = checks.number("probe_interval_s", probe_interval_s, 0, 86_400, open_low=True)
    probe_timeout_s = checks.number("probe_timeout_s", probe_timeout_s, 0, 86_400, open_low=True)
    options = [f"--model-repository={Path(directory).resolve()}"]
    for name, port in zip(("http", "grpc", "metrics"), ports):
        options += [f"--{name}-address={host}", f"--{name}-port={port}"]
    with temporary_directory("triton") as work:
        command, environment = find_server(work)
        process = subprocess.Popen(
            [*command, *options, *arguments],
            env=environment,
            stdout=output,
            stderr=output and subprocess.STDOUT,
            # A process group of its own, so that the models' processes can be ended with it.
            start_new_session=True,
        )
        reachable = "127.0.0.1" if host in ("0.0.0.0", "") else host
        try:
            with _watched(process, f"{reachable}:{ports[0]}", probe_interval_s, probe_timeout_s):
                yield process
        finally:
            _end(process)


@contextlib.contextmanager
def _watched(
    process: subprocess.Popen[bytes], address: str, interval_s: float | None, timeout_s: float
) -> Iterator[None]:
    """Probe all models as long as the block lasts, and end the server when one does not answer."""
    if interval_s is None:
        yield
        return
    unanswered = threading.Event()

    def end_unanswered() -> None:
        # A server that has ended by itself does not answer either.
        if process.poll() is None:
            unanswered.set()
            _end(process, _FAILED_EXIT_TIMEOUT_S)

    watch = Watch(address, interval_s, timeout_s, end_unanswered)
    watch.start()
    try:
        yield
    finally:
        watch.stop()
    if unanswered.is_set():
        raise ServerError(f"tritonserver was ended, since a model does not answer: {watch.failure}") from watch.failure


def find_server(work: Path) -> tuple[list[str], dict[str, str]]:
    """Find a tritonserver.

    Args:
        work: An empty directory, for a copy of nvidia-pytriton's Python backend beside this Python's stub.

    Returns:
        The beginning of its command line, and its environment.

    Raises:
        MissingDependencyError: If there is none, or none for this Python.
    """
    on_path = shutil.which("tritonserver")
    if on_path is not None:
        return [on_path], dict(os.environ)
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            f"there is no tritonserver on the PATH, and nvidia-pytriton, which brings one, is not installed. "
            f"{INSTALL}; or serve the repository with NVIDIA's container"
        )
    package = Path(spec.origin).parent
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = package / "tritonserver" / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.exists():
        known = sorted(path.parent.name for path in stub.parent.parent.glob("*/triton_python_backend_stub"))
        raise MissingDependencyError(
            f"nvidia-pytriton has no Python backend for Python {version}, only for {', '.join(known)}; "
            f"use one of these: {INSTALL}"
        )
    backend = work / "backends" / "python"
    backend.mkdir(parents=True)
    for file in [*(package / "tritonserver" / "backends" / "python").glob("*triton_python*"), stub]:
        shutil.copy(file, backend)
    command = [str(package / "tritonserver" / "bin" / "tritonserver"), f"--backend-directory={backend.parent}"]
    return command, _environment(package.parent / "nvidia_pytriton.libs")


def _environment(libraries: Path) -> dict[str, str]:
    """Let the backend find its libraries, this interpreter's libpython, and this interpreter's packages."""
    paths = {
        "LD_LIBRARY_PATH": [str(libraries), sysconfig.get_config_var("LIBDIR") or ""],
        # An editable neuronkit is on no path that another interpreter reads.
        "PYTHONPATH": [str(Path(neuronkit.__file__).parent.parent), *map(sysconfig.get_path, ("purelib", "platlib"))],
        "PATH": [str(Path(sys.executable).parent)],
    }
    environment = dict(os.environ)
    for name, entries in paths.items():
        environment[name] = os.pathsep.join(entry for entry in (*entries, environment.get(name, "")) if entry)
    return environment


def free_ports(host: str, count: int) -> list[int]:
    """Different unused ports, outside the range from which the system assigns ports itself."""
    found: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((host, port))
            found.append(port)
        if len(found) == count:
            return found
    raise ServerError(f"{host} has no {count} free ports from {_PORTS.start} on; give the ports")


def _wait_until_ready(process: subprocess.Popen[bytes], address: str, log: Path, timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError, HTTPException), DIRECT.open(address, timeout=5):
            return
        time.sleep(0.1)
    state = "was not ready in time" if process.returncode is None else _stopped(process.returncode)
    raise ServerError(f"tritonserver {state} ({timeout_s:g} s were given). Its log says:\n{_told(log)}")


def _stopped(status: int) -> str:
    """How a process ended, by its status."""
    return f"stopped with status {status}" if status >= 0 else f"was killed by {signal.Signals(-status).name}"


def _told(log: Path) -> str:
    """The errors in a server's log, or else its end."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([line for line in lines if re.match(r"E\d{4} |error:", line)] or lines[-30:])


def _end(process: subprocess.Popen[bytes], timeout_s: float = EXIT_TIMEOUT_S) -> None:
    """Ask the server to finish what it has begun, and end all its processes when it does not."""
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        try:
            process.wait(timeout_s)
        finally:
            # Also when the waiting itself is interrupted. The models' processes outlive a server that was killed. Once
            # all have ended, the number of their group may be given to others, whose leader has the same one.
            if process.returncode is None or not _exists(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
