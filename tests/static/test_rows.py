"""Rows share batches, go on until they have settled, and come back whole and in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuronkit import FixedShape, compile_for_inferentia, load, static_greedy_decoder
from neuronkit.errors import OptionError, SpecError
from neuronkit.static.decoding.loops import until_eos
from neuronkit.static.shapes.rows import Carry, RowStream
from tests.static.running import Counter


class Countdown:
    """A graph that settles a row after as many calls as its value says, and never where that is negative."""

    def __init__(self, batch: int) -> None:
        self.batch, self.calls = batch, 0

    def __call__(self, values: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        assert len(values) == len(start) == self.batch
        self.calls += 1
        tokens = torch.where(start < 0, torch.ones_like(start), start + 1)
        settled = (tokens[:, 0] >= values) & (values > 0)
        return tokens, values.double() * 10, settled.to(torch.int32)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(-1, 4).filter(bool), max_size=9), max_size=6),
    st.integers(1, 5),
    st.integers(1, 4),
)
def test_every_group_comes_back_in_order_and_rows_fill_the_batches(
    groups: list[list[int]], batch: int, ahead: int
) -> None:
    graph, most = Countdown(batch), 4
    stream = RowStream(graph, batch, Carry(3, most, gives_tokens=True)).stream(
        ((torch.tensor(g),) for g in groups), ahead
    )
    results = list(stream)
    for group, result in zip(groups, results, strict=True):
        if group:
            assert result[0][:, 0].tolist() == [value if value > 0 else most for value in group]
            assert result[1].tolist() == [10.0 * value for value in group]
        else:
            assert result is None
    work = sum(most if value < 0 else value for group in groups for value in group)
    assert work <= graph.calls * batch
    if ahead >= len(groups):
        # A batch is left unfilled only when nothing waits but rows that take `most` calls in all.
        assert graph.calls <= work // batch + most


def test_a_row_that_never_settles_ends_after_the_calls_that_make_it_right() -> None:
    graph = Countdown(2)
    tokens, values = RowStream(graph, 2, Carry(26, 6, gives_tokens=True))(torch.tensor([-1, 1, 1, 2]))
    assert values.tolist() == [-10, 10, 10, 20]
    assert tokens[:, 0].tolist() == [6, 1, 1, 2]
    assert graph.calls == 6


def test_groups_are_taken_when_there_is_room_and_no_earlier() -> None:
    taken: list[int] = []

    def groups() -> Iterator[tuple[Tensor]]:
        for i in range(10):
            taken.append(i)
            yield (torch.full((2,), i),)

    stream = RowStream(lambda x: x + 1, 4).stream(groups(), ahead=3)
    assert next(stream).tolist() == [1, 1]
    assert taken == [0, 1]
    alone = RowStream(lambda x: x + 1, 64).stream(groups(), ahead=3)
    taken.clear()
    assert next(alone).tolist() == [1, 1]
    assert taken == [0, 1, 2]


def test_functions_of_arrays_of_any_batch_are_served_too() -> None:
    sizes: list[int] = []

    def double(x: Tensor) -> np.ndarray[Any, Any]:
        sizes.append(len(x))
        return 2 * x.numpy()

    result = RowStream(double, 4, fill=False)(torch.arange(6))
    assert isinstance(result, np.ndarray)
    assert result.tolist() == [0, 2, 4, 6, 8, 10]
    assert sizes == [4, 2]


def decoder(batch: int, method: str = "fused") -> Any:
    return static_greedy_decoder(
        Counter(), max_length=20, bos_id=4, eos_id=0, memory=torch.zeros(batch, 1), method=method
    )


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = compile_for_inferentia(decoder(4), target="cpu").save(tmp_path_factory.mktemp("rows") / "fused.pt")
    return load(path)


def test_a_loaded_fused_model_takes_any_number_of_rows(compiled: Any) -> None:
    memory = (torch.arange(23) * 7 % 21).float()[:, None]
    assert until_eos(compiled(memory), 0) == until_eos(decoder(23, "fixed_point")(memory), 0)
    assert torch.equal(FixedShape(compiled)(memory), compiled(memory))
    assert tuple(FixedShape(compiled)(memory[:0]).shape) == (0, 21, 11)
    assert torch.equal(compiled(memory[:1]), compiled(memory)[:1])


def test_what_is_no_row_is_refused(compiled: Any) -> None:
    with pytest.raises(SpecError, match="got"):
        compiled(torch.zeros(0, 1))
    with pytest.raises(SpecError, match="got"):
        compiled(torch.zeros(5, 2))
    with pytest.raises(SpecError, match="start"):
        compiled.step(torch.zeros(4, 1), torch.zeros(4, 21))
    plain = compile_for_inferentia(decoder(4, "fixed_point"), target="cpu")
    assert plain.carry is None
    with pytest.raises(OptionError, match="method"):
        plain.step(torch.zeros(4, 1), torch.zeros(4, 21, dtype=torch.int32))


def test_replicas_carry_rows_over_too(compiled: Any) -> None:
    memory = (torch.arange(23) * 7 % 21).float()[:, None]
    with compiled.replicate(2) as replicas:
        assert [tuple(spec.shape) for spec in replicas.specs] == [(8, 1)]
        assert torch.equal(replicas(memory), compiled(memory))
        assert tuple(replicas(memory[:0]).shape) == (0, 21, 11)
        assert torch.equal(replicas(memory[:3]), compiled(memory[:3]))
