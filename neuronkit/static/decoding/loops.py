"""Greedy decoding in fixed shapes: the loops around graphs.

Under a causal mask, position i of a decoder depends only on tokens before i. A full-length buffer whose tail is hidden
therefore gives the logits that a growing slice gives, and decoding all positions at once, feeding the argmax back
until the tokens stop changing, ends at the greedy result: position i is right after at most i + 1 passes.

Everything here is TorchScript as well as Python, so that one artifact can hold the loop and the graphs it runs, and a
target without TorchScript can run it too. The attribute that holds a graph has the graph's name, by which a loaded
artifact is compared with its manifest. Branches on what is `Final` are decided when TorchScript compiles them, so that
one class serves models with and without a mask, and graphs that give logits or tokens.
"""

# No `from __future__ import annotations`: TorchScript reads the annotations of this file. Where one is missing, it
# infers a type for each instance, which is what graphs of several kinds need.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from typing import Any, Callable, Final, List, Optional, Tuple

import torch
from torch import Tensor, nn

from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.decoding import Decoding

# What a graph is called with, where a decoder makes passes of several kinds: see protocols.py.
GUESS, CAUSAL, REFINE = 0, 1, 2

# (memory, rows) → values, ids and the number of decoder calls.
Counted = Callable[[Tensor, int], Tuple[Tensor, Tensor, int]]


def is_end(tokens: Tensor, ends: List[int]) -> Tensor:
    """Where tokens are one of these ids: a bool tensor of their shape."""
    found = tokens == ends[0]
    for end in ends[1:]:
        found = found | (tokens == end)
    return found


def after_eos(predictions: Tensor, ends: List[int]) -> Tensor:
    """Mark what follows the first EOS of each row.

    Args:
        predictions: (N, T) token ids.
        ends: The ids that end a row.

    Returns:
        (N, T) bool, False up to and including the first EOS.
    """
    # Counted in float32: int32 would be summed in int64, which no Neuron graph should hold.
    is_eos = is_end(predictions, ends).to(torch.float32)
    return (is_eos.cumsum(-1) - is_eos) > 0


def zero_where(values: Tensor, places: Tensor) -> Tensor:
    """Zero values (N, T) or (N, T, C) at places (N, T) bool."""
    return values.masked_fill(places if values.dim() == 2 else places.unsqueeze(-1), 0)


def keep_rows(kept: Tensor, values: Tensor, others: Tensor) -> Tensor:
    """Values (N, ...) of the rows marked in kept (N,), and the others' of the rest."""
    return torch.where((kept > 0).reshape([-1] + [1] * (values.dim() - 1)), values, others)


def end_at_eos(logits: Tensor, ends: List[int]) -> Tensor:
    """Zero what follows each row's first EOS: what a loop leaves there depends on when the other rows ended.

    Args:
        logits: (N, T, C).
        ends: The ids that end a row.
    """
    return zero_where(logits, after_eos(logits.argmax(-1), ends))


def until_eos(outputs: Any, eos_id: int) -> List[List[int]]:
    """The ids of each row up to and without its first EOS, of logits (N, T, C), or of tokens and probabilities."""
    rows: List[List[int]] = (outputs.argmax(-1) if isinstance(outputs, Tensor) else outputs[0]).tolist()
    return [row[: row.index(eos_id)] if eos_id in row else row for row in rows]


def shift_right(predictions: Tensor, bos_id: int) -> Tensor:
    """Make a decoder's input from its predictions: BOS, then all but the last, as int32."""
    bos = torch.full_like(predictions[:, :1], bos_id)
    return torch.cat([bos, predictions[:, :-1]], dim=1).to(torch.int32)


class Pass(nn.Module):
    """A graph ``decode(tokens, memory)``, or ``decode(tokens, kind, memory)`` for passes of one kind.

    Tokens (N, T) int32, BOS first → values, and the predicted ids (N, T) int32. Values are logits (N, T, C), or
    probabilities (N, T) where graphs give tokens.
    """

    kind: Tensor
    takes_kind: Final[bool]
    gives_tokens: Final[bool]

    def __init__(self, decode: Callable[..., Any], decoding: Decoding, kind: int = CAUSAL) -> None:
        super().__init__()
        self.decode = decode
        self.takes_kind, self.gives_tokens = decoding.takes_kind, decoding.gives_tokens
        self.register_buffer("kind", torch.full((1,), kind, dtype=torch.int32), persistent=False)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tuple[Tensor, Tensor]:
        if self.takes_kind:
            given = self.decode(tokens, self.kind.to(memory.device), memory)
        else:
            given = self.decode(tokens, memory)
        if self.gives_tokens:
            return given[1], given[0]
        else:
            return given, given.argmax(-1).to(torch.int32)


class NullContext(nn.Module):
    """Predicts every position from BOS alone, in one pass."""

    def __init__(self, guess: Pass, decoding: Decoding) -> None:
        super().__init__()
        self.guess = guess
        self.steps, self.bos_id = decoding.steps, decoding.bos_id

    def forward(self, memory: Tensor, rows: int) -> Tuple[Tensor, Tensor, int]:
        tokens = torch.full([rows, self.steps], self.bos_id, dtype=torch.int32, device=memory.device)
        values, ids = self.guess(tokens, memory)
        return values, ids, 1


class FixedPointLoop(nn.Module):
    """Decodes all positions at once, again and again, until every row's tokens up to its first EOS stop changing.

    Args:
        guess: Predicts what to start from: any guess gives the same result, a good one saves passes. None: empty rows.
        decode: Predicts all positions of a causal decoder.
        decoding: The settings.
    """

    def __init__(self, guess: Optional[NullContext], decode: Pass, decoding: Decoding) -> None:
        super().__init__()
        self.guess = guess
        self.decode_all = decode
        self.steps, self.bos_id, self.ends = decoding.steps, decoding.bos_id, list(decoding.ends)

    def forward(self, memory: Tensor, rows: int) -> Tuple[Tensor, Tensor, int]:
        """Memory of `rows` rows → values and ids, right up to and including each row's first EOS, and passes."""
        predictions = torch.full([rows, self.steps], self.ends[0], dtype=torch.int32, device=memory.device)
        passes = 1
        if self.guess is not None:
            _, predictions, guesses = self.guess(memory, rows)
            passes += guesses
        most = passes + self.steps - 1
        values, ids = self.decode_all(shift_right(predictions, self.bos_id), memory)
        while passes < most and not bool(((ids == predictions) | after_eos(ids, self.ends)).all()):
            predictions = ids
            values, ids = self.decode_all(shift_right(predictions, self.bos_id), memory)
            passes += 1
        return values, ids, passes


class GraphStart(nn.Module):
    """The state before the first step, computed by a graph."""

    def __init__(self, start: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.start = start

    def forward(self, memory: Tensor, rows: int) -> Tensor:
        return self.start(memory)


class EmptyState(nn.Module):
    """The state before the first step, where it is the same for every memory: nothing kept, and the position at 0."""

    state: Tensor

    def __init__(self, spec: TensorSpec) -> None:
        super().__init__()
        state = torch.zeros(1, *spec.shape, dtype=spec.torch_dtype)
        state[:, 0] = 1
        self.register_buffer("state", state, persistent=False)

    def forward(self, memory: Tensor, rows: int) -> Tensor:
        return self.state.to(memory.device).expand(rows, -1)


class StepLoop(nn.Module):
    """Decodes one position after the other, and stops once every row has ended.

    Args:
        begin: ``begin(memory, rows)`` → the state before the first step, one tensor.
        step: The graph ``step(token, state, memory)``: token (N,) int32 → logits (N, C), or the next token (N,) int32
            and its probability (N,); and the next state.
        decoding: The settings. Where what follows EOS has a meaning, all steps run.
    """

    gives_tokens: Final[bool]

    def __init__(
        self, begin: Callable[[Tensor, int], Tensor], step: Callable[[Tensor, Tensor, Tensor], Any], decoding: Decoding
    ) -> None:
        super().__init__()
        self.begin = begin
        self.step = step
        self.gives_tokens = decoding.gives_tokens
        self.steps, self.bos_id = decoding.steps, decoding.bos_id
        # No token is -1.
        self.ends = list(decoding.ends) if decoding.stops_at_eos else [-1]

    def one(self, token: Tensor, state: Tensor, memory: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """A step: values, the next token and the next state."""
        given = self.step(token, state, memory)
        if self.gives_tokens:
            return given[1], given[0], given[2]
        else:
            return given[0], given[0].argmax(-1).to(torch.int32), given[1]

    def forward(self, memory: Tensor, rows: int) -> Tuple[Tensor, Tensor, int]:
        """Memory of `rows` rows → values and ids, right up to each row's first EOS, and the steps that ran."""
        token = torch.full([rows], self.bos_id, dtype=torch.int32, device=memory.device)
        ended = torch.zeros_like(token, dtype=torch.bool)
        value, token, state = self.one(token, self.begin(memory, rows), memory)
        values, ids = [value], [token]
        ended = is_end(token, self.ends)
        while len(ids) < self.steps and not bool(ended.all()):
            value, token, state = self.one(token, state, memory)
            values.append(value)
            ids.append(token)
            ended = ended | is_end(token, self.ends)
        steps = len(ids)
        while len(ids) < self.steps:
            values.append(torch.zeros_like(value))
            ids.append(torch.zeros_like(token))
        return torch.stack(values, dim=1), torch.stack(ids, dim=1), steps


class Decoder(nn.Module):
    """Encodes, decodes and refines: inputs → logits (N, T, C), or tokens (N, T) int32 and probabilities (N, T).

    Args:
        encode: The graph ``encode(inputs)``, or ``encode(inputs, mask)``, → memory.
        loop: ``loop(memory, rows)`` → values, ids and the number of decoder calls.
        refine: A pass in the context of all other positions up to the first EOS, or None.
        decoding: The settings.
    """

    masked: Final[bool]
    gives_tokens: Final[bool]

    def __init__(
        self, encode: Callable[..., Tensor], loop: Counted, refine: Optional[Pass], decoding: Decoding
    ) -> None:
        super().__init__()
        self.encode = encode
        self.loop = loop
        self.refine = refine
        self.masked, self.gives_tokens = decoding.inputs > 1, decoding.gives_tokens
        self.refine_iters, self.bos_id, self.ends = decoding.refine_iters, decoding.bos_id, list(decoding.ends)
        self.zero_after_end = decoding.zero_after_end

    def forward(self, inputs: Tensor, mask: Optional[Tensor] = None):
        return self.read(inputs, mask)[0]

    @torch.jit.export
    def read(self, inputs: Tensor, mask: Optional[Tensor] = None):
        """The outputs of `forward`, and the number of decoder calls."""
        if self.masked:
            assert mask is not None
            memory = self.encode(inputs, mask)
        else:
            memory = self.encode(inputs)
        values, ids, passes = self.loop(memory, inputs.shape[0])
        if self.refine is not None:
            for _ in range(self.refine_iters):
                values, ids = self.refine(shift_right(ids, self.bos_id), memory)
        if self.zero_after_end:
            after = after_eos(ids, self.ends)
            values, ids = zero_where(values, after), zero_where(ids, after)
        if self.gives_tokens:
            return (ids, values), passes + self.refine_iters
        else:
            return values, passes + self.refine_iters


class FusedLoop(nn.Module):
    """Calls a graph that makes several passes, until every row has settled; gives what `Decoder` gives.

    Args:
        fused: The graph ``fused(inputs, start)``, or ``fused(inputs, mask, start)``, → logits (N, T, C), tokens (N, T)
            int32, settled (N,) int32; or tokens, probabilities (N, T) and settled.
        decoding: The settings.
    """

    masked: Final[bool]
    gives_tokens: Final[bool]

    def __init__(self, fused: Callable[..., Tuple[Tensor, Tensor, Tensor]], decoding: Decoding) -> None:
        super().__init__()
        self.fused = fused
        self.masked, self.gives_tokens = decoding.inputs > 1, decoding.gives_tokens
        self.steps = decoding.steps
        self.calls = decoding.most_calls
        self.passes = decoding.passes_in_call

    def forward(self, inputs: Tensor, mask: Optional[Tensor] = None):
        return self.read(inputs, mask)[0]

    def call(self, inputs: Tensor, mask: Optional[Tensor], start: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """One call of the graph."""
        if self.masked:
            assert mask is not None
            return self.fused(inputs, mask, start)
        else:
            return self.fused(inputs, start)

    @torch.jit.export
    def read(self, inputs: Tensor, mask: Optional[Tensor] = None):
        """The outputs of `forward`, and the number of decoder passes."""
        start = torch.full([inputs.shape[0], self.steps], -1, dtype=torch.int32, device=inputs.device)
        first, second, settled = self.call(inputs, mask, start)
        calls = 1
        while calls < self.calls and not bool((settled > 0).all()):
            again = self.call(inputs, mask, first if self.gives_tokens else second)
            # The tokens of a row that has settled are refined, and no place to go on from.
            first, second = keep_rows(settled, first, again[0]), keep_rows(settled, second, again[1])
            settled = torch.max(settled, again[2])
            calls += 1
        if self.gives_tokens:
            return (first, second), calls * self.passes
        else:
            return first, calls * self.passes
