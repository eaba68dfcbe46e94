"""Requests that wait for a batch: in order, within bounds, each in exactly one batch."""

from __future__ import annotations

import importlib
import sys
import threading
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronkit.serving.triton.waiting import Entry, Waiting


def entry(name: object, rows: int = 1, timeout_s: float = 60.0, ahead: bool = False) -> Entry:
    return Entry(name, {"x": np.zeros((rows, 2), np.float32)}, timeout_s, ahead)


def names(batch: list[Entry] | None) -> list[object]:
    return [] if batch is None else [entry.request for entry in batch]


@given(st.lists(st.integers(1, 10), max_size=30), st.integers(1, 8))
def test_batches_hold_every_request_once_and_in_order(rows: list[int], size: int) -> None:
    waiting = Waiting(size=len(rows), rows=size, delay_s=0)
    assert all(waiting.put(entry(number, count)) for number, count in enumerate(rows))
    waiting.close()
    batches = list(iter(waiting.take, None))
    assert [name for batch in batches for name in names(batch)] == list(range(len(rows)))
    for batch, following in zip(batches, [*batches[1:], []]):
        taken = sum(item.rows for item in batch)
        # A request of more rows than a batch is alone, and no batch could have been fuller.
        assert taken <= size or len(batch) == 1
        assert not following or taken + following[0].rows > size


def test_what_does_not_fit_is_refused_but_for_a_probe() -> None:
    waiting = Waiting(size=2, rows=1, delay_s=0)
    assert [waiting.put(entry(name)) for name in "abc"] == [True, True, False]
    assert waiting.put(entry("probe", ahead=True))
    assert [names(waiting.take()) for _ in range(3)] == [["probe"], ["a"], ["b"]]


def test_those_that_wait_in_vain_are_taken_out() -> None:
    waiting = Waiting(size=9, rows=9, delay_s=0)
    for name in "abc":
        waiting.put(entry(name, timeout_s=-1 if name == "b" else 60))
    assert names(waiting.remove(lambda item: item.is_late)) == ["b"]
    assert len(waiting) == 2
    assert names(waiting.take()) == ["a", "c"]


def test_what_cannot_be_read_takes_a_row() -> None:
    assert Entry("a", ValueError("no tensor"), 1.0).rows == 1
    assert entry("a", 3).read()["x"].shape == (3, 2)


def test_a_full_batch_does_not_wait_for_others() -> None:
    waiting = Waiting(size=9, rows=2, delay_s=3600)
    found: list[list[object]] = []
    thread = threading.Thread(target=lambda: found.append(names(waiting.take())))
    thread.start()
    for name in "ab":
        waiting.put(entry(name))
    thread.join(60)
    assert found == [["a", "b"]]


def test_closing_ends_the_waiting() -> None:
    waiting = Waiting(size=9, rows=2, delay_s=3600)
    waiting.put(entry("a"))
    closing = threading.Timer(0.05, waiting.close)
    closing.start()
    assert names(waiting.take()) == ["a"]
    assert waiting.take() is None


def test_cancelled_requests_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", MagicMock())
    monkeypatch.delitem(sys.modules, "neuronkit.serving.triton.model", raising=False)
    model = importlib.import_module("neuronkit.serving.triton.model").TritonPythonModel()
    monkeypatch.delitem(sys.modules, "neuronkit.serving.triton.model")
    vars(model).update(inputs=[], timeout_s=60.0, waiting=Waiting(size=3, rows=1, delay_s=0), metrics=MagicMock())

    def request(cancelled: bool) -> SimpleNamespace:
        sender = MagicMock()
        return SimpleNamespace(
            timeout=lambda: 0,
            parameters=lambda: "",
            is_cancelled=lambda: cancelled,
            get_response_sender=lambda: sender,
            sender=sender,
        )

    gone, good = [request(True) for _ in range(200)], [request(False) for _ in range(4)]
    model.execute([*gone, *good])
    assert [len(batch) for batch in iter(lambda: model.waiting.take(wait=False), [])] == [1, 1, 1]
    assert [item.sender.send.call_count for item in good] == [0, 0, 0, 1]
    assert {item.sender.send.call_count for item in gone} == {1}
