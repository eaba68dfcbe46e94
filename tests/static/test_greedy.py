"""static_greedy_decoder equals the growing loop, by every method, for both protocols."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neuronkit import compile_for_inferentia, static_greedy_decoder
from neuronkit.errors import OptionError, SpecError
from neuronkit.static.decode import after_eos
from neuronkit.static.greedy import growing_loop

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
        (Attention, ("fixed_point", "stepwise", "unrolled")),
        (Recurrent, ("stepwise", "unrolled")),
        (Strict, ("stepwise", "unrolled")),
    )
    for method in methods
]


def assert_equal_up_to_eos(actual: Tensor, expected: Tensor, eos_id: int, tolerance: float) -> None:
    kept = ~after_eos(expected.argmax(-1), eos_id)
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
    static = static_greedy_decoder(decoder, max_length=20, bos_id=1, eos_id=99)
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
        (nn.Linear(2, 2), {}, SpecError, "Linear is no decoder neuronkit knows"),
        (3, {}, SpecError, "int is no decoder neuronkit knows"),
        (Recurrent(0), {"method": "fixed_point"}, OptionError, "computes all positions at once, which step"),
        (Attention(0), {"method": "beam"}, OptionError, "method='beam': expected one of 'auto'"),
        (Attention(0), {"max_length": 0}, SpecError, "max_length=0: expected at least 1"),
    ],
)
def test_bad_arguments_are_named(decoder: object, arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        static_greedy_decoder(decoder, **{"max_length": 5, "bos_id": 1, "eos_id": 0, **arguments})


def test_compiling_needs_the_memorys_shape() -> None:
    with pytest.raises(SpecError, match="pass memory=TensorSpec"):
        static_greedy_decoder(Attention(0), max_length=5, bos_id=1, eos_id=0).graphs()
