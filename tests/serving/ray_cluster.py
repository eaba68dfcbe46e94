"""A real Ray cluster on this machine, and what its tests share: strips of a few words, and processes to kill."""

from __future__ import annotations

import contextlib
import gc
import http.client
import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuronkit import StaticCRAFT, StaticPARSeq, compile_for_inferentia
from neuronkit.demo.picture import IMAGE, load_truth
from neuronkit.demo.weights import load_craft, load_parseq
from neuronkit.ocr import CraftProcessor, ParseqProcessor, load_image
from tests.pictures import encode

from .waiting import PATIENCE_S

NEURON_CORES = 2
"""What the cluster claims to have; Ray itself then gives them out, as on a machine that has them."""

MARKS = [
    pytest.mark.serving,
    pytest.mark.slow,
]


SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_metrics_report_interval_ms": "1000",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # A process that is slow, or a machine whose memory others use, is no failure here.
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_health_check_timeout_ms": "60000",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
}


@contextlib.contextmanager
def cluster(cpus: int = 4, worker_setup: Callable[[], None] | None = None) -> Iterator[Any]:
    """Start Ray in processes of its own, each of which may call something first; and end them all."""
    os.environ.update(SETTINGS)
    import ray

    def start() -> None:
        # Left from an attempt before.
        ray.shutdown()
        ray.init(
            # Not one that runs here already.
            address="local",
            num_cpus=cpus,
            resources={"neuron_cores": NEURON_CORES},
            include_dashboard=False,
            object_store_memory=200 << 20,
            log_to_driver=False,
            runtime_env={"worker_process_setup_hook": worker_setup} if worker_setup else None,
        )

    try:
        in_the_end(start)
        # Ray forgets the processes of an attempt that failed, instead of waiting for them.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        yield ray
    finally:
        ray.shutdown()


def in_the_end(start: Callable[[], None]) -> None:
    """Start something of Ray, which gives itself a fixed time for it."""
    for _ in range(3):
        try:
            return start()
        except Exception as error:
            reason = error
    raise reason


def save_artifacts(folder: Path, canvas: tuple[int, int] = (64, 192)) -> tuple[Path, Path]:
    """The demo's models for strips, four at a time, and for eight words at a time."""
    craft, parseq = load_craft(), load_parseq()
    static = StaticCRAFT(craft, batch_size=4, height=canvas[0], width=canvas[1])
    detector = compile_for_inferentia(static, target="cpu", processor=CraftProcessor(mag_ratio=1.0))
    recognizer = compile_for_inferentia(
        StaticPARSeq(parseq, batch_size=8), target="cpu", processor=ParseqProcessor(charset=parseq.charset)
    )
    return detector.save(folder / "craft.pt"), recognizer.save(folder / "parseq.pt")


def strips(count: int) -> list[bytes]:
    """Image files of different sizes, cut from the demo's picture: three of four at a word, the others anywhere."""
    picture = load_image(IMAGE)
    words = load_truth()
    random = np.random.default_rng(0)
    found = []
    for i in range(count):
        height, width = int(random.integers(24, 64)), int(random.integers(40, 192))
        top, left = int(random.integers(0, 690 - height)), int(random.integers(0, 450 - width))
        if i % 4 > 0:
            x, y = words[int(random.integers(len(words)))].quad.min(axis=0)
            left, top = min(int(max(x - 8, 0)), 450 - width), min(int(max(y - 8, 0)), 690 - height)
        found.append(encode(picture[top : top + height, left : left + width], ("PNG", "JPEG")[i % 2]))
    return found


def broken(image: bytes, number: int) -> bytes:
    """A file that is no image any more."""
    return (image[: len(image) // 3], b"", b"no image at all", image[::-1])[number % 4]


def assert_same_page(got: dict[str, Any], wanted: dict[str, Any]) -> None:
    """The same words at the same places, and confidences that differ by rounding at most."""
    assert [got[name] for name in ("height", "width", "text", "error")] == [
        wanted[name] for name in ("height", "width", "text", "error")
    ]
    for one, other in zip(_words(got), _words(wanted), strict=True):
        np.testing.assert_allclose(one["box"]["quad"], other["box"]["quad"], atol=1e-3)
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-4)


def _words(page: dict[str, Any]) -> list[dict[str, Any]]:
    return [word for line in page["lines"] for word in line["words"]]


def ask(port: int, path: str = "/", body: Any = None, method: str = "POST", **headers: str) -> tuple[int, Any, Any]:
    """One HTTP request: status, what the JSON says, and headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), dict(answer.getheaders())
    finally:
        connection.close()


def processes(title: str) -> list[int]:
    """Ids of this cluster's processes that do what Ray writes in their titles."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            pid = int(entry.name)
            words = (entry / "cmdline").read_bytes()
            if words.startswith(b"ray::") and title.encode() in words and _is_ours(pid):
                found.append(pid)
    return sorted(found)


def _is_ours(pid: int) -> bool:
    while pid > 1:
        if pid == os.getpid():
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return False
