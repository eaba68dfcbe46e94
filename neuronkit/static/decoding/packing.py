"""Steps of a decoder as graphs of single tensors: states packed into one, decoders of all positions run stepwise."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.errors import SpecError
from neuronkit.specs import TensorSpec
from neuronkit.static.ops import tokens_of


@dataclass(frozen=True)
class Packed:
    """How one tensor of a state lies in the packed one.

    Attributes:
        shape: Without the row dimension.
        dtype: Its own dtype.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Layout:
    """How the tensors of a state lie, row by row, in one.

    Attributes:
        parts: The tensors, in order.
        dtype: The floating-point type that holds all of them: float32 or more where an integer is,
            which bfloat16 would round.
    """

    parts: tuple[Packed, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, state: Any) -> Layout:
        """The layout of a state: a tensor, or a tuple of tensors, with N rows each.

        Raises:
            SpecError: If it is something else.
        """
        tensors = _tensors(state)
        if not tensors or not all(isinstance(t, Tensor) and t.dim() >= 1 for t in tensors):
            raise SpecError(
                f"initial_state gave {type(state).__name__}; expected a tensor or a tuple of tensors with N rows each"
            )
        dtypes = (t.dtype if t.is_floating_point() else torch.float32 for t in tensors)
        # Here and not while packing: an export would write it into the graph.
        dtype = functools.reduce(torch.promote_types, dtypes)
        return cls(tuple(Packed(tuple(t.shape[1:]), t.dtype) for t in tensors), dtype)

    @property
    def widths(self) -> list[int]:
        """Entries of each in a row."""
        return [math.prod(part.shape) for part in self.parts]

    def spec(self, rows: int) -> TensorSpec:
        """The packed state, (N, K)."""
        return TensorSpec("state", (rows, sum(self.widths)), self.dtype, fill=0)

    def pack(self, state: Any) -> Tensor:
        """(N, ...) tensors → one (N, K) float tensor."""
        return torch.cat([t.reshape(-1, n).to(self.dtype) for t, n in zip(_tensors(state), self.widths)], dim=1)

    def unpack(self, packed: Tensor) -> Any:
        """The inverse of `pack`: a tensor, or a tuple of several."""
        pieces = zip(packed.split(self.widths, dim=1), self.parts)
        state = tuple(piece.reshape(-1, *part.shape).to(part.dtype) for piece, part in pieces)
        return state if len(state) > 1 else state[0]


def state_layout(decoder: Any, memory: Tensor) -> Layout:
    """The layout of a decoder's states, as they begin with this memory."""
    with torch.no_grad():
        return Layout.of(decoder.initial_state(memory))


class PackedStart(nn.Module):
    """A decoder's `initial_state` as a graph: memory → packed state."""

    def __init__(self, decoder: Any, layout: Layout) -> None:
        super().__init__()
        self.decoder = decoder
        self.layout = layout

    def forward(self, memory: Tensor) -> Tensor:
        return self.layout.pack(self.decoder.initial_state(memory))


class PackedStep(nn.Module):
    """A decoder's `step` as a graph: token (N,) int32, packed state, memory → logits (N, C), packed state.

    Or the next token (N,) int32 and its probability (N,), and the packed state.
    """

    def __init__(self, decoder: Any, layout: Layout, gives_tokens: bool) -> None:
        super().__init__()
        self.decoder = decoder
        self.layout = layout
        self.gives_tokens = gives_tokens

    def forward(self, token: Tensor, state: Tensor, memory: Tensor) -> tuple[Tensor, ...]:
        logits, following = self.decoder.step(token, self.layout.unpack(state), memory)
        return *(tokens_of(logits) if self.gives_tokens else (logits,)), self.layout.pack(following)


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
