"""``neuronkit serve``: artifacts served until it is stopped, by either server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from neuronkit.demo.picture import IMAGE
from neuronkit.serving.triton.server import free_ports

from .ray_cluster import MARKS, SETTINGS, save_artifacts
from .waiting import PATIENCE_S, wait_until

pytestmark = MARKS


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return save_artifacts(tmp_path_factory.mktemp("artifacts"), canvas=(704, 480))


@pytest.mark.parametrize("server", ["triton", "ray"])
def test_artifacts_are_served_until_stopped(server: str, artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    port = free_ports("127.0.0.1", 1)[0] if server == "ray" else _three_ports()
    path, headers = ("", {"Accept": "text/plain"}) if server == "ray" else ("v2/models/reader/infer", {})
    body = IMAGE.read_bytes()
    if server == "triton":
        headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "0"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", body, headers)
    environment = {**os.environ, **SETTINGS, "RAY_ADDRESS": "local"}
    command = [sys.executable, "-m", "neuronkit", "serve", server, *map(str, artifacts), "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:

        def asked() -> bytes:
            assert process.poll() is None, (tmp_path / "log").read_text()
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                    return bytes(answer.read())
            except OSError:
                return b""

        assert b"neuron cafe" in wait_until(asked, message=(tmp_path / "log").read_text)
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(PATIENCE_S)
    assert status == 0, (tmp_path / "log").read_text()


def _three_ports() -> int:
    """The first of three ports in a row that are free."""
    return next(p for p in range(20_000, 30_000, 3) if _are_free(p))


def _are_free(first: int) -> bool:
    try:
        for port in range(first, first + 3):
            with socket.socket() as opened:
                opened.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
