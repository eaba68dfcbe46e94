"""What holds of neuronkit.serving.ray where Ray is not installed, broken or old; and its parts that need no Ray."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import neuronkit.serving
from neuronkit import CompiledModel, TensorSpec, compile_for_inferentia
from neuronkit.errors import MissingDependencyError, OptionError
from neuronkit.serving.artifact import ServedArtifact
from neuronkit.serving.ray import build_app, read_dataset, read_results
from neuronkit.serving.ray.answers import negotiate
from neuronkit.serving.ray.batching import Batcher
from neuronkit.serving.ray.journal import Journal
from neuronkit.serving.ray.results import ResultStore

CALLS = {
    "build_app": lambda: build_app("detector.pt", "recognizer.pt"),
    "read_dataset": lambda: read_dataset([], "output", detector="detector.pt", recognizer="recognizer.pt"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_without_ray_the_error_says_how_to_install_it(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r'Ray.*not installed.*pip install "ray\[serve,data\]"'):
        call()


@pytest.mark.tooling
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('__version__ = "1.13.0"', "Ray 1.13.0 is installed, and neuronkit.serving.ray needs 2.40 or newer"),
        ('__version__ = "2.60.0"', "cannot be imported"),
        ("import nonsense_that_is_missing", "nonsense_that_is_missing"),
        ("raise OSError('libray.so: cannot open')", "libray.so: cannot open"),
    ],
    ids=["old", "without its libraries", "incomplete", "broken"],
)
def test_a_ray_that_does_not_fit_is_named(source: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text(source)
    code = (
        "from neuronkit.serving.ray import build_app, read_dataset\n"
        "for call in (lambda: build_app('a', 'b'), lambda: read_dataset([], 'o', detector='a', recognizer='b')):\n"
        "    try:\n        call()\n    except ImportError as error:\n        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, env={"PYTHONPATH": "."}
    )
    told = done.stdout.splitlines()
    assert len(told) == 2
    for line in told:
        assert message in line
        assert 'pip install "ray[serve,data]"' in line


def test_names_are_found_where_they_are_expected() -> None:
    assert neuronkit.serving.ray.build_app is build_app
    names = {"DatasetReport", "build_app", "read_dataset", "read_results", "serve_app"}
    assert names == set(neuronkit.serving.ray.__all__) <= set(dir(neuronkit.serving.ray))
    with pytest.raises(AttributeError, match="it has DatasetReport, build_app"):
        _ = neuronkit.serving.ray.nonsense
    with pytest.raises(AttributeError, match="it has cores, ray, triton"):
        _ = neuronkit.serving.nonsense


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/plain", "text/plain"),
        ("text/*", "text/plain"),
        ("TEXT/HTML;q=0.5, application/json;q=0.4", "text/html"),
        ("application/*;q=0.2, application/json;q=0", "application/xml"),
        ("*/*, application/json;q=0.1", "text/plain"),
        ("text/csv; charset=utf-8", "text/csv"),
        ("image/png, */*;q=0.1", "application/json"),
        ("image/png", None),
        ("text/html;q=0", None),
        ("text/html;q=much", None),
        (",;,=", None),
    ],
)
def test_the_form_of_an_answer_is_negotiated(accept: str, kind: str | None) -> None:
    assert negotiate(accept) == kind


class Recorder:
    """A function on lists that notes its batches, fails on "bad", and can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.waits: list[list[float]] = []
        self.free = threading.Event()
        self.free.set()

    def __call__(self, items: list[str]) -> list[str]:
        self.batches.append(items)
        assert self.free.wait(20)
        if "bad" in items:
            raise ValueError("a bad item")
        return [item.upper() for item in items]

    def batcher(self, size: int = 4, wait_s: float = 0.0) -> Batcher:
        return Batcher(self, size=size, wait_s=wait_s, observe=self.waits.append)


def test_what_comes_while_a_batch_is_at_work_is_one_batch() -> None:
    record = Recorder()
    record.free.clear()

    async def scenario() -> list[str]:
        batcher = record.batcher()
        first = asyncio.create_task(batcher("a"))
        while not record.batches:
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(batcher(item)) for item in "bcdef"]
        await asyncio.sleep(0)
        assert batcher.waiting == 5
        assert batcher.running_s > 0
        record.free.set()
        answers = await asyncio.gather(first, *others)
        assert (batcher.waiting, batcher.running_s) == (0, 0)
        return answers

    assert asyncio.run(scenario()) == list("ABCDEF")
    assert record.batches == [["a"], list("bcde"), ["f"]]
    assert [len(waits) for waits in record.waits] == [1, 4, 1]


def test_a_batch_waits_for_others_and_not_longer_than_it_may() -> None:
    record = Recorder()

    async def scenario() -> float:
        batcher = record.batcher(wait_s=600)
        full = [asyncio.create_task(batcher(item)) for item in "abc"]
        await asyncio.sleep(0.01)
        await asyncio.wait_for(asyncio.gather(batcher("d"), *full), 60)
        batcher = record.batcher(wait_s=0.3)
        start = time.monotonic()
        await batcher("e")
        return time.monotonic() - start

    assert 0.25 < asyncio.run(scenario()) < 60
    assert [sorted(batch) for batch in record.batches] == [list("abcd"), ["e"]]


def test_an_item_that_fails_fails_alone() -> None:
    record = Recorder()

    async def scenario() -> list[Any]:
        batcher = record.batcher(wait_s=0.05)
        return await asyncio.gather(*map(batcher, ["a", "bad", "c"]), return_exceptions=True)

    first, error, last = asyncio.run(scenario())
    assert (first, last) == ("A", "C")
    assert isinstance(error, ValueError)


def test_an_item_nobody_waits_for_is_not_worked_on() -> None:
    record = Recorder()

    async def scenario() -> None:
        batcher = record.batcher(size=2, wait_s=0.05)
        gone = asyncio.create_task(batcher("a"))
        await asyncio.sleep(0)
        gone.cancel()
        assert await batcher("b") == "B"

    asyncio.run(scenario())
    assert record.batches == [["b"]]


def part(store: ResultStore, *names: str) -> str:
    return store.write_part((name, {"text": name.upper()}) for name in names)


def test_only_what_was_committed_is_a_result(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "output")
    with store.open("models"):
        kept, _ = part(store, 'a "quoted", näme', "b"), part(store, "c")
        store.commit(kept)
        assert store.done() == {'a "quoted", näme', "b"}
    assert [result["text"] for result in read_results(store.output)] == ['A "QUOTED", NÄME', "B"]
    assert not store.parts.exists()
    lines = (store.results / kept).read_text("utf-8").splitlines()
    assert [json.loads(line)["image"] for line in lines] == ['a "quoted", näme', "b"]
    with pytest.raises(OptionError, match="holds results of other models"), store.open("others"):
        pass


def test_an_output_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    with (
        store.open("models"),
        pytest.raises(OptionError, match="another process is writing"),
        ResultStore(tmp_path).open("models"),
    ):
        pass
    with store.open("models"):
        pass


@pytest.mark.parametrize("spoil", ["manifest.json", ".lock"])
def test_a_folder_of_something_else_is_refused(spoil: str, tmp_path: Path) -> None:
    if spoil == ".lock":
        (tmp_path / spoil).mkdir()
    else:
        (tmp_path / spoil).write_bytes(b"\xff not JSON")
    with pytest.raises(OptionError, match=r"give a (new )?folder"), ResultStore(tmp_path).open("models"):
        pass


def test_names_that_are_no_text_come_back(tmp_path: Path) -> None:
    store, name = ResultStore(tmp_path), os.fsdecode(b"caf\xe9\n.png")
    with store.open("models"):
        store.commit(part(store, name, "näme"))
        assert store.done() == {name, "näme"}
    assert [result["image"] for result in read_results(tmp_path)] == [name, "näme"]
    (file,) = store.results.iterdir()
    assert "näme" in file.read_text("utf-8")
    Journal(tmp_path, [name]).begin([name])
    assert Journal(tmp_path, [name]).deaths(name) == 1


def test_a_journal_that_was_cut_off(tmp_path: Path) -> None:
    Journal(tmp_path, ["a", "b"]).begin(["a"])
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text() + '["b', "utf-8")
    later = Journal(tmp_path, ["a", "b"])
    assert [later.deaths(name) for name in "ab"] == [1, 0]


def test_a_journal_knows_with_what_each_attempt_ended(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    first = Journal(tmp_path, names)
    first.begin(["a", "b"])
    first.begin(["c", "d"])
    second = Journal(tmp_path, names)
    assert [second.deaths(name) for name in names] == [0, 0, 1, 1]
    second.begin(["c"])
    third = Journal(tmp_path, names)
    assert [third.deaths(name) for name in names] == [0, 0, 2, 1]
    assert Journal(tmp_path, ["a"]).deaths("a") == 0
    third.close()
    assert [Journal(tmp_path, names).deaths(name) for name in names] == [0, 0, 0, 0]


def test_an_artifact_without_a_processor_is_refused(tmp_path: Path) -> None:
    import torch

    model: CompiledModel = compile_for_inferentia(torch.nn.Linear(3, 2), TensorSpec("points", (4, 3)), target="cpu")
    for given in (model, model.save(tmp_path / "model.pt"), (tmp_path / "model.pt").read_bytes()):
        with pytest.raises(OptionError, match="detector: got an artifact of role other"):
            ServedArtifact.of("detector", given, role="detector")
