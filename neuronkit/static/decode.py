"""Greedy decoding in fixed shapes.

Under a causal mask, position i of a decoder depends only on tokens before i. A full-length buffer whose tail is hidden
therefore gives the logits that a growing slice gives, and decoding all positions at once, feeding the argmax back
until the tokens stop changing, ends at the greedy result: position i is right after at most i + 1 passes.

The loops here are TorchScript as well as Python, so that one artifact holds the loop and the graphs it runs.
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
    is_eos = (predictions == eos_id).to(torch.int32)
    return (is_eos.cumsum(-1) - is_eos) > 0


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


def shift_right(predictions: Tensor, bos_id: int) -> Tensor:
    """Make a decoder's input from its predictions: BOS, then all but the last, as int32."""
    shifted = torch.full_like(predictions, bos_id)
    shifted[:, 1:] = predictions[:, :-1]
    return shifted.to(torch.int32)
