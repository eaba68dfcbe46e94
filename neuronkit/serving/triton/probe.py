"""Does every model of a tritonserver answer? ``python -m neuronkit.serving.triton.probe``.

Triton's own health URLs say 200 for a model whose process was killed. This probe sends each model that
`export_repository` wrote a small request. It imports the standard library alone, so that it can run often.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import struct
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from typing import Any

from neuronkit.errors import ServerError

MARK = "neuronkit_probe"
"""Parameter of the probe's requests, which go ahead of a model's queue, however full it is."""

# Only models that export_repository wrote have this parameter; what others take is not known.
_OURS = "max_pixels"
# Where a dimension is free: a multiple of 32, which detectors require, and small.
_FREE = 64
_SIZES = {"BOOL": 1, "UINT8": 1, "INT8": 1, "INT16": 2, "FP16": 2, "BF16": 2, "INT32": 4, "FP32": 4, "INT64": 8}
# A white picture of 32 x 32 pixels.
_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgAQAAAABbAUdZAAAAD0lEQVR42mP4DwQMg5cAANrpf4Em8vpjAAAAAElFTkSuQmCC"
)
# The server on this machine, whatever proxy the environment names.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def probe(address: str, *, timeout_s: float = 10.0) -> list[str]:
    """Send every loaded model of a server one request.

    Args:
        address: Of the server's HTTP endpoint, ``"127.0.0.1:8000"``.
        timeout_s: For all of it. It should be longer than the longest batch takes.

    Returns:
        The models that answered, as names. Models that neuronkit did not export are left out.

    Raises:
        ServerError: If the server or a model does not answer in time, or a model's process is dead.

    Examples:
        ``probe("127.0.0.1:8000")`` gives ``["detector", "reader", "recognizer"]``.
    """
    end = time.monotonic() + timeout_s
    names = [entry["name"] for entry in json.loads(_call(address, "repository/index", end, b'{"ready": true}'))]
    answered = []
    for name in sorted(set(names)):
        config = json.loads(_call(address, f"models/{name}/config", end))
        if _OURS in config.get("parameters", {}):
            body, headers = _request(config)
            _call(address, f"models/{name}/infer", end, body, headers)
            answered.append(name)
    return answered


def _call(address: str, path: str, end: float, body: bytes | None = None, headers: Mapping[str, str] = {}) -> bytes:
    request = urllib.request.Request(f"http://{address}/v2/{path}", body, dict(headers))
    left = end - time.monotonic()
    try:
        if left <= 0:
            raise TimeoutError("the time is over")
        with DIRECT.open(request, timeout=left) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        if error.code < 500:
            # A refusal is an answer: the model's process is alive.
            return b"{}"
        message = error.read().decode("utf-8", "replace")
        raise ServerError(
            f"{address}/v2/{path}: got status {error.code}, {message[:500]}; expected an answer; restart the server"
        ) from error
    except (OSError, HTTPException) as error:
        raise ServerError(
            f"{address}/v2/{path}: got no answer ({error}); expected one in time; restart the server, or give a "
            "longer timeout if its batches take longer"
        ) from error


def _request(config: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of a request that a model takes."""
    inputs = config["input"]
    # A recogniser takes one of two optional inputs.
    wanted = [entry for entry in inputs if not entry.get("optional")] or inputs[:1]
    tensors, payloads = [], []
    for entry in wanted:
        kind = entry["data_type"].removeprefix("TYPE_").replace("STRING", "BYTES")
        shape = [1, *(_FREE if int(n) < 0 else int(n) for n in entry["dims"])]
        payload = struct.pack("<I", len(_PNG)) + _PNG if kind == "BYTES" else bytes(_SIZES[kind] * math.prod(shape))
        parameters = {"binary_data_size": len(payload)}
        tensors.append({"name": entry["name"], "shape": shape, "datatype": kind, "parameters": parameters})
        payloads.append(payload)
    header = json.dumps({"inputs": tensors, "parameters": {MARK: True, "binary_data_output": True}}).encode()
    return header + b"".join(payloads), {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(header)),
    }


class Watch(threading.Thread):
    """Probes a server until one of its models does not answer, and then calls back.

    It begins when the server says that it is ready: one that still loads has not failed.

    Args:
        address: As for `probe`.
        interval_s: Pause between two probes.
        timeout_s: How long a probe may take; a batch may be at work.
        on_failure: Called once, after two failures in a row.

    Attributes:
        failure: What the last probe found, once `on_failure` was called.
    """

    def __init__(self, address: str, interval_s: float, timeout_s: float, on_failure: Callable[[], None]) -> None:
        super().__init__(name="neuronkit-triton-watch", daemon=True)
        self.failure: ServerError | None = None
        self._address, self._interval_s, self._timeout_s = address, interval_s, timeout_s
        self._on_failure = on_failure
        self._stopped = threading.Event()

    def run(self) -> None:
        """Probe until stopped."""
        while not self._is_ready():
            if self._stopped.wait(1.0):
                return
        failures = 0
        while not self._stopped.wait(min(1.0, self._interval_s) if failures else self._interval_s):
            try:
                probe(self._address, timeout_s=self._timeout_s)
                failures = 0
            except ServerError as error:
                failures += 1
                if failures == 2 and not self._stopped.is_set():
                    self.failure = error
                    return self._on_failure()

    def _is_ready(self) -> bool:
        try:
            with DIRECT.open(f"http://{self._address}/v2/health/ready", timeout=5):
                return True
        except (OSError, HTTPException):
            return False

    def stop(self) -> None:
        """Stop probing; nothing is called back."""
        self._stopped.set()


def main(arguments: Sequence[str] | None = None) -> int:
    """Probe once; gives 0 if every model answers, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m neuronkit.serving.triton.probe",
        description="Send each model of a running tritonserver a small request; exit with 1 if one does not answer.",
    )
    parser.add_argument("address", nargs="?", default="127.0.0.1:8000", help="HTTP endpoint (%(default)s)")
    parser.add_argument("--timeout-s", type=float, default=10.0, help="for all models together (%(default)s)")
    given = parser.parse_args(arguments)
    try:
        print(*probe(given.address, timeout_s=given.timeout_s))
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
