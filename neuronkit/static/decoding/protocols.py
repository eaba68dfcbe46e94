"""The protocols that a greedy decoder may follow, and the checks that it follows them.

- ``logits(tokens, memory)``: all positions at once. Tokens (N, T) int32, BOS first → logits (N, T, C), where entry i
  depends on tokens 0..i only.
- ``initial_state(memory)`` and ``step(token, state, memory)``: one position. Token (N,) int32 → logits (N, C), and the
  next state, a tensor or a tuple of tensors with N rows each. Where the state begins the same for every memory, its
  first packed entry 1 and the others 0, an attribute ``state``, the `TensorSpec` of a packed row, spares a graph.
- ``run(tokens, kind, memory)`` besides ``logits``, in adapters: passes of several kinds over all positions. `GUESS`
  sees BOS alone, `CAUSAL` is ``logits``, `REFINE` sees every token but the one it predicts, up to the first EOS. The
  kind is a (1,) int32 tensor where one graph serves them all, else a number.
- ``prefix``, ``prefill`` and ``advance`` besides ``logits``: new positions alone, with caches; see `stepwise`.
- Besides ``logits`` or ``run``, where there are: ``classes``, the number of ids that are predicted, which the graph of
  method "fused" holds others' tokens to; and ``prepare(memory)``, what the passes of one graph share of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import checks
from neuronkit.errors import SpecError
from neuronkit.static.decoding.decoding import Decoding
from neuronkit.static.decoding.packing import Layout
from neuronkit.static.original import failures_named

# Places at which a decoder's causality is tried: all of a short one, evenly spread over a long one.
MOST_PLACES = 64
# Of what a decoder makes of its memory's rounding: where it is more, of the largest logit, the memory holds something
# else than numbers, and the change says nothing.
_MOST_ROUNDING = 0.01
_ADVICE = "Give the id that the decoder was trained with, and a memory and a length that it takes"


def as_module(decoder: Any) -> nn.Module:
    """The decoder as a module with the methods of a protocol.

    Raises:
        SpecError: If it follows neither.
    """
    if issubclass(type(decoder), type):
        checks.callable_("decoder", decoder, error=SpecError)
    if hasattr(decoder, "step") and not hasattr(decoder, "initial_state"):
        raise SpecError(
            f"{type(decoder).__name__} has step but no initial_state(memory); add it, with N rows in each tensor"
        )
    if hasattr(decoder, "step"):
        return decoder if isinstance(decoder, nn.Module) else _Steps(decoder)
    if hasattr(decoder, "logits"):
        missing = [name for name in ("prefill", "advance") if not hasattr(decoder, name)]
        if getattr(decoder, "prefix", None) is not None and missing:
            raise SpecError(
                f"{type(decoder).__name__} has prefix but no {' nor '.join(missing)}; add them, or leave prefix out"
            )
        return decoder if isinstance(decoder, nn.Module) else _LogitsFunction(decoder.logits)
    if _takes_two(decoder.forward if isinstance(decoder, nn.Module) else decoder):
        return _LogitsFunction(decoder)
    raise SpecError(
        f"{type(decoder).__name__} follows no decoder protocol; give logits(tokens, memory), or an object with "
        "step(token, state, memory) and initial_state(memory)"
    )


def _takes_two(function: Any) -> bool:
    # Of what cannot be called, `inspect` writes the repr, which may fail.
    if not callable(function):
        return False
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
    """An object that is not a module, under the protocol's names."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.step = decoder.step
        self.initial_state = decoder.initial_state


def check_steps(decoder: Any, memory: Tensor, bos_id: int, eos_id: int) -> None:
    """Run one step, and see that the state keeps its shapes.

    Raises:
        SpecError: If the state, the logits or the next state are not what the protocol says, or an id is outside the
            vocabulary.
    """
    rows = len(memory)
    state = decoder.initial_state(memory)
    before = _layout("initial_state", state, rows)
    token = torch.full((rows,), bos_id, dtype=torch.int32, device=memory.device)
    with failures_named("step(token, state, memory)", f"bos_id={bos_id}", _ADVICE):
        given = decoder.step(token, state, memory)
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise SpecError(f"step gave {_described(given)}; expected logits ({rows}, classes) and the next state")
    logits, following = given
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != rows:
        raise SpecError(f"step gave {_described(logits)} as logits; expected a tensor ({rows}, classes)")
    check_eos(eos_id, logits.shape[1])
    after = _layout("step", following, rows)
    if after != before:
        raise SpecError(
            f"step turned a state of {_shapes(before)} into one of {_shapes(after)}; a static graph needs the same at "
            "every step: keep a buffer of full length, and write into it by position"
        )


def _layout(method: str, state: Any, rows: int) -> Layout:
    layout = Layout.of(state)
    wrong = [t for t in (state if isinstance(state, (tuple, list)) else [state]) if len(t) != rows]
    if wrong:
        raise SpecError(
            f"{method} gave a state of {_described(wrong[0])} for {rows} rows of memory; its first dimension must be "
            "the rows, so transpose it"
        )
    return layout


def _shapes(layout: Layout) -> str:
    return ", ".join(str(("N", *part.shape)).replace("'", "") + f" {part.dtype}" for part in layout.parts)


def check_causality(
    logits: Callable[[Tensor, Tensor], Tensor], memory: Tensor, steps: int, bos_id: int, eos_id: int
) -> int:
    """Change later tokens, to EOS and other ids one by one, and cut the buffer; no logit before may move.

    Args:
        logits: The decoder's ``logits(tokens, memory)``.
        memory: (N, ...) what to try it on.
        steps: Length of the whole buffer.
        bos_id: The id that begins a sequence.
        eos_id: The id that ends it.

    Returns:
        C, how many ids it predicts.

    Raises:
        SpecError: If a logit moves, with the positions; if the logits are not (N, T, C), or NaN; or if an id is
            outside the vocabulary.
    """

    def compute(tokens: Tensor) -> Tensor:
        given = f"bos_id={bos_id} and {tokens.shape[1]} tokens"
        with failures_named("logits(tokens, memory)", given, _ADVICE):
            return _checked(logits(tokens, memory), *tokens.shape)

    bos = torch.full((len(memory), steps), bos_id, dtype=torch.int32, device=memory.device)
    classes = compute(bos).shape[-1]
    check_eos(eos_id, classes)
    # Two rows of ids that differ everywhere but in BOS; no EOS among them, so that one put there is the first.
    others = max(classes - 1, 1)
    drawn = torch.randint(0, others, bos.shape, generator=torch.Generator().manual_seed(0)).to(bos)
    tokens, other = ((eos_id + 1 + (drawn + shift) % others) % classes for shift in (0, 1))
    tokens[:, 0] = other[:, 0] = bos_id
    before = compute(tokens)
    finite = before[torch.isfinite(before)]
    scale = max(1.0, float(finite.abs().max()) if len(finite) else 0.0)
    tolerance = max(1e-5, 4 * torch.finfo(before.dtype).eps) * scale
    moved: set[int] = set()

    def compare(after: Tensor, places: int, tolerance: float) -> None:
        # Equal or close: the difference of two classes ruled out by -inf is not a number.
        after, expected = after[:, :places], before[:, :places]
        same = (after == expected) | ((after - expected).abs() <= tolerance)
        moved.update(torch.nonzero(~same.all(-1).all(0)).flatten().tolist())

    for place in sorted({*range(1, steps, -(-steps // MOST_PLACES)), steps - 1} - {0}):
        compare(compute(torch.cat([tokens[:, :place], other[:, place:]], dim=1)), place, tolerance)
        ended = tokens.clone()
        ended[:, place] = eos_id
        compare(compute(ended), place, tolerance)
    for row in _later_ids(classes, steps - 1):
        # A mask may be made of one id, such as that of padding; these lie at the ends of vocabularies.
        compare(compute(torch.cat([bos[:, :1], row.to(bos).expand(len(bos), -1)], dim=1)), 1, tolerance)
    for length in {1, (steps + 1) // 2, steps - 1} - {0, steps}:
        # Kernels sum in another order for another shape.
        compare(compute(tokens[:, :length].contiguous()), length, 10 * tolerance)
    if moved:
        raise SpecError(
            f"the decoder is not causal: logits at positions {sorted(moved)} moved when a later token changed, became "
            f"EOS ({eos_id}) or was cut off. Greedy decoding in fixed shapes needs a causal mask; hide keys j > i from "
            "query i, and let neither EOS nor the buffer's length change what comes before"
        )
    return classes


def check_caches(decoder: Any, memory: Tensor, decoding: Decoding) -> None:
    """Decode random tokens on caches, in windows as they will be; the logits must be those of all positions at once.

    Raises:
        SpecError: If they are not, or what `prefill` and `advance` give is not what the protocol says.
    """
    prefix = checks.integer("prefix", decoder.prefix, 0, error=SpecError)
    rows, window, device = len(memory), max(1, decoding.window), memory.device
    steps = min(decoding.steps, window + 3)
    bos = torch.full((rows, decoding.steps), decoding.bos_id, dtype=torch.int32, device=device)
    classes = decoder.logits(bos, memory).shape[-1]
    drawn = torch.randint(0, classes, bos.shape, generator=torch.Generator().manual_seed(0)).to(bos)
    tokens = torch.cat([bos[:, :1], drawn[:, 1:]], dim=1)

    def compute(memory: Tensor) -> Tensor:
        logits: Tensor = decoder.logits(tokens, memory)[:, :steps]
        return logits

    expected = compute(memory)
    tolerance = rounding(compute, memory, expected)
    context, before = _prefilled(decoder, memory, prefix)
    entries = decoding.caches[-1] if decoding.caches else decoding.entries
    cache = before.new_zeros(rows, entries + steps, before.shape[2])
    cache[:, entries - prefix : entries] = before[:, :prefix]
    for first in range(steps - window + 1):
        here = slice(first, first + window)
        position = torch.full((rows,), first, dtype=torch.int32, device=device)
        logits, written = _advanced(decoder, tokens[:, here], position, cache[:, first : first + entries], context)
        shapes = [tuple(t.shape) if isinstance(t, Tensor) else None for t in (logits, written)]
        if shapes != [(rows, window, classes), (rows, window, before.shape[2])]:
            raise SpecError(
                f"advance gave {_described_all((logits, written))}; expected logits ({rows}, {window}, {classes}) and "
                f"what the positions wrote, ({rows}, {window}, {before.shape[2]})"
            )
        if decoding.looks_back:
            places = position.unsqueeze(1) + torch.arange(window, dtype=torch.int32, device=device)
            logits = decoder.process(logits, tokens, places, context)
        close = (logits == expected[:, here]) | ((logits - expected[:, here]).abs() <= tolerance)
        if not close.all():
            wrong = (torch.nonzero(~close.all(-1).all(0)).flatten() + first).tolist()
            raise SpecError(
                f"advance gives other logits than logits(tokens, memory) at positions {wrong}; expected the same: the "
                "latest prefix + position entries of the cache count, the last of them just before the new positions, "
                "and a new position sees those before it"
            )
        cache[:, entries + first : entries + first + window] = written


def _prefilled(decoder: Any, memory: Tensor, prefix: int) -> tuple[Tensor, Tensor]:
    """The context, and at least `prefix` entries of what comes before BOS."""
    given, rows = decoder.prefill(memory), len(memory)
    if not isinstance(given, (tuple, list)) or [_rows_of(t) for t in given] != [rows, rows]:
        raise SpecError(
            f"prefill(memory) gave {_described_all(given)}; expected the context ({rows}, S, K) and what comes before "
            f"BOS, ({rows}, M, E)"
        )
    context, before = given
    if before.shape[1] < max(1, prefix):
        raise SpecError(
            f"prefill(memory) gave {before.shape[1]} entries before BOS; expected at least {max(1, prefix)}; give as "
            "many as prefix says, and one where it is 0"
        )
    return context, before


def _advanced(decoder: Any, tokens: Tensor, position: Tensor, cache: Tensor, context: Tensor) -> tuple[Any, Any]:
    """Logits, and what the positions wrote; their shapes are not checked."""
    with failures_named(
        "advance(tokens, position, cache, context)", f"{tokens.shape[1]} tokens at position {int(position[0])}"
    ):
        given = decoder.advance(tokens, position, cache, context)
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise SpecError(f"advance gave {_described(given)}; expected logits and what the positions wrote")
    return given[0], given[1]


def rounding(compute: Callable[[Tensor], Tensor], memory: Tensor, expected: Tensor) -> float:
    """How far logits may be from the expected ones by the order of sums alone.

    Layers may enlarge rounding many times over. By how much is seen where the memory moves by its own.

    Args:
        compute: Gives the logits of a memory.
        memory: (N, ...) what `expected` was computed of.
        expected: The logits; those that are ruled out do not count.
    """
    counts = torch.isfinite(expected) & (expected.abs() < 2.0**64)
    scale = 1 + (float(expected[counts].abs().max()) if counts.any() else 0.0)
    eps, moved = torch.finfo(expected.dtype).eps, 0.0
    if memory.is_floating_point() and counts.any():
        eps = max(eps, torch.finfo(memory.dtype).eps)
        noise = torch.randn(memory.shape, generator=torch.Generator().manual_seed(1)).to(memory)
        other = compute(memory * (1 + torch.finfo(memory.dtype).eps * noise))
        moved = float((other - expected)[counts].abs().nan_to_num(torch.inf).max())
    return 100 * eps * scale + 10 * (moved if moved < _MOST_ROUNDING * scale else 0.0)


def _later_ids(classes: int, places: int) -> Iterator[Tensor]:
    """Rows of `places` ids that hold each id once: the first and the last, then those next to them."""
    ids = torch.arange(classes)
    both = torch.stack([ids, ids.flip(0)], dim=1).flatten()[:classes]
    for chunk in both.split(max(places, 1))[: MOST_PLACES if places else 0]:
        yield torch.cat([chunk, chunk[-1:].expand(places - len(chunk))])


def check_eos(eos_id: int, classes: int) -> None:
    """Raise SpecError unless EOS is one of the classes."""
    if eos_id >= classes:
        raise SpecError(
            f"got eos_id={eos_id}; expected one of the decoder's classes, 0 to {classes - 1}; give the one that ends "
            "a row"
        )


def _checked(logits: Any, rows: int, steps: int) -> Tensor:
    if not isinstance(logits, Tensor) or logits.dim() != 3 or tuple(logits.shape[:2]) != (rows, steps):
        raise SpecError(
            f"logits(tokens, memory) gave {_described(logits)}; expected a tensor ({rows}, {steps}, classes)"
        )
    if not logits.is_floating_point():
        raise SpecError(f"logits(tokens, memory) gave {logits.dtype}; expected floating-point numbers")
    if torch.isnan(logits).any():
        raise SpecError("logits(tokens, memory) gave NaN; look at the decoder's weights and at the memory")
    return logits


def _rows_of(given: Any) -> int | None:
    return len(given) if isinstance(given, Tensor) and given.dim() == 3 else None


def _described_all(given: Any) -> str:
    return " and ".join(map(_described, given)) if isinstance(given, (tuple, list)) else _described(given)


def _described(given: Any) -> str:
    return f"a tensor {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
