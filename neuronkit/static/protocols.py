"""The two protocols that a greedy decoder may follow, and the checks that it keeps what it promises."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.errors import SpecError
from neuronkit.static.steps import Packed, packed_layout


def as_module(decoder: Any) -> nn.Module:
    """The decoder as a module with the methods of a protocol.

    Raises:
        SpecError: If it follows neither.
    """
    if hasattr(decoder, "step") and not hasattr(decoder, "initial_state"):
        raise SpecError(
            f"{type(decoder).__name__} has step but no initial_state(memory); add it, with N rows in each tensor"
        )
    if hasattr(decoder, "step"):
        return decoder if isinstance(decoder, nn.Module) else _Steps(decoder)
    if hasattr(decoder, "logits"):
        return decoder if isinstance(decoder, nn.Module) else _LogitsFunction(decoder.logits)
    if _takes_two(decoder.forward if isinstance(decoder, nn.Module) else decoder):
        return _LogitsFunction(decoder)
    raise SpecError(
        f"{type(decoder).__name__} is no decoder neuronkit knows; give logits(tokens, memory), or an object with "
        "step(token, state, memory) and initial_state(memory)"
    )


def _takes_two(function: Any) -> bool:
    try:
        inspect.signature(function).bind("tokens", "memory")
    except (TypeError, ValueError):
        return False
    return True


class _LogitsFunction(nn.Module):
    """A function or a module under the protocol's name."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        return self.function(tokens, memory)


class _Steps(nn.Module):
    """An object that is no module, under the protocol's names."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.step = decoder.step
        self.initial_state = decoder.initial_state


class LogitsGraph(nn.Module):
    """A decoder's `logits` as a graph."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        return self.decoder.logits(tokens, memory)


def check_steps(decoder: Any, memory: Tensor, bos_id: int) -> None:
    """Run one step, and see that the state keeps its shapes.

    Raises:
        SpecError: If the state, the logits or the next state are not what the protocol says.
    """
    rows = len(memory)
    state = decoder.initial_state(memory)
    before = _layout("initial_state", state, rows)
    token = torch.full((rows,), bos_id, dtype=torch.int32, device=memory.device)
    given = decoder.step(token, state, memory)
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise SpecError(f"step gave {_described(given)}; expected logits ({rows}, classes) and the next state")
    logits, following = given
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != rows:
        raise SpecError(f"step gave {_described(logits)} as logits; expected a tensor ({rows}, classes)")
    after = _layout("step", following, rows)
    if after != before:
        raise SpecError(
            f"step turned a state of {_shapes(before)} into one of {_shapes(after)}; a static graph needs the same at "
            "every step: keep a buffer of full length, and write into it by position"
        )


def _layout(method: str, state: Any, rows: int) -> tuple[Packed, ...]:
    layout = packed_layout(state)
    wrong = [t for t in (state if isinstance(state, (tuple, list)) else [state]) if len(t) != rows]
    if wrong:
        raise SpecError(
            f"{method} gave a state of {_described(wrong[0])} for {rows} rows of memory; its first dimension must be "
            "the rows, so transpose it"
        )
    return layout


def _shapes(layout: tuple[Packed, ...]) -> str:
    return ", ".join(str(("N", *part.shape)).replace("'", "") + f" {part.dtype}" for part in layout)


def check_causality(logits: Callable[[Tensor, Tensor], Tensor], memory: Tensor, steps: int, bos_id: int) -> None:
    """Change one later token at a time; no logit before it may move.

    Raises:
        SpecError: If one does, with the positions; or if the logits are not (N, T, C), or NaN.
    """
    generator = torch.Generator().manual_seed(0)
    bos = torch.full((len(memory), 1), bos_id, dtype=torch.int32, device=memory.device)
    classes = _checked(logits(bos.expand(-1, steps), memory), len(memory), steps).shape[-1]
    drawn = torch.randint(0, classes, (len(memory), steps - 1), generator=generator, dtype=torch.int32)
    tokens = torch.cat([bos, drawn.to(memory.device)], dim=1)
    before = logits(tokens, memory)
    finite = before[torch.isfinite(before)]
    tolerance = 1e-5 * max(1.0, float(finite.abs().max()) if len(finite) else 0.0)
    moved: set[int] = set()
    # Every position of a short decoder; of a long one, the powers of two and the last.
    powers = {2**k for k in range(steps.bit_length()) if 2**k < steps}
    for changed in range(1, steps) if steps <= 64 else sorted({*powers, steps - 1}):
        other = tokens.clone()
        other[:, changed] = (other[:, changed] + 1) % classes
        after = logits(other, memory)
        # Equal or close: the difference of two classes ruled out by -inf is no number.
        same = ((after == before) | ((after - before).abs() <= tolerance))[:, :changed]
        moved.update(torch.nonzero(~same.all(-1).all(0)).flatten().tolist())
    if moved:
        raise SpecError(
            f"the decoder is not causal: logits at positions {sorted(moved)} moved when a later token changed. "
            "Greedy decoding in fixed shapes needs a causal mask; hide keys j > i from query i"
        )


def _checked(logits: Any, rows: int, steps: int) -> Tensor:
    if not isinstance(logits, Tensor) or logits.dim() != 3 or tuple(logits.shape[:2]) != (rows, steps):
        raise SpecError(
            f"logits(tokens, memory) gave {_described(logits)}; expected a tensor ({rows}, {steps}, classes)"
        )
    if torch.isnan(logits).any():
        raise SpecError("logits(tokens, memory) gave NaN; look at the decoder's weights and at the memory")
    return logits


def _described(given: Any) -> str:
    return f"a tensor {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
