"""Serve a model repository on this machine: ``python -m neuronkit.serving.triton DIRECTORY``."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from pathlib import Path

from neuronkit.serving.triton.server import serve


def main(arguments: list[str] | None = None) -> int:
    """Run a tritonserver until it is stopped; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m neuronkit.serving.triton", description=__doc__)
    parser.add_argument("directory", type=Path, help="model repository, as export_repository writes it")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--http-port", type=int, default=8000)
    parser.add_argument("--grpc-port", type=int, default=8001)
    parser.add_argument("--metrics-port", type=int, default=8002)
    given = parser.parse_args(arguments)
    # As with the interrupt key, so that the server ends with this process.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ports = {"http_port": given.http_port, "grpc_port": given.grpc_port, "metrics_port": given.metrics_port}
    with contextlib.suppress(KeyboardInterrupt), serve(given.directory, host=given.host, **ports) as server:
        print(f"HTTP {server.http}, gRPC {server.grpc}, metrics {server.metrics}, log {server.log}", flush=True)
        return server.process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
