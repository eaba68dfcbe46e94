"""Greedy decoding in fixed shapes: the loops.

Under a causal mask, position i of a decoder depends only on tokens before i. A full-length buffer whose tail is hidden
therefore gives the logits that a growing slice gives, and decoding all positions at once, feeding the argmax back
until the tokens stop changing, ends at the greedy result: position i is right after at most i + 1 passes.

The loops are TorchScript as well as Python, so that one artifact holds the loop and the graphs it runs. Inputs and
outputs of the graphs are single tensors, which every target and every loop can pass on.
"""

# No `from __future__ import annotations`: TorchScript reads the annotations of this file.
from typing import Callable, Tuple

import torch
from torch import Tensor, nn


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


def shift_right(predictions: Tensor, bos_id: int) -> Tensor:
    """Make a decoder's input from its predictions: BOS, then all but the last, as int32."""
    bos = torch.full_like(predictions[:, :1], bos_id)
    return torch.cat([bos, predictions[:, :-1]], dim=1).to(torch.int32)


class FixedPointLoop(nn.Module):
    """Decodes all positions at once, again and again, until every row's tokens up to its first EOS stop changing.

    Args:
        logits: ``logits(tokens, memory)`` of a causal decoder: tokens (N, T) int32, BOS first, and whatever the
            encoder gives → logits (N, T, C).
        steps: T.
        bos_id: The id that begins a row.
        eos_id: The id that ends a row.
    """

    def __init__(self, logits: Callable[[Tensor, Tensor], Tensor], steps: int, bos_id: int, eos_id: int) -> None:
        super().__init__()
        self.logits = logits
        self.steps = steps
        self.bos_id = bos_id
        self.eos_id = eos_id

    def forward(self, guess: Tensor, memory: Tensor) -> Tuple[Tensor, int]:
        """Decode.

        Args:
            guess: (N, T) predicted ids to start from. Any guess gives the same result; a good one saves passes.
            memory: What `logits` takes.

        Returns:
            Logits (N, T, C), right up to and including each row's first EOS, and the number of passes that ran.
        """
        predictions = guess
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
        return logits, passes


class StepLoop(nn.Module):
    """Decodes one position after the other, and stops once every row has ended.

    Args:
        start: ``start(memory)`` → the state before the first step, one tensor.
        step: ``step(token, state, memory)``: token (N,) int32 → logits (N, C) and the next state.
        steps: T, the longest row.
        bos_id: The id that begins a row.
        eos_id: The id that ends a row.
    """

    def __init__(
        self,
        start: Callable[[Tensor], Tensor],
        step: Callable[[Tensor, Tensor, Tensor], Tuple[Tensor, Tensor]],
        steps: int,
        bos_id: int,
        eos_id: int,
    ) -> None:
        super().__init__()
        self.start = start
        self.step = step
        self.steps = steps
        self.bos_id = bos_id
        self.eos_id = eos_id

    def forward(self, memory: Tensor, batch: int) -> Tuple[Tensor, int]:
        """Decode `batch` rows.

        Returns:
            Logits (N, T, C), zero after each row's first EOS, and the number of steps that ran.
        """
        state = self.start(memory)
        token = torch.full([batch], self.bos_id, dtype=torch.int32, device=memory.device)
        logits, state = self.step(token, state, memory)
        rows = [logits]
        token = logits.argmax(-1).to(torch.int32)
        ended = token == self.eos_id
        while len(rows) < self.steps and not bool(ended.all()):
            logits, state = self.step(token, state, memory)
            rows.append(logits)
            token = logits.argmax(-1).to(torch.int32)
            ended = ended | (token == self.eos_id)
        stacked = torch.stack(rows, dim=1)
        missing = self.steps - len(rows)
        return end_at_eos(torch.nn.functional.pad(stacked, [0, 0, 0, missing]), self.eos_id), len(rows)


class FixedPointReader(nn.Module):
    """`FixedPointLoop` from a memory alone, for decoders that offer no better guess.

    Args:
        logits: As in `FixedPointLoop`, as the three arguments after it.
        keep_rest: Keep what follows a row's first EOS, where `logits` gives it a meaning. Otherwise it is zero.
    """

    def __init__(
        self,
        logits: Callable[[Tensor, Tensor], Tensor],
        steps: int,
        bos_id: int,
        eos_id: int,
        keep_rest: bool = False,
    ) -> None:
        super().__init__()
        self.loop = FixedPointLoop(logits, steps, bos_id, eos_id)
        self.steps = steps
        self.eos_id = eos_id
        self.keep_rest = keep_rest

    def forward(self, memory: Tensor) -> Tensor:
        return self.read(memory)[0]

    @torch.jit.export
    def read(self, memory: Tensor) -> Tuple[Tensor, int]:
        """Memory (N, ...) → logits (N, T, C), and the number of passes that ran."""
        guess = torch.full([memory.shape[0], self.steps], self.eos_id, dtype=torch.int64, device=memory.device)
        logits, passes = self.loop(guess, memory)
        return logits if self.keep_rest else end_at_eos(logits, self.eos_id), passes


class StepReader(nn.Module):
    """`StepLoop` from a memory alone.

    Args:
        start: As in `StepLoop`, as the arguments after it.
    """

    def __init__(
        self,
        start: Callable[[Tensor], Tensor],
        step: Callable[[Tensor, Tensor, Tensor], Tuple[Tensor, Tensor]],
        steps: int,
        bos_id: int,
        eos_id: int,
    ) -> None:
        super().__init__()
        self.loop = StepLoop(start, step, steps, bos_id, eos_id)

    def forward(self, memory: Tensor) -> Tensor:
        return self.read(memory)[0]

    @torch.jit.export
    def read(self, memory: Tensor) -> Tuple[Tensor, int]:
        """Memory (N, ...) → logits (N, T, C), and the number of steps that ran."""
        return self.loop(memory, memory.shape[0])


class Unrolled(nn.Module):
    """All steps in one graph, without loop or branch.

    Args:
        start: As in `StepLoop`.
        step: As in `StepLoop`.
        steps: T.
        bos_id: The id that begins a row.
    """

    bos: Tensor

    def __init__(self, start: nn.Module, step: nn.Module, steps: int, bos_id: int) -> None:
        super().__init__()
        self.start = start
        self.step = step
        self.steps = steps
        self.register_buffer("bos", torch.full((1,), bos_id, dtype=torch.int32), persistent=False)

    def forward(self, memory: Tensor) -> Tensor:
        """Memory → logits (N, T, C)."""
        state = self.start(memory)
        token = self.bos.to(memory.device).expand(state.shape[0])
        rows = []
        for _ in range(self.steps):
            logits, state = self.step(token, state, memory)
            rows.append(logits)
            token = logits.argmax(-1).to(torch.int32)
        return torch.stack(rows, dim=1)
