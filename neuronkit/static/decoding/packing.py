"""Steps of a decoder as graphs of single tensors: states packed into one, all-position decoders seen as steps."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.errors import SpecError
from neuronkit.specs import TensorSpec


@dataclass(frozen=True)
class Packed:
    """How one tensor of a state lies in the packed one.

    Attributes:
        shape: Without the row dimension.
        dtype: Its own dtype; the packed tensor is of the floating-point type that holds all of them.
        width: Entries per row.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    width: int


def packed_layout(state: Any) -> tuple[Packed, ...]:
    """The layout of a state: a tensor, or a tuple of tensors, with N rows each.

    Raises:
        SpecError: If it is something else.
    """
    tensors = _tensors(state)
    if not tensors or not all(isinstance(t, Tensor) and t.dim() >= 1 for t in tensors):
        raise SpecError(
            f"initial_state gave {type(state).__name__}; expected a tensor or a tuple of tensors with N rows each"
        )
    return tuple(Packed(tuple(t.shape[1:]), t.dtype, t[0].numel()) for t in tensors)


def pack(state: Any) -> Tensor:
    """(N, ...) tensors → one (N, K) float tensor."""
    tensors = _tensors(state)
    # Integers as float32 at least: bfloat16 would round those above 256.
    dtypes = (t.dtype if t.is_floating_point() else torch.float32 for t in tensors)
    dtype = functools.reduce(torch.promote_types, dtypes)
    return torch.cat([t.flatten(1).to(dtype) if t.dim() > 1 else t.unsqueeze(1).to(dtype) for t in tensors], dim=1)


def unpack(packed: Tensor, layout: tuple[Packed, ...]) -> tuple[Tensor, ...]:
    """The inverse of `pack`."""
    pieces = zip(packed.split([part.width for part in layout], dim=1), layout)
    return tuple(p.reshape(-1, *part.shape).to(part.dtype) for p, part in pieces)


def packed_step(decoder: Any, memory: Tensor) -> PackedStep:
    """The graph of a decoder's `step`, for states as they begin with this memory."""
    with torch.no_grad():
        return PackedStep(decoder, packed_layout(decoder.initial_state(memory)))


def packed_spec(decoder: Any, memory: Tensor) -> TensorSpec:
    """The packed state of a decoder, one row for each of the memory's."""
    with torch.no_grad():
        state = pack(decoder.initial_state(memory))
    return TensorSpec("state", state.shape, state.dtype, fill=0)


class PackedStart(nn.Module):
    """A decoder's `initial_state` as a graph: memory → packed state."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, memory: Tensor) -> Tensor:
        return pack(self.decoder.initial_state(memory))


class PackedStep(nn.Module):
    """A decoder's `step` as a graph: token (N,) int32, packed state, memory → logits (N, C), packed state."""

    def __init__(self, decoder: Any, layout: tuple[Packed, ...]) -> None:
        super().__init__()
        self.decoder = decoder
        self.layout = layout

    def forward(self, token: Tensor, state: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        unpacked = unpack(state, self.layout)
        logits, following = self.decoder.step(token, unpacked if len(unpacked) > 1 else unpacked[0], memory)
        return logits, pack(following)


class LogitsStep(nn.Module):
    """A decoder of all positions, used one position at a time: the state is the position, one-hot, and the tokens.

    Attributes:
        state: The packed state before the first step.
    """

    def __init__(self, decoder: Any, steps: int) -> None:
        super().__init__()
        self.decoder = decoder
        self.state = TensorSpec("state", (2 * steps,))
        first = torch.zeros(1, steps)
        first[0, 0] = 1
        self.register_buffer("first", first, persistent=False)

    def initial_state(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        position = self.first.to(memory.device).expand(memory.shape[0], -1)  # type: ignore[operator]
        return position, torch.zeros_like(position, dtype=torch.int32)

    def step(self, token: Tensor, state: tuple[Tensor, Tensor], memory: Tensor) -> tuple[Tensor, Any]:
        position, tokens = state
        here = position > 0
        tokens = torch.where(here, token.unsqueeze(1), tokens)
        logits = self.decoder.logits(tokens, memory)
        # where, not a product: a logit may be -inf.
        chosen = torch.where(here.unsqueeze(-1), logits, torch.zeros_like(logits)).sum(1)
        following = torch.cat([torch.zeros_like(position[:, :1]), position[:, :-1]], dim=1)
        return chosen, (following, tokens)


def _tensors(state: Any) -> list[Any]:
    return list(state) if isinstance(state, (tuple, list)) else [state]
