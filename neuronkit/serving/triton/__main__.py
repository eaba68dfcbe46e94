"""Serve a model repository on this machine: ``python -m neuronkit.serving.triton DIRECTORY``."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from neuronkit.errors import NeuronKitError
from neuronkit.serving.triton.server import running


def main(arguments: list[str] | None = None) -> int:
    """Run a tritonserver until it is stopped; gives its exit status."""
    given, others = _parser().parse_known_args(arguments)
    ports = (given.http_port, given.grpc_port, given.metrics_port)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Noted, not raised: an exception in the midst of starting the server would leave it behind.
        signal.signal(number, lambda *_: stopped.set())
    try:
        with running(
            given.directory,
            given.host,
            ports,
            others,
            probe_interval_s=given.probe_interval_s or None,
            probe_timeout_s=given.probe_timeout_s,
        ) as process:
            while process.poll() is None and not stopped.wait(0.2):
                pass
        return 0 if stopped.is_set() else process.returncode
    except NeuronKitError as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m neuronkit.serving.triton",
        description=__doc__,
        epilog="Further options, each as --name=value, are tritonserver's own.",
        allow_abbrev=False,
    )
    parser.add_argument("directory", type=Path, help="model repository, as export_repository writes it")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--http-port", type=int, default=8000)
    parser.add_argument("--grpc-port", type=int, default=8001)
    parser.add_argument("--metrics-port", type=int, default=8002)
    parser.add_argument(
        "--probe-interval-s",
        type=float,
        default=30.0,
        help="pause between two requests to each model, to see that it answers; 0 sends none (%(default)s)",
    )
    parser.add_argument(
        "--probe-timeout-s",
        type=float,
        default=30.0,
        help="how long such a request may take: longer than the longest batch (%(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
