"""Beam search with a decoder of one's own, on every torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from neuronkit import compile_for_inferentia, load, static_beam_search
from neuronkit.errors import SpecError
from tests.static.running import CLASSES, WIDTH, Running

MEMORY = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(0))


def make(**settings: Any) -> Any:
    return static_beam_search(
        Running(), **{"num_beams": 3, "max_length": 6, "bos_id": 1, "eos_id": 0, "memory": MEMORY, **settings}
    )


@pytest.mark.parametrize("early_stopping", [True, False, "never"])
@pytest.mark.parametrize("length_penalty", [1.0, 0.0, -1.0, 2.0])
@pytest.mark.parametrize("returned", [1, 3])
def test_equals_the_search_on_growing_prefixes(early_stopping: Any, length_penalty: float, returned: int) -> None:
    search = make(early_stopping=early_stopping, length_penalty=length_penalty, num_return_sequences=returned)
    tokens, scores = search(MEMORY)
    expected = search.reference(MEMORY)
    assert tokens.shape == (5, returned, 7)
    assert torch.equal(tokens, expected[0])
    assert torch.allclose(scores, expected[1], atol=1e-5)
    assert len({len(row) for row in search.tokens(MEMORY)}) > 1


def test_many_beams_find_the_best_of_all_sequences() -> None:
    search = make(num_beams=64, max_length=2, length_penalty=0.0, early_stopping="never")
    scores = search(MEMORY)[1]
    best = torch.full((5,), -torch.inf)
    places = torch.cartesian_prod(*[torch.arange(CLASSES)] * 3)
    for row in places:
        given = torch.cat([torch.tensor([1]), row[:-1]]).int().expand(5, -1)
        steps = Running().logits(given, MEMORY).log_softmax(-1).gather(2, row.expand(5, -1).unsqueeze(-1)).squeeze(-1)
        end = row.tolist().index(0) + 1 if 0 in row else 3
        best = torch.maximum(best, steps[:, :end].sum(1))
    assert torch.allclose(scores[:, 0], best, atol=1e-5)


def test_compiles_saves_and_loads(tmp_path: Path) -> None:
    search = make(num_return_sequences=2)
    compiled = compile_for_inferentia(search, target="cpu", progress=False)
    for function in (compiled, load(compiled.save(tmp_path / "beams.pt"))):
        assert torch.equal(function(MEMORY)[0], search(MEMORY)[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_beams": 0}, "num_beams"),
        ({"early_stopping": "sometimes"}, "got early_stopping='sometimes'; expected True, False or 'never'"),
        ({"num_return_sequences": 4}, "num_return_sequences"),
        ({"length_penalty": float("nan")}, "length_penalty"),
        ({"eos_id": CLASSES}, "eos_id"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make(**settings)


def test_decoders_of_steps_are_refused() -> None:
    class Steps:
        def initial_state(self, memory: Tensor) -> Tensor:
            return memory

        def step(self, token: Tensor, state: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
            return state, state

    with pytest.raises(SpecError, match="got Steps, which gives one step at a time; expected logits"):
        static_beam_search(Steps(), num_beams=2, max_length=3, bos_id=1, eos_id=0)


@pytest.mark.runtimes
@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_runtimes_find_the_same_beams(target: str) -> None:
    memory = torch.randn(64, WIDTH, generator=torch.Generator().manual_seed(1))
    search = make(memory=memory)
    tokens, scores = compile_for_inferentia(search, target=target, progress=False)(memory)
    expected = search.reference(memory)
    assert torch.equal(tokens, expected[0])
    assert torch.allclose(scores, expected[1], rtol=0, atol=1e-4)
