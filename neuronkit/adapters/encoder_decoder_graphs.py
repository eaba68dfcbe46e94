"""How the graphs of an encoder and a greedy decoder are joined, in TorchScript as well as in Python."""

# No `from __future__ import annotations`: TorchScript reads the annotations of this file.
from typing import Any, Callable

from torch import Tensor, nn


class AllPositions(nn.Module):
    """A decoder's `logits` as a graph: tokens (N, T) int32 and memory → logits (N, T, C)."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        return self.decoder.logits(tokens, memory)


class EncodeRead(nn.Module):
    """Encodes one input, and reads what the encoder gives.

    Args:
        encode: ``encode(inputs)`` → memory, N rows first.
        read: ``read(memory)`` → logits.
    """

    def __init__(self, encode: Callable[[Tensor], Tensor], read: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.encode = encode
        self.read = read

    def forward(self, inputs: Tensor) -> Tensor:
        return self.read(self.encode(inputs))


class EncodeReadMasked(nn.Module):
    """`EncodeRead` with a mask beside the input.

    Args:
        encode: ``encode(inputs, mask)`` → memory, N rows first.
        read: ``read(memory)`` → logits.
    """

    def __init__(self, encode: Callable[[Tensor, Tensor], Tensor], read: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.encode = encode
        self.read = read

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        return self.read(self.encode(inputs, mask))
