"""A real tritonserver serves what was exported; over HTTP and gRPC, clients get what the local call gives."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import random
import re
import signal
import socket
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from neuronkit import FixedShape, TensorSpec, compile_for_inferentia, load
from neuronkit.demo.pages import PageStyle, render_page
from neuronkit.errors import ServerError
from neuronkit.ocr import OCRPipeline
from neuronkit.serving.triton import Server, export_repository, serve
from neuronkit.serving.triton.probe import main, probe
from tests.pictures import encode

from ..ocr.documents import check_hocr, check_json  # noqa: TID252  # tests are no installed package
from .waiting import PATIENCE_S, wait_until

pytestmark = [pytest.mark.serving, pytest.mark.slow]

REQUESTS, CLIENTS, BROKEN_SHARE = 2_000, 16, 0.05
MAX_PIXELS = 200_000
_TRITON_TYPES = {"float32": "FP32", "int32": "INT32", "object": "BYTES"}


@pytest.fixture(scope="module")
def repository(detector_path: Path, recognizer_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("triton") / "models"
    export_repository(
        [detector_path, recognizer_path],
        directory,
        max_pixels=MAX_PIXELS,
        queue_timeout_s=PATIENCE_S,
        # Slow machines let requests pile up.
        max_queue_size=1_000,
    )
    return directory


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[Server]:
    summaries = "--metrics-config=summary_latencies=true"
    # Requests of a probe would be counted.
    with serve(repository, arguments=[summaries], ready_timeout_s=PATIENCE_S, probe_interval_s=None) as running:
        yield running


class Client:
    """tritonclient, the same way over both protocols."""

    def __init__(self, server: Server, protocol: str) -> None:
        import tritonclient.grpc
        import tritonclient.http

        self._library = {"http": tritonclient.http, "grpc": tritonclient.grpc}[protocol]
        patience = {"connection_timeout": PATIENCE_S, "network_timeout": PATIENCE_S} if protocol == "http" else {}
        self._client = self._library.InferenceServerClient(getattr(server, protocol), **patience)

    def __call__(
        self, model: str, inputs: dict[str, NDArray[Any]], outputs: tuple[str, ...] = (), **options: Any
    ) -> dict[str, NDArray[Any]]:
        tensors = []
        for name, array in inputs.items():
            tensors.append(self._library.InferInput(name, array.shape, _TRITON_TYPES[str(array.dtype)]))
            tensors[-1].set_data_from_numpy(array)
        wanted = [self._library.InferRequestedOutput(name) for name in outputs]
        result = self._client.infer(model, tensors, outputs=wanted, **options)
        return {name: result.as_numpy(name) for name in outputs}

    def close(self) -> None:
        self._client.close()


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, server: Server) -> Iterator[Client]:
    with contextlib.closing(Client(server, request.param)) as connected:
        yield connected


def metrics(server: Server) -> Counter[str]:
    """Sums over instances, by metric and model: "name model graph"."""
    with urllib.request.urlopen(server.metrics) as page:
        lines = page.read().decode().splitlines()
    found: Counter[str] = Counter()
    for line in lines:
        name, labels, value = re.fullmatch(r"(\w+)(?:{(.*)})? (\S+)", line).groups() if line[0] != "#" else ("", "", 0)
        known = dict(re.findall(r'(\w+)="(.*?)"', labels or ""))
        found[" ".join(filter(None, (name, known.get("model"), known.get("graph"))))] += float(value)
    return found


def strings(*contents: bytes) -> NDArray[Any]:
    return np.array([[content] for content in contents], object)


def png(seed: int, height: int, width: int) -> bytes:
    return encode(render_page(np.random.default_rng(seed), (height, width), PageStyle(font_sizes=(18, 26))).image)


@dataclass(frozen=True)
class Case:
    """A request and what must come of it.

    Attributes:
        model: Which model it goes to.
        inputs: By name.
        expected: What the local call gives, by name; None where an error must come.
    """

    model: str
    inputs: dict[str, NDArray[Any]]
    expected: dict[str, NDArray[Any]] | None

    def matches(self, got: dict[str, NDArray[Any]]) -> bool:
        return self.expected is not None and all(same(got[name], array) for name, array in self.expected.items())


def same(got: NDArray[Any], expected: NDArray[Any]) -> bool:
    if expected.dtype == object:
        return [alike(a, b) for a, b in zip(got.ravel(), expected.ravel(), strict=True)].count(False) == 0
    return got.shape == expected.shape and bool(np.allclose(got, expected, rtol=0, atol=1e-5))


def alike(got: bytes, expected: bytes) -> bool:
    """Whether texts are equal, but for the last digits of the numbers of a page."""
    number = re.compile(rb"-?\d+\.\d+(?:e-?\d+)?")
    numbers = [[float(value) for value in number.findall(text)] for text in (got, expected)]
    return number.sub(b"", got) == number.sub(b"", expected) and bool(np.allclose(*numbers, rtol=1e-5, atol=1e-5))


@pytest.fixture(scope="module")
def good_cases(detector_path: Path, recognizer_path: Path) -> dict[str, list[Case]]:
    """Requests of mixed sizes, and what the local call gives for each."""
    detector, recognizer = load(detector_path), load(recognizer_path)
    rng = np.random.default_rng(0)
    find, pipeline = FixedShape(detector, output_sizes=0.5), OCRPipeline(detector, recognizer)
    words, maps, pages = [], [], []
    crops = [png(seed, int(h), int(w)) for seed, (h, w) in enumerate(rng.integers((20, 40), (60, 160), (40, 2)))]
    inputs = recognizer.processor.preprocess(crops)
    logits = FixedShape(recognizer)(torch.from_numpy(inputs)).numpy()
    for crop, tensor, scores, read in zip(crops, inputs, logits, recognizer.processor.postprocess(logits)):
        expected = {"text": strings(read.text.encode()), "confidence": np.array([[read.confidence]], np.float32)}
        words.append(Case("recognizer", {"image": strings(crop)}, expected))
        words.append(Case("recognizer", {"images": tensor[None]}, {**expected, "logits": scores[None]}))
    for height, width in rng.integers(1, (4, 8), (12, 2)) * 32:
        images = rng.standard_normal((1, 3, height, width)).astype(np.float32)
        maps.append(Case("detector", {"images": images}, {"score_maps": find(torch.from_numpy(images))[0].numpy()}))
    for seed in range(10):
        page = png(100 + seed, 60 + 3 * seed, 150 + 7 * seed)
        pages.append(
            Case(
                "reader",
                {"image": strings(page)},
                {"page": strings(pipeline.read_batch([page]).pages[0].to_json().encode())},
            )
        )
    assert any(case.expected and b'"text": "' in case.expected["page"][0, 0] for case in pages)
    return {"words": words, "maps": maps, "pages": pages}


def broken_cases() -> list[Case]:
    whole = png(1, 60, 160)
    files = [b"", b"no image", whole[: len(whole) // 2], whole[::-1], png(2, 500, 500)]
    tensors = [
        ("detector", (1, 3, 128, 64), np.float32),  # higher than the canvas
        ("detector", (1, 4, 32, 32), np.float32),
        ("detector", (2, 3, 32, 32), np.float32),  # more rows than the batch
        ("detector", (1, 3, 32, 32), np.int32),
        ("recognizer", (1, 3, 32, 100), np.float32),
        ("recognizer", (9, 3, 32, 128), np.float32),
    ]
    return [
        *(Case(model, {"image": strings(content)}, None) for model in ("recognizer", "reader") for content in files),
        *(Case(model, {"images": np.zeros(shape, dtype)}, None) for model, shape, dtype in tensors),
    ]


def mixed(good: dict[str, list[Case]], seed: int) -> list[Case]:
    """All requests of the large test, in a random order: mostly words, some maps, a few pages, some broken."""
    rng = random.Random(seed)
    broken = round(REQUESTS * BROKEN_SHARE)
    pages, maps = round(REQUESTS * 0.05), round(REQUESTS * 0.15)
    cases = rng.choices(broken_cases(), k=broken)
    cases += rng.choices(good["pages"], k=pages) + rng.choices(good["maps"], k=maps)
    cases += rng.choices(good["words"], k=REQUESTS - len(cases))
    rng.shuffle(cases)
    return cases


def send(client: Client, case: Case) -> str:
    """What became of a request: "right", "wrong", "error" or "refused by name"."""
    from tritonclient.utils import InferenceServerException

    outputs = {"detector": ("score_maps",), "recognizer": ("text",), "reader": ("page",)}[case.model]
    try:
        got = client(case.model, case.inputs, tuple(case.expected) if case.expected else outputs)
    except InferenceServerException as error:
        return "error" if error.message() else "error without a message"
    return "right" if case.matches(got) else "wrong"


def test_2000_requests_from_16_clients(server: Server, good_cases: dict[str, list[Case]]) -> None:
    cases = mixed(good_cases, seed=1)
    before = metrics(server)

    def run(number: int) -> Counter[tuple[str, str]]:
        results: Counter[tuple[str, str]] = Counter()
        with contextlib.closing(Client(server, ("http", "grpc")[number % 2])) as client:
            for case in cases[number::CLIENTS]:
                results["good" if case.expected else "broken", send(client, case)] += 1
        return results

    with ThreadPoolExecutor(CLIENTS) as clients:
        results = sum(clients.map(run, range(CLIENTS)), Counter())
    broken = sum(case.expected is None for case in cases)
    assert results == {("good", "right"): REQUESTS - broken, ("broken", "error"): broken}
    assert broken == 100

    spent = metrics(server)
    spent.subtract(before)
    rows, batch_rows = (spent[f"neuronkit_{name}_total recognizer model"] for name in ("rows", "batch_rows"))
    assert 1.5 / 8 < rows / batch_rows <= 1, "requests of several clients did not share batches"
    assert rows == sum(case.model == "recognizer" and case.expected is not None for case in cases)
    assert spent["neuronkit_rows_total reader detector"] == sum(
        case.model == "reader" and case.expected is not None for case in cases
    )
    valid, canvas = (spent[f"neuronkit_{name}_pixels_total detector model"] for name in ("valid", "canvas"))
    assert 0 < valid < canvas
    assert 0 < spent["neuronkit_request_errors_total recognizer"] < broken
    assert spent["neuronkit_queue_seconds_total recognizer"] > 0
    assert spent["neuronkit_seconds_total recognizer model"] > 0
    assert spent["nv_inference_request_summary_us_count recognizer"] > 0


def test_memory_stays_flat(server: Server, good_cases: dict[str, list[Case]]) -> None:
    """Requests, good and broken, over and over: once everything is warm, two further rounds cost no memory."""
    cases = [*good_cases["words"][:40], *good_cases["maps"], *good_cases["pages"], *broken_cases()]
    sizes: list[int] = []
    with contextlib.closing(Client(server, "grpc")) as client:
        while len(sizes) < 4 or (sizes[-1] - sizes[-3] > 4 << 20 and len(sizes) < 12):
            for case in cases:
                send(client, case)
            sizes.append(resident_bytes(server.process.pid))
    assert sizes[-1] - sizes[-3] <= 4 << 20, sizes


def descendants(pid: int) -> list[int]:
    """The processes that a server started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end meanwhile.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *descendants(child)]
    return found


def resident_bytes(pid: int) -> int:
    """Of a server and the processes that it started."""
    statuses = (Path(f"/proc/{process}/status").read_text() for process in (pid, *descendants(pid)))
    return sum(int(kilobytes) * 1024 for status in statuses for kilobytes in re.findall(r"VmRSS:\s+(\d+)", status))


def throughput(server: Server, case: Case, clients: int, seconds: float) -> float:
    """Requests a second of clients that each send their next when they have an answer."""
    connected = [Client(server, "grpc") for _ in range(clients)]
    begin = threading.Barrier(clients)

    def run(client: Client) -> int:
        begin.wait()
        end, count = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            client(case.model, case.inputs, ("text",))
            count += 1
        client.close()
        return count

    with ThreadPoolExecutor(clients) as threads:
        return sum(threads.map(run, connected)) / seconds


def test_two_clients_share_batches(server: Server, good_cases: dict[str, list[Case]]) -> None:
    # The best of some: on a busy machine the two may rarely run at the same time.
    shares: list[float] = []
    while not shares or (min(shares) >= 0.75 and len(shares) < 5):
        before = metrics(server)
        throughput(server, good_cases["words"][0], clients=2, seconds=1.0)
        spent = metrics(server)
        spent.subtract(before)
        rows, batch_rows = (spent[f"neuronkit_{name}_total recognizer model"] for name in ("rows", "batch_rows"))
        shares.append(batch_rows / 8 / rows)
    assert min(shares) < 0.75, shares


def test_throughput_grows_with_the_clients(server: Server, good_cases: dict[str, list[Case]]) -> None:
    # In turns, and the best of some, because the machine has other work.
    case = good_cases["words"][1]
    ratios: list[float] = []
    while not ratios or (max(ratios) < 1.5 and len(ratios) < 5):
        one, many = (throughput(server, case, clients, 1.0) for clients in (1, 16))
        ratios.append(many / one)
    assert max(ratios) >= 1.5, ratios


def test_a_request_that_waits_too_long_is_refused_alone(server: Server, good_cases: dict[str, list[Case]]) -> None:
    from tritonclient.utils import InferenceServerException

    case, refused = good_cases["pages"][0], threading.Event()

    def ask(timeout_us: int) -> str:
        with contextlib.closing(Client(server, "grpc")) as client:
            try:
                got = client("reader", case.inputs, ("page",), timeout=timeout_us)
            except InferenceServerException as error:
                return error.message()
            return "right" if case.matches(got) else "wrong"

    def ask_patiently() -> list[str]:
        answers = [ask(0)]
        while not refused.is_set():
            answers.append(ask(0))
        return answers

    with ThreadPoolExecutor(8) as clients:
        patient = [clients.submit(ask_patiently) for _ in range(8)]
        try:
            wait_until(lambda: metrics(server)["neuronkit_waiting_requests reader"] >= 2)
            # Where it happens to find an empty queue, it is read.
            message = wait_until(lambda: (answer := ask(1)) != "right" and answer)
        finally:
            refused.set()
    assert "timeout" in str(message).lower()
    assert {answer for future in patient for answer in future.result()} == {"right"}


def test_messages_say_what_is_wrong(client: Client) -> None:
    from tritonclient.utils import InferenceServerException

    for inputs, message in (
        ({"image": strings(b"no image")}, "cannot be read as an image"),
        ({"image": strings(png(2, 500, 500))}, f"more than max_pixels={MAX_PIXELS}"),
    ):
        with pytest.raises(InferenceServerException, match=message) as raised:
            client("reader", inputs, ("page",))
        assert raised.value.status() in ("400", "StatusCode.INVALID_ARGUMENT")


def test_several_rows_in_one_request(client: Client, good_cases: dict[str, list[Case]]) -> None:
    words = [case for case in good_cases["words"] if "image" in case.inputs][:5]
    got = client("recognizer", {"image": np.concatenate([case.inputs["image"] for case in words])}, ("text",))
    assert got["text"].tolist() == [case.expected["text"][0].tolist() for case in words if case.expected]


class Constant(nn.Module):
    """Adds a number that tells versions apart."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.value


def test_a_new_version_takes_over_under_load(tmp_path: Path) -> None:
    """Two instances; the second version has another batch size; no request fails, and no process stays behind.

    The rows of this graph are single numbers, for which Triton wants a dimension of their own.
    """

    def export(value: float, rows: int) -> None:
        compiled = compile_for_inferentia(Constant(value), TensorSpec("x", (rows,)), target="cpu")
        export_repository({"m": compiled}, tmp_path / "models", instances=2, queue_timeout_s=PATIENCE_S)

    export(1.0, rows=4)
    polling = ("--model-control-mode=poll", "--repository-poll-secs=1")
    values: list[float] = []
    with (
        serve(tmp_path / "models", arguments=polling, ready_timeout_s=PATIENCE_S) as server,
        contextlib.closing(Client(server, "grpc")) as client,
    ):

        def taken_over() -> bool:
            for _ in range(20):
                values.append(float(client("m", {"x": np.zeros((1, 1), np.float32)}, ("output_0",))["output_0"][0, 0]))
            if len(values) == 20:
                export(2.0, rows=2)
            return values[-10:] == [2.0] * 10

        wait_until(taken_over, message=lambda: values[-10:])
        stubs = descendants(server.process.pid)
        assert len(stubs) >= 2
    assert values[:20] == [1.0] * 20
    assert values == sorted(values)
    assert not [pid for pid in (server.process.pid, *stubs) if Path(f"/proc/{pid}").exists()]


def test_a_server_that_cannot_load_says_why(tmp_path: Path) -> None:
    compiled = compile_for_inferentia(Constant(1.0), TensorSpec("x", (1, 2)), target="cpu")
    artifact = export_repository({"m": compiled}, tmp_path)["m"] / "model.pt"
    artifact.write_bytes(artifact.read_bytes()[:-100])
    with pytest.raises(ServerError, match="is not a whole artifact"), serve(tmp_path, ready_timeout_s=PATIENCE_S):
        pass


def test_cancelled_requests_are_not_computed(server: Server, good_cases: dict[str, list[Case]]) -> None:
    """They wait behind others: tritonserver 2.51 may crash where the cancellation meets the answer (docs/triton.md)."""
    import tritonclient.grpc

    case = good_cases["pages"][0]
    image = tritonclient.grpc.InferInput("image", [1, 1], "BYTES")
    image.set_data_from_numpy(case.inputs["image"])
    before = metrics(server)

    def waiting() -> float:
        return metrics(server)["neuronkit_waiting_requests reader"]

    with contextlib.closing(tritonclient.grpc.InferenceServerClient(server.grpc)) as client:
        answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        refusals: queue.SimpleQueue[str] = queue.SimpleQueue()
        ahead, cancelled = 100, 200
        for _ in range(ahead):
            client.async_infer("reader", [image], lambda result, error: answers.put(error is None))
        calls = [
            client.async_infer("reader", [image], lambda result, error: refusals.put(str(error)))
            for _ in range(cancelled)
        ]
        wait_until(lambda: waiting() > cancelled, message=waiting)
        for call in calls:
            call.cancel()
        assert all("cancelled" in refusals.get(timeout=PATIENCE_S).lower() for _ in calls)
        with contextlib.closing(Client(server, "grpc")) as good:
            assert send(good, case) == "right"
        assert all(answers.get(timeout=PATIENCE_S) for _ in range(ahead))

    def spent(name: str) -> float:
        return metrics(server)[name] - before[name]

    wait_until(lambda: spent("neuronkit_refused_requests_total reader") == cancelled)
    assert spent("neuronkit_rows_total reader detector") == ahead + 1


def http_body(kind: str, file: bytes) -> tuple[bytes, dict[str, str]]:
    """A request for the reader, as JSON or as the file itself, and its headers."""
    if kind == "raw":
        return file, {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "0"}
    tensor = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": [base64.b64encode(file).decode()]}
    return json.dumps({"inputs": [tensor]}).encode(), {"Content-Type": "application/json"}


@pytest.mark.parametrize("kind", ["json", "raw"])
def test_abandoned_http_requests_hold_up_others_by_the_queue_alone(
    kind: str, detector_path: Path, recognizer_path: Path, good_cases: dict[str, list[Case]], tmp_path: Path
) -> None:
    """A client over HTTP that has gone is not noticed: what waits is computed, the rest is refused."""
    from tritonclient.utils import InferenceServerException

    export_repository({"reader": (detector_path, recognizer_path)}, tmp_path / "models")
    case = good_cases["pages"][0]
    content, headers = http_body(kind, case.inputs["image"][0, 0])
    lines = [f"{name}: {value}" for name, value in {**headers, "Content-Length": str(len(content))}.items()]
    head = "\r\n".join(["POST /v2/models/reader/infer HTTP/1.1", "Host: localhost", *lines, "", ""])
    with serve(tmp_path / "models", ready_timeout_s=PATIENCE_S, probe_interval_s=None) as server:
        host, port = server.http.split(":")
        for _ in range(200):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(head.encode() + content)
        with contextlib.closing(Client(server, "grpc")) as good:
            refusals = []

            def answered() -> bool:
                try:
                    return case.matches(good("reader", case.inputs, ("page",)))
                except InferenceServerException as error:
                    refusals.append(error.message())
                    return False

            wait_until(answered)

        def computed_and_refused() -> tuple[float, float]:
            seen = metrics(server)
            return seen["neuronkit_rows_total reader detector"], seen["neuronkit_refused_requests_total reader"]

        wait_until(lambda: sum(computed_and_refused()) == 201 + len(refusals), message=computed_and_refused)
        computed, refused = computed_and_refused()
    assert set(refusals) <= {"the queue is full"}
    # As many as the queue holds, the one at work, and what came while these were computed.
    assert refused > computed


def test_no_request_waits_while_the_model_is_idle(server: Server, good_cases: dict[str, list[Case]]) -> None:
    """What comes while a batch is at work follows it at once: tritonserver's own queue pauses for half a second."""
    import tritonclient.grpc

    image = tritonclient.grpc.InferInput("image", [1, 1], "BYTES")
    image.set_data_from_numpy(good_cases["pages"][0].inputs["image"])
    before = metrics(server)
    ended = threading.Semaphore(0)
    begin = time.perf_counter()
    with contextlib.closing(tritonclient.grpc.InferenceServerClient(server.grpc)) as client:
        for _ in range(40):
            client.async_infer("reader", [image], lambda result, error: ended.release())
        for _ in range(40):
            assert ended.acquire(timeout=PATIENCE_S)
    seconds = time.perf_counter() - begin
    spent = metrics(server)
    spent.subtract(before)
    busy = sum(spent[f"neuronkit_seconds_total reader {graph}"] for graph in ("detector", "recognizer"))
    assert seconds < 4 * busy, (seconds, busy)


def test_json_and_raw_bodies(server: Server, good_cases: dict[str, list[Case]]) -> None:
    case = good_cases["pages"][0]
    file = case.inputs["image"][0, 0]
    url = f"http://{server.http}/v2/models/reader/infer"
    text = base64.b64encode(file).decode()
    for data in (text, f"data:image/png;base64,{text}", base64.encodebytes(file).decode()):
        tensor = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": [data]}
        with urllib.request.urlopen(url, json.dumps({"inputs": [tensor]}).encode()) as answer:
            found = {output["name"]: output["data"][0] for output in json.load(answer)["outputs"]}
        assert found["page"] == case.expected["page"][0, 0].decode()
        assert found["text"] == json.loads(found["page"])["text"]
        assert [word for word, _ in check_hocr(found["hocr"].encode())] == found["text"].split()
        check_json(json.loads(found["page"]))
    with urllib.request.urlopen(urllib.request.Request(url, *http_body("raw", file))) as answer:
        assert answer.read().endswith(case.expected["page"][0, 0])


@pytest.fixture
def alone(recognizer_path: Path, tmp_path: Path) -> Path:
    """A repository of one model."""
    export_repository(recognizer_path, tmp_path / "models")
    return tmp_path / "models"


def stub_of(server: Server) -> int:
    (pid,) = [pid for pid in descendants(server.process.pid) if b"stub" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return pid


def test_a_killed_model_process_is_noticed(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.ExitStack() as stack:
        # Some servers end by themselves then.
        reason = r"(?s)ended, since a model does not answer.*recognizer|before the end of its block"
        stack.enter_context(pytest.raises(ServerError, match=reason))
        server = stack.enter_context(serve(alone, ready_timeout_s=PATIENCE_S, probe_interval_s=0.5))
        assert probe(server.http, timeout_s=PATIENCE_S) == ["recognizer"]
        assert main([server.http]) == 0
        os.kill(stub_of(server), signal.SIGKILL)
        with urllib.request.urlopen(f"http://{server.http}/v2/health/ready") as page:
            assert page.status == 200
        with pytest.raises(ServerError, match=r"recognizer.*restart the server"):
            probe(server.http, timeout_s=PATIENCE_S)
        assert main([server.http]) == 1
        wait_until(lambda: server.process.poll() is not None)
    assert "recognizer" in capsys.readouterr().err
    with pytest.raises(ServerError, match="got no answer"):
        probe(server.http)


def test_a_model_process_ends_with_its_server(alone: Path) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(pytest.raises(ServerError, match="was killed by SIGKILL before the end of its block"))
        server = stack.enter_context(serve(alone, ready_timeout_s=PATIENCE_S, probe_interval_s=None))
        stub = stub_of(server)
        os.kill(server.process.pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{stub}").exists())
