"""method="windowed": a window of positions a call, with the result of the growing loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neuronkit
from neuronkit import TensorSpec, compile_for_inferentia, static_greedy_decoder
from neuronkit.errors import OptionError, SpecError
from neuronkit.static.decoding.greedy import growing_loop
from neuronkit.static.decoding.loops import until_eos
from neuronkit.static.decoding.methods.windowed import redraft
from tests.static.cached import VOCABULARY, WIDTH, Cached

# Seed, weight of positions, score of EOS: rows end at once, at different steps, and never.
MIXES = ((0, 0.3, 0.0), (3, 0.3, 3.0), (2, 0.3, 3.0), (6, 0.3, 2.0), (0, 0.0, -20.0), (0, 0.3, 20.0))


def decoder(method: str, model: nn.Module, max_length: int, **options: Any) -> Any:
    return static_greedy_decoder(model, max_length=max_length, bos_id=1, eos_id=0, method=method, **options)


def memory_of(rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(seed))


def expected_of(model: nn.Module, memory: Tensor, max_length: int) -> list[list[int]]:
    with torch.no_grad():
        return until_eos(growing_loop(model, memory, max_length + 1, 1), 0)


@pytest.mark.parametrize(("max_length", "window"), [(1, None), (2, 2), (9, None), (9, 4), (40, 32), (40, 3)])
def test_equals_the_growing_loop_in_no_more_calls(max_length: int, window: int | None) -> None:
    lengths = set()
    for rows, (seed, place, end) in zip((1, 3, 8, 8, 3, 2), MIXES):
        model, memory = Cached(seed, place=place, end=end), memory_of(rows, seed)
        static = decoder("windowed", model, max_length, window=window)
        expected = expected_of(model, memory, max_length)
        assert static.tokens(memory) == expected
        for outputs in ("logits", "tokens"):
            assert decoder("windowed", model, max_length, window=window, outputs=outputs).tokens(memory) == expected
        calls, steps = static.passes(memory), decoder("stepwise", model, max_length).passes(memory)
        assert calls <= steps
        assert calls.positions == calls * min(window or 16, max_length + 1)
        lengths |= {len(row) for row in expected}
    assert {0, max_length + 1} <= lengths
    assert max_length < 9 or len(lengths) > 4


def test_no_rows_are_no_tokens() -> None:
    static = decoder("windowed", Cached(0), 9, memory=TensorSpec("memory", (2, WIDTH)))
    assert static(torch.zeros(0, WIDTH)).shape == (0, 10, VOCABULARY)


def test_a_text_that_repeats_itself_comes_several_tokens_a_call() -> None:
    model, memory = Cached(4, place=0.0, end=-20.0), memory_of(3)
    expected = expected_of(model, memory, 511)
    assert [len(row) for row in expected] == [512] * 3
    static = decoder("windowed", model, 511)
    assert static.tokens(memory) == expected
    assert 512 / static.passes(memory) >= 2


def test_a_short_text_does_not_pay_for_the_longest_cache() -> None:
    model = Cached(3)
    sizes: list[int] = []
    advance = model.advance

    def record(tokens: Tensor, position: Tensor, cache: Tensor, context: Tensor) -> Any:
        sizes.append(cache.shape[1])
        return advance(tokens, position, cache, context)

    static = decoder("windowed", model, 511, window=8)
    static(memory_of(4, 3))
    model.advance = record  # type: ignore[method-assign]
    lengths = []
    for row in memory_of(4, 3).split(1):
        sizes.clear()
        lengths.append(len(static.tokens(row)[0]))
        # The memory is an entry, and the last window begins at 504.
        first, last = 1, min(lengths[-1], 504) + 1
        assert sizes[0] == min(n for n in static.decoding.caches if n >= first)
        assert sizes[-1] <= min(n for n in static.decoding.caches if n >= last)
        assert sizes == sorted(sizes)
    assert static.decoding.caches == (32, 127, 505)
    assert lengths == [14, 512, 144, 3]


def test_compiles_and_saves(tmp_path: Path) -> None:
    model, memory = Cached(3), memory_of(4, 3)
    static = decoder("windowed", model, 200, memory=TensorSpec("memory", (4, WIDTH)), outputs="tokens")
    compiled = compile_for_inferentia(static, target="cpu", progress=False)
    joining = compiled.manifest["joining"]
    assert (joining["window"], joining["caches"]) == (16, [47, 186])
    assert list(compiled.manifest["graphs"]) == ["start", "step_47", "step_186"]
    loaded = neuronkit.load(compiled.save(tmp_path / "model.pt"))
    expected = expected_of(model, memory, 200)
    assert len({len(row) for row in expected}) > 2
    assert until_eos(compiled(memory), 0) == until_eos(loaded(memory), 0) == expected


@pytest.mark.runtimes
@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_runtimes_give_the_same(target: str, tmp_path: Path) -> None:
    from tests.targets.test_runtimes_page import run_page

    model, memory = Cached(3), memory_of(4, 3)
    static = decoder("windowed", model, 200, memory=TensorSpec("memory", (4, WIDTH)))
    compiled = compile_for_inferentia(static, target=target, progress=False)
    expected = expected_of(model, memory, 200)
    assert until_eos(compiled(memory), 0) == expected
    (made,), _ = run_page(compiled, tmp_path, memory)
    assert torch.equal(torch.from_numpy(made), compiled(memory))


class Restless(Cached):
    """What it said, it says less gladly."""

    looks_back = True

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], dtype=torch.int32).expand(tokens.shape)
        return self.process(super().logits(tokens, memory), tokens, places, memory)

    def process(self, scores: Tensor, tokens: Tensor, position: Tensor, context: Tensor) -> Tensor:
        before = torch.arange(tokens.shape[1], dtype=torch.int32) <= position.unsqueeze(-1)
        said = tokens.unsqueeze(-1) == torch.arange(VOCABULARY, dtype=torch.int32)
        return scores - before.to(scores.dtype) @ said.to(scores.dtype)


@pytest.mark.runtimes
@pytest.mark.parametrize("method", ["stepwise", "windowed"])
def test_rules_that_look_back_are_given_all_tokens(method: str, tmp_path: Path) -> None:
    from tests.targets.test_runtimes_page import run_page

    model, memory = Restless(3), memory_of(4, 3)
    static = decoder(method, model, 30, memory=TensorSpec("memory", (4, WIDTH)))
    expected = expected_of(model, memory, 30)
    assert expected != expected_of(Cached(3), memory, 30)
    assert static.tokens(memory) == expected
    compiled = compile_for_inferentia(static, target="onnx", progress=False)
    (made,), _ = run_page(compiled, tmp_path, memory)
    assert until_eos(torch.from_numpy(made), 0) == until_eos(compiled(memory), 0) == expected


def test_a_draft_goes_on_as_the_text_did() -> None:
    text = torch.tensor(
        [
            [1, 5, 6, 7, 5, 6, 0, 0, 0, 0],
            [1, 5, 6, 7, 8, 6, 3, 2, 3, 2],
            [5, 6, 9, 5, 6, 8, 5, 6, 0, 0],
            [4, 4, 4, 2, 2, 2, 2, 2, 2, 2],
        ],
        dtype=torch.int32,
    )
    known = torch.tensor([[5], [5], [7], [2]])
    drafted = redraft(text, known).tolist()
    # The period of three goes on; a single token is no repeat; of two places the later one; a token after itself.
    assert drafted[0] == [1, 5, 6, 7, 5, 6, 7, 5, 6, 7]
    assert drafted[1] == text[1].tolist()
    assert drafted[2] == [5, 6, 9, 5, 6, 8, 5, 6, 8, 5]
    assert drafted[3] == [4] * 10


class Steps(nn.Module):
    def initial_state(self, memory: Tensor) -> Tensor:
        return memory

    def step(self, token: Tensor, state: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        return state[:, :VOCABULARY], state


class Broken(Cached):
    """Its window does not see the last entry before it."""

    def advance(self, tokens: Tensor, position: Tensor, cache: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        if cache.shape[1] > 1:
            cache = torch.cat([cache[:, :-1], torch.zeros_like(cache[:, -1:])], dim=1)
        return super().advance(tokens, position, cache, context)


class Short(Cached):
    """Fewer entries before BOS than it says."""

    prefix = 2

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        return nn.functional.one_hot(tokens.long(), VOCABULARY).float()


class NoRows(Short):
    def prefill(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        context, before = super().prefill(memory)
        return context, before[0]


class NoAdvance(nn.Module):
    prefix = 0

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        return nn.functional.one_hot(tokens.long(), VOCABULARY).float()


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        (Steps(), {}, OptionError, r"which computes several positions at once; .* choose 'stepwise' or 'unrolled'"),
        (lambda tokens, memory: tokens, {}, OptionError, "takes no such caches, or not with its settings; choose"),
        (Cached(0), {"window": 1}, SpecError, "got window=1; expected"),
        (Cached(0), {"window": True}, SpecError, "got window=True; expected"),
        (Cached(0), {"window": 8, "method": "stepwise"}, OptionError, "got window=8 for method='stepwise'; expected"),
        (
            Broken(0),
            {"max_length": 20},
            SpecError,
            r"other logits than logits\(tokens, memory\) at positions \[0, 1, 2",
        ),
        (Broken(0), {"method": "stepwise"}, SpecError, "advance gives other logits than"),
        (NoRows(0), {}, SpecError, r"prefill\(memory\) gave a tensor \(2, 1, 16\) and a tensor \(1, 32\); expected"),
        (Short(0), {}, SpecError, "gave 1 entries before BOS; expected at least 2"),
        (NoAdvance(), {}, SpecError, "NoAdvance has prefix but no prefill nor advance; add them"),
    ],
)
def test_what_cannot_be_decoded_in_windows_is_refused(
    model: Any, options: dict[str, Any], error: type, message: str
) -> None:
    memory = TensorSpec("memory", (2, WIDTH))
    with pytest.raises(error, match=message):
        static_greedy_decoder(
            model, **{"max_length": 9, "bos_id": 1, "eos_id": 0, "method": "windowed", "memory": memory, **options}
        )
