"""Greedy decoding in fixed shapes: the loops around graphs.

Under a causal mask, position i of a decoder depends only on tokens before i. A full-length buffer whose tail is hidden
therefore gives the logits that a growing slice gives, and decoding all positions at once, feeding the argmax back
until the tokens stop changing, ends at the greedy result: position i is right after at most i + 1 passes.

Everything here is TorchScript as well as Python, so that one artifact can hold the loop and the graphs it runs, and a
target without TorchScript can run it too. Inputs and outputs of the graphs are single tensors. The attribute that
holds a graph has the graph's name, by which a loaded artifact is compared with its manifest.
"""

# No `from __future__ import annotations`: TorchScript reads the annotations of this file.
from typing import Callable, List, Tuple

import torch
from torch import Tensor, nn

from neuronkit.specs import TensorSpec

# What a graph is called with, where a decoder makes passes of several kinds: see protocols.py.
GUESS, CAUSAL, REFINE = 0, 1, 2

Logits = Callable[[Tensor, Tensor], Tensor]
# (memory, rows) → logits or ids, and the number of decoder calls.
Counted = Callable[[Tensor, int], Tuple[Tensor, int]]


def after_eos(predictions: Tensor, eos_id: int) -> Tensor:
    """Mark what follows the first EOS of each row.

    Args:
        predictions: (N, T) token ids.
        eos_id: The id that ends a row.

    Returns:
        (N, T) bool, False up to and including the first EOS.
    """
    # Counted in float32: int32 would be summed in int64, which no Neuron graph should hold.
    is_eos = (predictions == eos_id).to(torch.float32)
    return (is_eos.cumsum(-1) - is_eos) > 0


def end_at_eos(logits: Tensor, eos_id: int) -> Tensor:
    """Zero what follows each row's first EOS: what a loop leaves there depends on when the other rows ended.

    Args:
        logits: (N, T, C).
        eos_id: The id that ends a row.
    """
    return logits.masked_fill(after_eos(logits.argmax(-1), eos_id).unsqueeze(-1), 0.0)


def until_eos(logits: Tensor, eos_id: int) -> List[List[int]]:
    """The ids that logits (N, T, C) say, of each row up to and without its first EOS."""
    rows: List[List[int]] = logits.argmax(-1).tolist()
    return [row[: row.index(eos_id)] if eos_id in row else row for row in rows]


def shift_right(predictions: Tensor, bos_id: int) -> Tensor:
    """Make a decoder's input from its predictions: BOS, then all but the last, as int32."""
    bos = torch.full_like(predictions[:, :1], bos_id)
    return torch.cat([bos, predictions[:, :-1]], dim=1).to(torch.int32)


class Pass(nn.Module):
    """A graph ``decode(tokens, memory)``, under its name."""

    def __init__(self, decode: Logits) -> None:
        super().__init__()
        self.decode = decode

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        return self.decode(tokens, memory)


class PassOfKind(nn.Module):
    """``decode(tokens, kind, memory)`` of one kind, as ``logits(tokens, memory)``."""

    kind: Tensor

    def __init__(self, decode: Callable[[Tensor, Tensor, Tensor], Tensor], kind: int) -> None:
        super().__init__()
        self.decode = decode
        self.register_buffer("kind", torch.full((1,), kind, dtype=torch.int32), persistent=False)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        return self.decode(tokens, self.kind.to(memory.device), memory)


class EmptyGuess(nn.Module):
    """Guesses that every row is empty, for decoders that offer nothing better."""

    def __init__(self, steps: int, eos_id: int) -> None:
        super().__init__()
        self.steps = steps
        self.eos_id = eos_id

    def forward(self, memory: Tensor, rows: int) -> Tuple[Tensor, int]:
        return torch.full([rows, self.steps], self.eos_id, dtype=torch.int64, device=memory.device), 0


class NullContext(nn.Module):
    """Predicts every position from BOS alone, in one pass: logits."""

    def __init__(self, logits: Logits, steps: int, bos_id: int) -> None:
        super().__init__()
        self.logits = logits
        self.steps = steps
        self.bos_id = bos_id

    def forward(self, memory: Tensor, rows: int) -> Tuple[Tensor, int]:
        tokens = torch.full([rows, self.steps], self.bos_id, dtype=torch.int32, device=memory.device)
        return self.logits(tokens, memory), 1


class NullContextGuess(nn.Module):
    """The ids that `NullContext` predicts."""

    def __init__(self, null_context: NullContext) -> None:
        super().__init__()
        self.null_context = null_context

    def forward(self, memory: Tensor, rows: int) -> Tuple[Tensor, int]:
        logits, passes = self.null_context(memory, rows)
        return logits.argmax(-1), passes


class FixedPointLoop(nn.Module):
    """Decodes all positions at once, again and again, until every row's tokens up to its first EOS stop changing.

    Args:
        guess: Predicted ids (N, T) to start from. Any guess gives the same result; a good one saves passes.
        logits: ``logits(tokens, memory)`` of a causal decoder: tokens (N, T) int32, BOS first, and whatever the
            encoder gives → logits (N, T, C).
        steps: T.
        bos_id: The id that begins a row.
        eos_id: The id that ends a row.
        keep_rest: Keep what follows a row's first EOS, where `logits` gives it a meaning. Otherwise it is zero.
    """

    def __init__(self, guess: Counted, logits: Logits, steps: int, bos_id: int, eos_id: int, keep_rest: bool) -> None:
        super().__init__()
        self.guess = guess
        self.logits = logits
        self.steps = steps
        self.bos_id = bos_id
        self.eos_id = eos_id
        self.keep_rest = keep_rest

    def forward(self, memory: Tensor, rows: int) -> Tuple[Tensor, int]:
        """Memory of `rows` rows → logits (N, T, C), right up to and including each row's first EOS, and passes."""
        predictions, guesses = self.guess(memory, rows)
        logits = self.logits(shift_right(predictions, self.bos_id), memory)
        passes = 1
        changed = True
        while changed and passes < self.steps:
            new = logits.argmax(-1)
            changed = not bool(((new == predictions) | after_eos(new, self.eos_id)).all())
            if changed:
                predictions = new
                logits = self.logits(shift_right(predictions, self.bos_id), memory)
                passes += 1
        return logits if self.keep_rest else end_at_eos(logits, self.eos_id), guesses + passes


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
        step: ``step(token, state, memory)``: token (N,) int32 → logits (N, C) and the next state.
        steps: T, the longest row.
        bos_id: The id that begins a row.
        eos_id: The id that ends a row; -1, which no token is, runs all steps and keeps what follows.
    """

    def __init__(
        self,
        begin: Callable[[Tensor, int], Tensor],
        step: Callable[[Tensor, Tensor, Tensor], Tuple[Tensor, Tensor]],
        steps: int,
        bos_id: int,
        eos_id: int,
    ) -> None:
        super().__init__()
        self.begin = begin
        self.step = step
        self.steps = steps
        self.bos_id = bos_id
        self.eos_id = eos_id

    def forward(self, memory: Tensor, rows: int) -> Tuple[Tensor, int]:
        """Memory of `rows` rows → logits (N, T, C), zero after each row's first EOS, and the steps that ran."""
        state = self.begin(memory, rows)
        token = torch.full([rows], self.bos_id, dtype=torch.int32, device=memory.device)
        logits, state = self.step(token, state, memory)
        stepped = [logits]
        token = logits.argmax(-1).to(torch.int32)
        ended = token == self.eos_id
        while len(stepped) < self.steps and not bool(ended.all()):
            logits, state = self.step(token, state, memory)
            stepped.append(logits)
            token = logits.argmax(-1).to(torch.int32)
            ended = ended | (token == self.eos_id)
        missing = self.steps - len(stepped)
        logits = torch.nn.functional.pad(torch.stack(stepped, dim=1), [0, 0, 0, missing])
        return end_at_eos(logits, self.eos_id), len(stepped)


class Refine(nn.Module):
    """A refinement pass: every position is read again, in the context of all the others up to the first EOS."""

    def __init__(self, logits: Logits, bos_id: int) -> None:
        super().__init__()
        self.logits = logits
        self.bos_id = bos_id

    def forward(self, logits: Tensor, memory: Tensor) -> Tensor:
        """Logits (N, T, C) of the pass before → logits (N, T, C)."""
        return self.logits(shift_right(logits.argmax(-1), self.bos_id), memory)


class KeepLogits(nn.Module):
    """In place of `Refine` where nothing is refined."""

    def forward(self, logits: Tensor, memory: Tensor) -> Tensor:
        return logits


class Decoder(nn.Module):
    """Encodes one input, decodes and refines.

    Args:
        encode: ``encode(inputs)`` → memory.
        loop: ``loop(memory, rows)`` → logits and the number of decoder calls.
        refine: ``refine(logits, memory)`` → logits.
        refine_iters: How often.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Tensor],
        loop: Counted,
        refine: Callable[[Tensor, Tensor], Tensor],
        refine_iters: int,
    ) -> None:
        super().__init__()
        self.encode = encode
        self.loop = loop
        self.refine = refine
        self.refine_iters = refine_iters

    def forward(self, inputs: Tensor) -> Tensor:
        return self.read(inputs)[0]

    @torch.jit.export
    def read(self, inputs: Tensor) -> Tuple[Tensor, int]:
        """Logits (N, T, C), and the number of decoder calls."""
        memory = self.encode(inputs)
        logits, passes = self.loop(memory, inputs.shape[0])
        for _ in range(self.refine_iters):
            logits = self.refine(logits, memory)
        return logits, passes + self.refine_iters


class MaskedDecoder(nn.Module):
    """`Decoder` for an input with a mask beside it.

    Args:
        encode: ``encode(inputs, mask)`` → memory.
        loop: ``loop(memory, rows)`` → logits and the number of decoder calls.
        refine: ``refine(logits, memory)`` → logits.
        refine_iters: How often.
    """

    def __init__(
        self,
        encode: Callable[[Tensor, Tensor], Tensor],
        loop: Counted,
        refine: Callable[[Tensor, Tensor], Tensor],
        refine_iters: int,
    ) -> None:
        super().__init__()
        self.encode = encode
        self.loop = loop
        self.refine = refine
        self.refine_iters = refine_iters

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        return self.read(inputs, mask)[0]

    @torch.jit.export
    def read(self, inputs: Tensor, mask: Tensor) -> Tuple[Tensor, int]:
        """Logits (N, T, C), and the number of decoder calls."""
        memory = self.encode(inputs, mask)
        logits, passes = self.loop(memory, inputs.shape[0])
        for _ in range(self.refine_iters):
            logits = self.refine(logits, memory)
        return logits, passes + self.refine_iters


class FusedLoop(nn.Module):
    """Calls a graph that makes several passes, until every row has settled.

    Args:
        fused: ``fused(inputs, start)`` → logits (N, T, C), tokens (N, T) int32, settled (N,) int32.
        steps: T.
        calls: After so many every row is right, whatever it says.
        passes: Decoder passes in one call.
    """

    def __init__(
        self,
        fused: Callable[[Tensor, Tensor], Tuple[Tensor, Tensor, Tensor]],
        steps: int,
        calls: int,
        passes: int,
    ) -> None:
        super().__init__()
        self.fused = fused
        self.steps = steps
        self.calls = calls
        self.passes = passes

    def forward(self, inputs: Tensor) -> Tensor:
        return self.read(inputs)[0]

    @torch.jit.export
    def read(self, inputs: Tensor) -> Tuple[Tensor, int]:
        """Logits (N, T, C), and the number of decoder passes."""
        tokens = torch.full([inputs.shape[0], self.steps], -1, dtype=torch.int32, device=inputs.device)
        logits, tokens, settled = self.fused(inputs, tokens)
        calls = 1
        while calls < self.calls and not bool((settled > 0).all()):
            logits, tokens, settled = self.fused(inputs, tokens)
            calls += 1
        return logits, calls * self.passes


class MaskedFusedLoop(nn.Module):
    """`FusedLoop` for an input with a mask beside it.

    Args:
        fused: ``fused(inputs, mask, start)`` → logits (N, T, C), tokens (N, T) int32, settled (N,) int32.
        steps: T.
        calls: After so many every row is right, whatever it says.
        passes: Decoder passes in one call.
    """

    def __init__(
        self,
        fused: Callable[[Tensor, Tensor, Tensor], Tuple[Tensor, Tensor, Tensor]],
        steps: int,
        calls: int,
        passes: int,
    ) -> None:
        super().__init__()
        self.fused = fused
        self.steps = steps
        self.calls = calls
        self.passes = passes

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        return self.read(inputs, mask)[0]

    @torch.jit.export
    def read(self, inputs: Tensor, mask: Tensor) -> Tuple[Tensor, int]:
        """Logits (N, T, C), and the number of decoder passes."""
        tokens = torch.full([inputs.shape[0], self.steps], -1, dtype=torch.int32, device=inputs.device)
        logits, tokens, settled = self.fused(inputs, mask, tokens)
        calls = 1
        while calls < self.calls and not bool((settled > 0).all()):
            logits, tokens, settled = self.fused(inputs, mask, tokens)
            calls += 1
        return logits, calls * self.passes
