"""How the graphs of a static PARSeq are joined: decode by one of the methods, then refine.

Everything here is TorchScript as well as Python. `Whole` alone is a graph itself.
"""

# No `from __future__ import annotations`: TorchScript reads the annotations of this file.
from typing import Callable, Tuple

import torch
from torch import Tensor, nn

from neuronkit.adapters.parseq_graphs import hiding
from neuronkit.static.decode import FixedPointLoop, after_eos, end_at_eos, shift_right
from neuronkit.static.sentinels import sentinel

Decoded = Tuple[Tensor, int]


class MaskedPass(nn.Module):
    """A pass of the `Decode` graph under one mask.

    Args:
        decode: ``decode(tokens, mask, memory)`` → logits.
        seen: (T, T), 1 where a query (row) sees a key (column), of the memory's dtype.
    """

    hidden: Tensor

    def __init__(self, decode: Callable[[Tensor, Tensor, Tensor], Tensor], seen: Tensor) -> None:
        super().__init__()
        self.decode = decode
        self.register_buffer("hidden", hiding(seen).unsqueeze(0), persistent=False)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Decode (N, T) int32 tokens."""
        mask = self.hidden.to(memory.device).expand(tokens.shape[0], -1, -1)
        return self.decode(tokens, mask.contiguous(), memory)


class NullContext(nn.Module):
    """Predicts every position from BOS alone."""

    def __init__(
        self, decode: Callable[[Tensor, Tensor, Tensor], Tensor], steps: int, bos_id: int, dtype: torch.dtype
    ) -> None:
        super().__init__()
        first = torch.zeros(steps, steps, dtype=dtype)
        first[:, 0] = 1
        self.guess = MaskedPass(decode, first)
        self.steps = steps
        self.bos_id = bos_id

    def forward(self, memory: Tensor, batch: int) -> Decoded:
        tokens = torch.full([batch, self.steps], self.bos_id, dtype=torch.int32, device=memory.device)
        return self.guess(tokens, memory), 1


class FixedPoint(nn.Module):
    """Greedy decoding from the null-context guess, all positions at once."""

    def __init__(
        self,
        decode: Callable[[Tensor, Tensor, Tensor], Tensor],
        steps: int,
        bos_id: int,
        eos_id: int,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.null_context = NullContext(decode, steps, bos_id, dtype)
        causal = MaskedPass(decode, torch.ones(steps, steps, dtype=dtype).tril())
        self.loop = FixedPointLoop(causal, steps, bos_id, eos_id)
        self.eos_id = eos_id

    def forward(self, memory: Tensor, batch: int) -> Decoded:
        guess, passes = self.null_context(memory, batch)
        logits, causal_passes = self.loop(guess.argmax(-1), memory)
        return end_at_eos(logits, self.eos_id), passes + causal_passes


class Refine(nn.Module):
    """One refinement pass: every position is read again, in the context of all the others."""

    hidden: Tensor

    def __init__(
        self,
        decode: Callable[[Tensor, Tensor, Tensor], Tensor],
        steps: int,
        bos_id: int,
        eos_id: int,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        # Cloze: a query sees every token but its own, which stands one place to the right of it.
        seen = 1 - torch.diag(torch.ones(steps - 1, dtype=dtype), 1)
        self.decode = decode
        self.register_buffer("hidden", hiding(seen).unsqueeze(0), persistent=False)
        self.bos_id = bos_id
        self.eos_id = eos_id
        self.hidden_score = -sentinel(dtype)

    def forward(self, logits: Tensor, memory: Tensor) -> Tensor:
        """Logits (N, T, C) of the pass before → logits (N, T, C)."""
        tokens = shift_right(logits.argmax(-1), self.bos_id)
        # From its first EOS on, a word's tokens are hidden from everybody.
        # logical_or, because Inf1 has no `|`.
        ended = torch.logical_or(after_eos(tokens, self.eos_id), tokens == self.eos_id).unsqueeze(1)
        hidden = self.hidden.to(memory.device)
        mask = torch.where(ended, torch.full_like(hidden, self.hidden_score), hidden)
        return self.decode(tokens, mask, memory)


class KeepLogits(nn.Module):
    """In place of `Refine` where nothing is refined."""

    def forward(self, logits: Tensor, memory: Tensor) -> Tensor:
        return logits


class Reader(nn.Module):
    """Encodes, decodes and refines.

    Args:
        encode: ``encode(images)`` → memory.
        decoder: ``decoder(memory, batch)`` → logits and the passes used: `FixedPoint`, `NullContext` or `StepLoop`.
        refine: `Refine`, run `refine_iters` times.
        refine_iters: How often.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Tensor],
        decoder: Callable[[Tensor, int], Decoded],
        refine: Callable[[Tensor, Tensor], Tensor],
        refine_iters: int,
    ) -> None:
        super().__init__()
        self.encode = encode
        self.decoder = decoder
        self.refine = refine
        self.refine_iters = refine_iters

    def forward(self, images: Tensor) -> Tensor:
        return self.read(images)[0]

    @torch.jit.export
    def read(self, images: Tensor) -> Decoded:
        """Logits (N, T, C), and the number of decoder passes that ran."""
        memory = self.encode(images)
        logits, passes = self.decoder(memory, images.shape[0])
        for _ in range(self.refine_iters):
            logits = self.refine(logits, memory)
            passes += 1
        return logits, passes


class Whole(nn.Module):
    """Encoding, all decoding steps and refinement in one graph."""

    def __init__(self, encode: nn.Module, unrolled: nn.Module, refine: nn.Module, refine_iters: int) -> None:
        super().__init__()
        self.encode = encode
        self.unrolled = unrolled
        self.refine = refine
        self.refine_iters = refine_iters

    def forward(self, images: Tensor) -> Tensor:
        memory = self.encode(images)
        logits = self.unrolled(memory)
        for _ in range(self.refine_iters):
            logits = self.refine(logits, memory)
        return logits
