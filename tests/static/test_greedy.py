"""static_greedy_decoder equals the growing loop, by every method, for both protocols."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neuronkit import TensorSpec, compile_for_inferentia, static_greedy_decoder
from neuronkit.errors import OptionError, SpecError
from neuronkit.static.decoding.greedy import growing_loop
from neuronkit.static.decoding.loops import after_eos
from tests.fuzz.values import nested

VOCABULARY, WIDTH = 11, 16


class Attention(nn.Module):
    """A one-layer decoder with position-wise memory and a causal (or broken) mask, in the logits protocol."""

    def __init__(self, seed: int, *, causal: bool = True, scale: float = 3.0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.position = nn.Parameter(torch.randn(64, WIDTH))
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, VOCABULARY)
        self.out.weight.data.mul_(scale)
        self.causal = causal

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        length = tokens.shape[1]
        x = self.embed(tokens) + self.position[:length] + memory.unsqueeze(1)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = q @ k.transpose(1, 2)
        if self.causal:
            scores = scores + torch.full((length, length), -1e9, dtype=x.dtype).triu(1)
        return self.out(scores.softmax(-1) @ v + x)


class Recurrent(nn.Module):
    """A GRU in the step protocol; its state is a tuple with an integer in it."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.cell = nn.GRUCell(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, VOCABULARY)
        self.out.weight.data.mul_(4)

    def initial_state(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        return memory.tanh(), torch.zeros(memory.shape[:1], dtype=torch.int32)

    def step(self, token: Tensor, state: tuple[Tensor, Tensor], memory: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        hidden, count = state
        hidden = self.cell(self.embed(token) + memory * count.unsqueeze(1), hidden)
        return self.out(hidden), (hidden, count + 1)


class Strict(Recurrent):
    """A GRU that takes a token for each row, and no broadcast."""

    def step(self, token: Tensor, state: tuple[Tensor, Tensor], memory: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        hidden = self.cell(self.embed(token), state[0])
        return self.out(hidden), (hidden, state[1])


CASES = [
    (protocol, method)
    for protocol, methods in (
        (Attention, ("fixed_point", "stepwise", "unrolled", "fused")),
        (Recurrent, ("stepwise", "unrolled")),
        (Strict, ("stepwise", "unrolled")),
    )
    for method in methods
]


def assert_equal_up_to_eos(actual: Tensor, expected: Tensor, eos_id: int, tolerance: float) -> None:
    kept = ~after_eos(expected.argmax(-1), [eos_id])
    assert torch.equal(actual.argmax(-1)[kept], expected.argmax(-1)[kept])
    assert (actual - expected)[kept].abs().max() < tolerance


@pytest.mark.parametrize(("protocol", "method"), CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_equals_the_growing_loop(protocol: type, method: str, dtype: torch.dtype, tolerance: float) -> None:
    lengths = set()
    for seed in range(6):
        decoder = protocol(seed).to(dtype)
        memory = torch.randn(4, WIDTH, dtype=dtype, generator=torch.Generator().manual_seed(seed))
        static = static_greedy_decoder(decoder, max_length=9, bos_id=1, eos_id=0, method=method)
        with torch.no_grad():
            expected = growing_loop(decoder, memory, 10, 1)
            assert_equal_up_to_eos(static(memory), expected, 0, tolerance)
        lengths |= {len(row) for row in static.tokens(memory)}
    assert len(lengths) > 3


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), max_length=st.integers(1, 12), bos_id=st.integers(0, 10), eos_id=st.integers(0, 10))
def test_methods_agree(seed: int, max_length: int, bos_id: int, eos_id: int) -> None:
    decoder, memory = Attention(seed), torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(seed))
    results = [
        static_greedy_decoder(decoder, max_length=max_length, bos_id=bos_id, eos_id=eos_id, method=method).tokens(
            memory
        )
        for method in ("fixed_point", "stepwise", "unrolled")
    ]
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(("protocol", "method"), CASES)
def test_compiles_and_saves(protocol: type, method: str, tmp_path: object) -> None:
    decoder = protocol(3)
    memory = torch.randn(2, WIDTH)
    static = static_greedy_decoder(decoder, max_length=6, bos_id=1, eos_id=0, memory=memory, method=method)
    compiled = compile_for_inferentia(static, target="cpu")
    with torch.no_grad():
        assert_equal_up_to_eos(compiled(memory), growing_loop(decoder, memory, 7, 1), 0, 1e-4)
    assert compiled.manifest["parity"]["compiled"]["passed"] is True


class Counter(nn.Module):
    """Adversarial for the fixed point: token i + 1 is right only if token i is, so each pass settles one position."""

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        return (
            torch.nn.functional.one_hot((tokens.long() * 3 + 1) % VOCABULARY, VOCABULARY).float() + memory[:, :1, None]
        )


def test_the_worst_case_takes_one_pass_a_position_and_is_right() -> None:
    decoder, memory = Counter(), torch.zeros(1, 1)
    # 3 is the one id that it never gives.
    static = static_greedy_decoder(decoder, max_length=20, bos_id=1, eos_id=3)
    assert torch.equal(static(memory), growing_loop(decoder, memory, 21, 1))
    assert static.passes(memory) == 21


@pytest.mark.parametrize(("protocol", "method"), CASES)
def test_a_row_gives_the_same_whatever_stands_beside_it(protocol: type, method: str) -> None:
    # Nothing of when the other rows ended shows, not even after the row's own end.
    decoder = protocol(2)
    memory = torch.randn(8, WIDTH, generator=torch.Generator().manual_seed(0))
    static = static_greedy_decoder(decoder, max_length=9, bos_id=1, eos_id=0, method=method)
    assert len({len(row) for row in static.tokens(memory)}) > 2
    with torch.no_grad():
        together = static(memory)
        for row in range(len(memory)):
            assert torch.allclose(static(memory[row : row + 1])[0], together[row], atol=1e-5)


def test_early_exit_counts_steps() -> None:
    class EndsAt(nn.Module):
        def initial_state(self, memory: Tensor) -> Tensor:
            return memory

        def step(self, token: Tensor, state: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
            return torch.cat([-state, torch.zeros_like(state)], dim=1), state - 1

    memory = torch.tensor([[2.5], [0.5]])
    static = static_greedy_decoder(EndsAt(), max_length=30, bos_id=1, eos_id=0)
    assert static.passes(memory) == 4
    assert [len(row) for row in static.tokens(memory)] == [3, 1]


def test_a_decoder_that_looks_ahead_is_refused_with_the_positions_that_moved() -> None:
    with pytest.raises(SpecError, match=r"not causal: logits at positions \[0, 1, 2, 3, 4\] moved"):
        static_greedy_decoder(Attention(0, causal=False), max_length=5, bos_id=1, eos_id=0)(torch.randn(2, WIDTH))


class HidesWhatEnded(Attention):
    """Leaks through one id alone: where EOS stands anywhere, what it says before changes."""

    def __init__(self, seed: int, leak: int, classes: int = 5_000) -> None:
        super().__init__(seed)
        self.embed, self.out, self.leak = nn.Embedding(classes, WIDTH), nn.Linear(WIDTH, classes), leak
        self.position = nn.Parameter(torch.randn(200, WIDTH))

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        ended = (tokens == self.leak).any(1)[:, None, None]
        return torch.where(ended, -super().logits(tokens, memory), super().logits(tokens, memory))


@pytest.mark.parametrize("max_length", [1, 9, 150])
def test_a_leak_through_eos_alone_is_found(max_length: int) -> None:
    memory = torch.randn(1, WIDTH)
    with pytest.raises(SpecError, match=r"not causal: logits at positions \[0.*became EOS \(7\)"):
        static_greedy_decoder(HidesWhatEnded(0, leak=7), max_length=max_length, bos_id=1, eos_id=7, memory=memory)
    assert static_greedy_decoder(Attention(0), max_length=40, bos_id=1, eos_id=7).tokens(memory)


@pytest.mark.parametrize("leak", [0, 1, 2, 300, 4_998, 4_999])
def test_a_leak_through_any_one_id_is_found(leak: int) -> None:
    with pytest.raises(SpecError, match=r"not causal: logits at positions \[0"):
        static_greedy_decoder(HidesWhatEnded(0, leak), max_length=40, bos_id=3, eos_id=7, memory=torch.randn(1, WIDTH))


def test_a_decoder_that_counts_from_the_buffers_end_is_refused() -> None:
    class FromTheEnd(Attention):
        def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
            left = torch.arange(tokens.shape[1], 0, -1).view(1, -1, 1)
            return super().logits(tokens, memory) / left

    with pytest.raises(SpecError, match=r"not causal: logits at positions \[0, 1, 2, 3, 4\] moved .* or was cut off"):
        static_greedy_decoder(FromTheEnd(0), max_length=5, bos_id=1, eos_id=0, memory=torch.randn(2, WIDTH))


@pytest.mark.parametrize("decoder", [Attention(0), Recurrent(0)])
@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({"bos_id": VOCABULARY}, rf"fails on bos_id={VOCABULARY}( and 6 tokens)?: IndexError: '?index out of range"),
        (
            {"eos_id": VOCABULARY},
            f"got eos_id={VOCABULARY}; expected one of the decoder's classes, 0 to {VOCABULARY - 1}",
        ),
        ({"eos_id": -1}, "got eos_id=-1; expected a whole number from 0"),
    ],
)
def test_ids_outside_the_vocabulary_are_refused(decoder: nn.Module, ids: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        static_greedy_decoder(decoder, **{"max_length": 5, "bos_id": 1, "eos_id": 0, **ids})(torch.randn(2, WIDTH))


def test_one_leaking_position_is_found() -> None:
    class Leak(Attention):
        def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
            logits = super().logits(tokens, memory)
            if tokens.shape[1] > 4:
                logits[:, 2] += self.out(self.embed(tokens[:, 4]))
            return logits

    with pytest.raises(SpecError, match=r"positions \[2\] moved"):
        static_greedy_decoder(Leak(0), max_length=5, bos_id=1, eos_id=0, memory=torch.randn(2, WIDTH))


def test_functions_and_plain_objects_serve_as_decoders() -> None:
    decoder, memory = Attention(1), torch.randn(2, WIDTH)
    expected = static_greedy_decoder(decoder, max_length=6, bos_id=1, eos_id=0).tokens(memory)
    function = static_greedy_decoder(
        lambda tokens, memory: decoder.logits(tokens, memory), max_length=6, bos_id=1, eos_id=0
    )
    assert function.tokens(memory) == expected


@pytest.mark.parametrize(
    ("decoder", "arguments", "error", "message"),
    [
        (nn.Linear(2, 2), {}, SpecError, "Linear follows no decoder protocol"),
        (3, {}, SpecError, "int follows no decoder protocol"),
        (Recurrent(0), {"method": "fixed_point"}, OptionError, "positions at once; .* gives step"),
        (
            Attention(0),
            {"method": "beam"},
            OptionError,
            "got method='beam'; expected one of 'auto', 'fixed_point'",
        ),
        (Attention(0), {"max_length": 0}, SpecError, "got max_length=0; expected a whole number from 1"),
        (Attention(0), {"max_length": "5"}, SpecError, "got max_length='5'; expected a whole number"),
        (Attention(0), {"eos_id": None}, SpecError, "got eos_id=None; expected a whole number"),
        (Attention(0), {"memory": (2, WIDTH)}, SpecError, "memory=.*expected an example tensor or its spec"),
        (Attention(0), {"memory": TensorSpec("memory", ())}, SpecError, r"memory of shape \(\)"),
        (Attention(0), {"memory": torch.tensor(2.0)}, SpecError, r"memory of shape \(\)"),
        (Attention, {}, SpecError, r"make an instance, Attention\(...\)"),
        (nested(), {}, SpecError, "list follows no decoder protocol"),
        (torch.add, {}, SpecError, "follows no decoder protocol"),
        (lambda tokens: tokens, {}, SpecError, "function follows no decoder protocol"),
    ],
)
def test_bad_arguments_are_named(decoder: object, arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        static_greedy_decoder(decoder, **{"max_length": 5, "bos_id": 1, "eos_id": 0, **arguments})


def test_compiling_needs_the_memorys_shape() -> None:
    with pytest.raises(SpecError, match="pass memory=TensorSpec"):
        static_greedy_decoder(Attention(0), max_length=5, bos_id=1, eos_id=0).graphs()


def test_a_decoder_may_have_further_arguments_with_defaults() -> None:
    class Masked(Attention):
        def forward(self, tokens: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
            assert mask is None
            return self.logits(tokens, memory)

    decoder, memory = Masked(1), torch.randn(2, WIDTH)
    expected = static_greedy_decoder(decoder, max_length=6, bos_id=1, eos_id=0).tokens(memory)
    assert static_greedy_decoder(decoder.forward, max_length=6, bos_id=1, eos_id=0).tokens(memory) == expected


def test_classes_may_be_ruled_out_by_minus_infinity() -> None:
    class Limited(Attention):
        def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
            banned = torch.arange(VOCABULARY) % 3 == 2
            return super().logits(tokens, memory).masked_fill(banned, float("-inf"))

    decoder, memory = Limited(1), torch.randn(4, WIDTH)
    static = static_greedy_decoder(decoder, max_length=6, bos_id=1, eos_id=0)
    rows = static.tokens(memory)
    expected = growing_loop(decoder, memory, 7, 1).argmax(-1)
    assert rows == [e.tolist()[: len(r)] for e, r in zip(expected, rows)]
    assert all(token % 3 != 2 for row in rows for token in row)
    with pytest.raises(SpecError, match=r"not causal: logits at positions \[0, 1, 2, 3, 4, 5\] moved"):
        static_greedy_decoder(Limited(1, causal=False), max_length=6, bos_id=1, eos_id=0)(memory)


class Steps:
    """A step that does as it is told."""

    def __init__(self, state: Any, following: Any = None, logits: Any = None) -> None:
        self.state, self.following, self.logits = state, state if following is None else following, logits

    def initial_state(self, memory: Tensor) -> Any:
        return self.state

    def step(self, token: Tensor, state: Any, memory: Tensor) -> Any:
        return (torch.zeros(2, 5) if self.logits is None else self.logits), self.following


@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        (Steps(torch.zeros(3, 2, 4)), r"initial_state gave a state of a tensor \(3, 2, 4\) for 2 rows.*transpose it"),
        (Steps(torch.zeros(2, 1), torch.zeros(2, 2)), r"a state of \(N, 1\) torch.float32 into one of \(N, 2\)"),
        (Steps(torch.zeros(2, 1), torch.zeros(2, 1, dtype=torch.int32)), "torch.float32 into one of .* torch.int32"),
        (Steps(torch.zeros(2, 1), logits=torch.zeros(2)), r"step gave a tensor \(2,\) as logits; expected .*\(2, cl"),
        (lambda tokens, memory: tokens, r"gave a tensor \(2, 6\); expected a tensor \(2, 6, classes\)"),
        (lambda tokens, memory: torch.full((2, 6, 3), torch.nan), "gave NaN; look at the decoder's weights"),
    ],
)
def test_a_decoder_that_breaks_its_protocol_is_refused(decoder: Any, message: str) -> None:
    for memory in ({}, {"memory": torch.zeros(2, WIDTH)}):
        with pytest.raises(SpecError, match=message):
            static_greedy_decoder(decoder, max_length=5, bos_id=1, eos_id=0, **memory)(torch.zeros(2, WIDTH))


def test_counters_in_a_state_of_half_precision_stay_whole() -> None:
    class Counts:
        def initial_state(self, memory: Tensor) -> tuple[Tensor, Tensor]:
            return memory, torch.full((len(memory),), 256, dtype=torch.int32)

        def step(self, token: Tensor, state: tuple[Tensor, Tensor], memory: Tensor) -> Any:
            return torch.nn.functional.one_hot(state[1].long() % 7 + 1, 9).to(memory.dtype), (state[0], state[1] + 1)

    memory = torch.zeros(2, 3, dtype=torch.bfloat16)
    static = static_greedy_decoder(Counts(), max_length=5, bos_id=1, eos_id=0)
    assert static.tokens(memory) == [[(256 + i) % 7 + 1 for i in range(6)]] * 2
