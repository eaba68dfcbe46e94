"""Pages over HTTP from a real Ray cluster: right under load, whatever is sent and whoever dies."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from neuronkit import load
from neuronkit.errors import ArtifactError, ImageError, OptionError
from neuronkit.ocr import OCRPipeline
from neuronkit.ocr.writers import page_text
from neuronkit.serving.ray import build_app
from neuronkit.serving.triton.server import free_ports
from tests.pictures import encode

from ..ocr.documents import check_json  # noqa: TID252  # tests are no installed package
from .ray_cluster import (
    MARKS,
    NEURON_CORES,
    ask,
    assert_same_page,
    broken,
    cluster,
    in_the_end,
    processes,
    save_artifacts,
)
from .ray_cluster import strips as make_strips
from .waiting import PATIENCE_S, wait_until

pytestmark = MARKS

MAX_BYTES = 200_000
REPLICA = "ServeReplica:neuronkit:Reader"


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    with cluster() as ray:
        yield ray


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return save_artifacts(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture(scope="module")
def local(artifacts: tuple[Path, Path]) -> OCRPipeline:
    return OCRPipeline(*map(load, artifacts))


@pytest.fixture(scope="module")
def strips() -> list[bytes]:
    return make_strips(40)


@pytest.fixture(scope="module")
def port(ray: Any) -> int:
    from ray import serve

    (number,) = free_ports("127.0.0.1", 1)
    in_the_end(lambda: serve.start(http_options={"host": "127.0.0.1", "port": number}))
    return number


@pytest.fixture(scope="module")
def handle(port: int, artifacts: tuple[Path, Path]) -> Any:
    from ray import serve

    app = build_app(
        *artifacts,
        min_replicas=2,
        max_replicas=2,
        max_request_bytes=MAX_BYTES,
        max_pixels=1_000_000,
        health_check_s=1,
        timeout_s=PATIENCE_S,
        body_timeout_s=PATIENCE_S,
    )
    return serve.run(app, name="neuronkit", route_prefix="/")


def two_replicas() -> list[int]:
    """Ids of the replicas' processes, once there are two."""
    found = processes(REPLICA)
    return found if len(found) == 2 else []


def test_two_thousand_requests_with_a_replica_killed(
    handle: Any, port: int, local: OCRPipeline, strips: list[bytes]
) -> None:
    wanted = [page.to_dict() for page in local.read_batch(strips).pages]
    assert sum(len(page["text"]) > 0 for page in wanted) > len(strips) / 2
    answered = threading.Semaphore(0)

    def client(number: int) -> tuple[int, int, Any]:
        image = strips[number % len(strips)]
        status, body, _ = ask(port, body=broken(image, number // 20) if number % 20 == 0 else image)
        answered.release()
        return number, status, body

    with ThreadPoolExecutor(16) as clients:
        answers = clients.map(client, range(2000))
        for _ in range(700):
            answered.acquire()
        first, _ = before = two_replicas()
        os.kill(first, signal.SIGKILL)
        results = list(answers)
    assert sorted(number for number, _, _ in results) == list(range(2000))
    for number, status, body in results:
        if number % 20 == 0:
            assert status == 400, (number, status, body)
            assert body["error"]
        else:
            assert status == 200, (number, status, body)
            assert_same_page(body, wanted[number % len(strips)])
    assert set(wait_until(two_replicas)) != set(before)


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        ({"body": b"no image"}, 400, "cannot be read as an image"),
        ({"body": b""}, 400, "got 0 bytes"),
        ({"body": encode(np.zeros((1001, 1000, 3), np.uint8))}, 400, "more than max_pixels=1000000"),
        ({"body": b"{}", "content_type": "application/json"}, 415, "content-type 'application/json' is no image"),
        ({"body": b"x" * (MAX_BYTES + 1)}, 413, "larger than 200000 bytes"),
        ({"body": b"x" * 30_000_000}, 413, "larger than 200000 bytes"),
        ({"body": iter([b"x" * 150_000] * 9)}, 413, "larger than 200000 bytes"),
        ({"method": "GET"}, 405, "POST the bytes of an image file"),
        ({"method": "PUT", "body": b"x"}, 405, "POST the bytes of an image file"),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_a_bad_request_is_refused(
    handle: Any, port: int, strips: list[bytes], request_: dict[str, Any], status: int, message: str
) -> None:
    got, body, headers = ask(port, **request_)
    assert (got, headers["content-type"]) == (status, "application/json")
    assert message in body["error"]
    assert ask(port, body=strips[0])[0] == 200


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "application/x-www-form-urlencoded", ""])
def test_an_image_is_read_whatever_the_client_calls_it(handle: Any, port: int, strips: list[bytes], kind: str) -> None:
    assert ask(port, body=strips[0], content_type=kind)[0] == 200


def test_the_file_of_a_form_is_read(handle: Any, port: int, strips: list[bytes]) -> None:
    def form(*fields: bytes) -> bytes:
        return b"".join(b"--b\r\nContent-Disposition: form-data; " + field + b"\r\n" for field in fields) + b"--b--\r\n"

    file = b'name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n' + strips[0]
    kind = 'multipart/form-data; boundary="b"'
    assert ask(port, body=form(file), content_type=kind)[0] == 200
    assert ask(port, body=form(b'name="language"\r\n\r\nen', file), content_type=kind)[0] == 200
    for body in (form(file, file), form(b'name="image"\r\n\r\nx'), b"", b"--b"):
        status, answer, _ = ask(port, body=body, content_type=kind)
        assert (status, "exactly one file" in answer["error"]) == (400, True)
    assert ask(port, body=form(file), content_type="multipart/form-data")[0] == 400


def test_an_answer_has_the_form_that_is_asked_for(
    handle: Any, port: int, local: OCRPipeline, strips: list[bytes]
) -> None:
    page = next(page for page in local.read_batch(strips).pages if page.words)
    image = page.source
    for accept, kind, text in (
        ("text/plain", "text/plain; charset=utf-8", page.text + "\n"),
        ("text/html", "text/html; charset=utf-8", "".join(page_text([page], "hocr"))),
        ("application/xml", "application/xml", "".join(page_text([page], "alto"))),
    ):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/", image, {"Accept": accept})
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            assert (answer.headers["content-type"], answer.read().decode()) == (kind, text)
    check_json(ask(port, body=image, accept="application/json")[1])
    status, body, _ = ask(port, body=image, accept="image/png")
    assert (status, "text/plain" in body["error"]) == (406, True)
    assert ask(port, body=b"no image", accept="text/html")[0] == 400


def test_half_sent_bodies_keep_nobody_out(handle: Any, port: int, strips: list[bytes]) -> None:
    begun = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\nx"
    with contextlib.ExitStack() as sockets:
        for _ in range(1_100):
            sockets.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S)).sendall(begun)
        # Far within the body's time, which PATIENCE_S is here.
        assert ask(port, body=strips[0])[0] == 200


def test_a_client_that_hangs_up_is_no_error_to_log() -> None:
    """Ray cancels what waits for the body, and logs what is raised with its traceback."""
    from ray.exceptions import TaskCancelledError
    from starlette.requests import Request  # type: ignore[import-not-found, unused-ignore]

    from neuronkit.serving.ray.ingress import Ingress

    async def gone() -> Any:
        raise TaskCancelledError

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    ingress = Ingress(None, SimpleNamespace(body_timeout_s=PATIENCE_S, max_request_bytes=9))
    assert asyncio.run(ingress(Request(scope, gone))).status_code == 400


def test_the_handle_gives_the_same(handle: Any, local: OCRPipeline, strips: list[bytes]) -> None:
    assert_same_page(json.loads(handle.remote(strips[0]).result()), local.read_batch(strips[:1]).pages[0].to_dict())
    with pytest.raises(ImageError, match="cannot be read as an image"):
        handle.remote(b"no image").result()
    with pytest.raises(ImageError, match="larger than"):
        handle.remote(b"x" * (MAX_BYTES + 1)).result()
    with pytest.raises(ImageError, match="got a int"):
        handle.remote(3).result()


def scrape(ray: Any) -> Counter[str]:
    """Sums of neuronkit's metrics over all replicas, as Prometheus gets them."""
    (node,) = ray.nodes()
    connection = http.client.HTTPConnection(node["NodeManagerAddress"], node["MetricsExportPort"], timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    sums: Counter[str] = Counter()
    for name, labels, value in re.findall(r"^ray_neuronkit_(\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
        for key in ("outcome", "status", "model"):
            if found := re.search(rf'{key}="(\w+)"', labels):
                name += f":{found[1]}"
        sums[name] += float(value)
    return sums


def test_metrics_show_that_requests_share_batches(ray: Any, handle: Any, port: int, strips: list[bytes]) -> None:
    with ThreadPoolExecutor(16) as clients:
        assert {status for status, _, _ in clients.map(lambda strip: ask(port, body=strip), strips * 4)} == {200}

    def settled() -> dict[str, float] | Counter[str]:
        # Replicas report every few seconds, each by itself: what is scraped first may be from the midst of the load.
        found = scrape(ray)
        at_rest = found.get("queue_length") == 0 and found["batch_fill_count"] == found["batches_total"]
        return found if at_rest and found["pages_total:read"] >= 160 <= found["answers_total:200"] else {}

    found = wait_until(settled, message=lambda: scrape(ray))
    # Clients' requests were read together, and the detector's canvases are larger than the strips.
    assert found["batches_total"] < found["pages_total:read"] / 1.5
    assert 0 < found["padding_waste_sum:detector"] < found["padding_waste_count:detector"]
    assert 0 <= found["padding_waste_sum:recognizer"] < found["padding_waste_count:recognizer"]
    for name in ("wait_seconds_count", "read_seconds_count"):
        assert found[name] >= 160, name


@pytest.fixture(scope="module")
def single(port: int, artifacts: tuple[Path, Path]) -> Iterator[str]:
    """Route of an application with one replica on one NeuronCore, whose artifacts travel as bytes."""
    from ray import serve

    models = [path.read_bytes() for path in artifacts]
    app = build_app(
        *models, neuron_cores=1, num_cpus=0, max_replicas=1, batch_size=1, timeout_s=3, max_queued_requests=2
    )
    serve.run(app, name="single", route_prefix="/single")
    yield "/single"
    serve.delete("single")


def test_a_replica_takes_its_neuron_cores(ray: Any, single: str, port: int, strips: list[bytes]) -> None:
    wait_until(lambda: ask(port, single, strips[0])[0] == 200)
    wait_until(
        lambda: ray.available_resources().get("neuron_cores") == NEURON_CORES - 1, message=ray.available_resources
    )

    @ray.remote(resources={"neuron_cores": 1}, num_cpus=0)
    def visible() -> str | None:
        return os.environ.get("NEURON_RT_VISIBLE_CORES")

    # What the replica relies on: Ray gives out the cores, one by one, before anything of ours runs.
    assert ray.get(visible.remote()) in ("0", "1")


def test_a_frozen_replica_costs_time_and_no_answer(single: str, port: int, strips: list[bytes]) -> None:
    (replica,) = processes("ServeReplica:single:Reader")
    os.kill(replica, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(32) as clients:
            answers = list(clients.map(lambda strip: ask(port, single, strip), strips[:32]))
    finally:
        os.kill(replica, signal.SIGCONT)
    # Those for which there is no room hear so at once, the others when their time is over.
    assert {status for status, _, _ in answers} == {503, 504}
    assert {body["error"] for status, body, _ in answers if status == 504} == {"the image was not read within 3 s"}
    assert {headers["retry-after"] for status, _, headers in answers if status == 503} == {"1"}
    wait_until(lambda: ask(port, single, strips[0])[0] == 200)


def test_what_is_at_work_is_finished_before_a_shutdown(
    ray: Any, port: int, artifacts: tuple[Path, Path], strips: list[bytes]
) -> None:
    from ray import serve

    # The batch is never full, so that its requests are still waiting when the application is deleted.
    wait_s = 10
    app = build_app(*artifacts, batch_size=16, batch_wait_s=wait_s, max_replicas=1, num_cpus=0, drain_s=PATIENCE_S)
    handle = serve.run(app, name="leaving", route_prefix="/leaving")
    begin = time.monotonic()
    asked = [handle.remote(strip) for strip in strips[:10]]
    # All have arrived; or, where the machine is slow in telling so, they have been read by now.
    wait_until(lambda: scrape(ray).get("queue_length") == 10 or time.monotonic() > begin + wait_s)
    serve.delete("leaving")
    assert [json.loads(answer.result(timeout_s=PATIENCE_S))["error"] for answer in asked] == [None] * 10


def test_a_replica_whose_models_fail_is_unhealthy(ray: Any, artifacts: tuple[Path, Path], strips: list[bytes]) -> None:
    from neuronkit.serving.artifact import ServedArtifact
    from neuronkit.serving.ray.options import AppOptions
    from neuronkit.serving.ray.replica import Reader

    detector, recognizer = (ServedArtifact.of(role, path) for role, path in zip(("detector", "recognizer"), artifacts))
    options = AppOptions(4, 0.0, 1, 1, 1.0, 0, 60.0, 10.0, 1000, 1000000, 10, 3, 1.0, 1.0)

    async def scenario() -> None:
        reader = Reader(detector, recognizer, options)
        finder = reader._reader._stages.finder
        find = finder.find
        finder.find = lambda opened: (_ for _ in ()).throw(RuntimeError("the device is gone"))  # type: ignore[method-assign]
        for _ in range(3):
            reader.check_health()
            status, text = await reader(strips[0])
            assert (status, json.loads(text)) == (
                500,
                {"error": "the models failed on this image: RuntimeError: the device is gone"},
            )
        with pytest.raises(RuntimeError, match="failed on the last 3 images"):
            reader.check_health()
        finder.find = find  # type: ignore[method-assign]
        assert (await reader(strips[0]))[0] == 200
        reader.check_health()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "got batch_size=0; expected a whole number"),
        ({"batch_wait_s": -1}, "got batch_wait_s=-1; expected a finite number"),
        ({"max_replicas": 1, "min_replicas": 2}, "max_replicas=1 is less than min_replicas=2"),
        ({"timeout_s": 0}, "got timeout_s=0; expected a finite number above 0"),
        ({"neuron_cores": 1.5}, "got neuron_cores=1.5; expected a whole number"),
        ({"max_request_bytes": "1"}, "got max_request_bytes='1'; expected a whole number"),
    ],
)
def test_bad_options_are_refused(artifacts: tuple[Path, Path], options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        build_app(*artifacts, **options)


def test_wrong_artifacts_are_refused(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    detector, recognizer = artifacts
    with pytest.raises(OptionError, match="got an artifact of role recognizer"):
        build_app(recognizer, detector)
    with pytest.raises(ArtifactError, match="cannot be read"):
        build_app(tmp_path / "missing.pt", recognizer)
    with pytest.raises(OptionError, match="recognizer: got 3; expected an artifact"):
        build_app(detector, 3)  # type: ignore[arg-type]
