"""A Hugging Face decoder that keeps the keys and values of earlier positions: its own modules on its own cache classes.

The cache is one tensor (N, P, E), the latest position last, whose first entries are hidden by a decoder mask, as the
padding at the left of a batch is. So all lengths are constants to the model's code, in every release. Only tables of
absolute positions would be read at the wrong place, and are read by `PositionTable` instead.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.adapters.huggingface.generation import Generation, plain_token
from neuronkit.adapters.huggingface.graphs import Decode, configurations, own_attention, plain_sizes
from neuronkit.static.decoding.protocols import rounding
from neuronkit.static.model import Foldable
from neuronkit.static.ops import length
from neuronkit.tensors import being_traced
from neuronkit.threads.turns import Turns

# Places, caches at hand and the kind of attention reach the model by attributes, which threads share.
AT_WORK = Turns()


class Place:
    """Which tokens (N, W) are computed at which positions (N, W); None while tables are read as the model does.

    Attributes:
        held: The constants of tables, where they serve several calls.
    """

    tokens: Tensor | None = None
    positions: Tensor

    def __init__(self) -> None:
        self.held: dict[PositionTable, tuple[Tensor, ...]] = {}


class PositionTable(Foldable):
    """Stands for a module that embeds positions, and embeds those of `Place`.

    Args:
        inner: The module.
        place: Shared by all of a model.
    """

    def __init__(self, inner: nn.Module, place: Place) -> None:
        super().__init__()
        self.inner = inner
        self.place = place
        self.padding_idx: int | None = getattr(inner, "padding_idx", None)
        # The arguments of whole passes: on plain tokens, and on padding where that has positions of its own.
        self.calls: list[Any] = []
        self.called: Any = None

    def compute_constants(self) -> tuple[Tensor, ...]:
        """(T, D) what the positions of ordinary tokens are, and those of padding."""
        held = next(itertools.chain(self.inner.parameters(), self.inner.buffers()), None)
        calls = self.calls if held is None else _moved(self.calls, held.device)
        return tuple(self.inner(*args, **kwargs).flatten(0, -2) for args, kwargs in calls)

    def keep(self) -> None:
        """Keep the latest call, of a whole pass, unless it gives what the one before gave."""
        self.calls.append(self.called)
        tables = self.compute_constants()
        if len(tables) > 1 and torch.equal(tables[0], tables[1]):
            self.calls.pop()

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        if self.place.tokens is None:
            self.called = args, kwargs
            return self.inner(*args, **kwargs)
        plain, *padding = self.place.held.get(self) or self.constants
        positions = self.place.positions.to(plain.device).clamp(max=plain.shape[0] - 1)
        embedded = nn.functional.embedding(positions, plain)
        for table in padding:
            is_padding = self.place.tokens.eq(self.padding_idx or 0).unsqueeze(-1)
            embedded = torch.where(is_padding, nn.functional.embedding(positions, table), embedded)
        return embedded

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)


def _moved(value: Any, device: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to(device or value.device)
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(item, device) for item in value)
    return {k: _moved(v, device) for k, v in value.items()} if isinstance(value, dict) else value


def replace_tables(model: nn.Module, place: Place) -> list[PositionTable]:
    """Replace the modules that embed absolute positions; the model is changed."""
    tables = []
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if name == "wpe" or ("position" in name and "relative" not in name):
                table = PositionTable(child, place)
                setattr(parent, name, table)
                tables.append(table)
    return tables


class Entries:
    """Keys and values (N, H, L, D) of all layers, as they lie in a tensor (N, L, E).

    Args:
        tensors: An example of them.

    Raises:
        ValueError: If they differ in shape.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        shapes = {(int(t.shape[1]), int(t.shape[3])) for t in tensors}
        if len(shapes) != 1:
            raise ValueError(f"got keys and values of {shapes}; expected the same heads and widths in all layers")
        self.shape = (len(tensors), *shapes.pop())
        self.width = math.prod(self.shape)

    def pack(self, tensors: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(tensors)).permute(1, 3, 0, 2, 4).flatten(2)

    def unpack(self, packed: Tensor) -> tuple[Tensor, ...]:
        # Not unflatten, whose rank is unknown to the exporter of ONNX.
        entries = packed.reshape(packed.shape[0], length(packed, 1), *self.shape)
        return entries.permute(2, 0, 3, 1, 4).unbind(0)


@functools.cache
def _keeping_class(base: Any) -> Any:
    """A class of caches that gives an attention what is in `past` and what is new, and keeps the latter in `kept`."""

    def update(self: Any, keys: Tensor, values: Tensor, layer_idx: int, *rest: Any, **named: Any) -> Any:
        self.kept += [keys, values]
        if not self.past:
            return keys, values
        return tuple(torch.cat(pair, dim=2) for pair in zip(self.past[2 * layer_idx :], (keys, values)))

    def mask_sizes(self: Any, query: Any, layer_idx: int = 0) -> tuple[int, int]:
        return self.seen + int(query if isinstance(query, int) else query.shape[0]), 0

    methods = {
        "update": update,
        "get_seq_length": lambda self, *rest, **named: self.seen,
        "get_mask_sizes": mask_sizes,
    }
    return type("Keeping", (base,), methods)


def keeping(past: Sequence[Tensor] = ()) -> Any:
    """A cache of the installed release, which keeps apart what is new in `kept`.

    Args:
        past: Keys and values of each layer, in order; empty: nothing was computed yet.
    """
    # The model is of it, so that it is imported.
    cache = _keeping_class(sys.modules["transformers"].DynamicCache)()
    cache.past, cache.kept = past, []
    cache.seen = past[0].shape[2] if past else 0
    return cache


def filled(tensors: Sequence[Tensor]) -> Any:
    """A cache of the installed release that holds these keys and values of each layer."""
    cache: Any = sys.modules["transformers"].DynamicCache()
    for i in range(0, len(tensors), 2):
        # An update copies them behind nothing, which no graph needs.
        cache.update(tensors[i][:, :, :0], tensors[i + 1][:, :, :0], i // 2)
        cache.layers[i // 2].keys, cache.layers[i // 2].values = tensors[i], tensors[i + 1]
    return cache


def both(own: Any, cross: Any) -> Any:
    """The caches of both attentions in one."""
    return sys.modules["transformers"].EncoderDecoderCache(own, cross)


class Layout:
    """How a decoder's caches lie in tensors, found by decoding a little with caches of the installed release.

    Args:
        decode: Around a copy of the model that only decodes, in which tables of positions are replaced.
        width: Of the encoder's hidden states.
        positions: How many are decoded at most.
    """

    def __init__(self, decode: Decode, width: int, positions: int) -> None:
        self.width, self.place = width, Place()
        self.tables = tables = replace_tables(decode.model, self.place)
        weight = next(decode.model.parameters())
        states = torch.zeros(1, 2, width, dtype=weight.dtype, device=weight.device)
        mask = torch.ones(1, 2, dtype=torch.int64, device=weight.device) if decode.masked else None
        tokens = torch.full((1, positions), plain_token(decode.model), device=weight.device)
        decode.compute(tokens, states, mask)
        for table in tables:
            table.keep()
        for padding in {table.padding_idx for table in tables if table.padding_idx is not None}:
            decode.compute(torch.full_like(tokens, padding), states, mask)
            for table in tables:
                if table.padding_idx == padding:
                    table.keep()
        # Whether positions depend on the tokens before, where all are seen.
        self.numbers_padding = any(len(table.calls) > 1 for table in tables)
        own, cross = keeping(), keeping()
        decode.compute(tokens[:, :1], states, mask, past_key_values=both(own, cross))
        self.own, self.cross = Entries(own.kept), Entries(cross.kept)


class CachedDecode(Decode):
    """Decodes new positions alone, on the keys and values before; see `neuronkit.static.decoding.methods.stepwise`.

    Args:
        model: A copy of the model that only decodes, as `Layout` prepared it.
        settings: What happens to logits.
        masked: Whether the decoder takes a mask of the memory.
        layout: Of the model's caches.
    """

    start: Tensor

    def __init__(self, model: nn.Module, settings: Generation, masked: bool, layout: Layout) -> None:
        super().__init__(model, settings, masked)
        self.layout = layout
        # What comes before BOS is nothing.
        self.prefix = 0
        # A rule that looks at earlier tokens is for the caller's `process`, who has them.
        self.looks_back = not self.scores.by_position
        # Of narrow types each operator rounds: there eager results are those of a graph.
        is_wide = next(model.parameters()).dtype in (torch.float32, torch.float64)
        self.__dict__["_configs"] = configurations(model) if is_wide else []
        self.register_buffer("start", torch.full((1, 1), settings.prompt[0], dtype=torch.int32), persistent=False)

    _configs: Sequence[Any]
    # Whether attention is spelled out as in a graph outside one, too.
    spells_out = False
    # Of the latest context, whose calls follow each other.
    _held: tuple[Tensor, Any] | None = None

    def _shared(self, context: Tensor) -> Any:
        """What all calls on a context share: states, mask and cache of the attention to them, constants of tables."""
        is_held = not (being_traced() or torch.is_grad_enabled())
        if is_held and self._held is not None and self._held[0] is context:
            return self._held[1]
        entries, mask = self.split(context)
        pieces = self.layout.cross.unpack(entries)
        # Of the states the keys and values are in the cache.
        states = entries.new_zeros(()).expand(*entries.shape[:2], self.layout.width)
        if not is_held:
            return states, mask, filled(pieces), {}
        # Eager attention copies what is not contiguous each time.
        crossed = filled([piece.contiguous() for piece in pieces])
        self._held = context, (states, mask, crossed, {table: table.constants for table in self.layout.tables})
        return self._held[1]

    def prefill(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Memory (N, S, D) → keys and values of it (N, S, K), with its mask, and of what comes before BOS (N, M, E)."""
        with AT_WORK.taken(), plain_sizes():
            own, cross = keeping(), keeping()
            states, mask = self.split(memory)
            tokens = self.start.expand(memory.shape[0], -1)
            self.compute(tokens, states, mask, past_key_values=both(own, cross))
            context = self.layout.cross.pack(cross.kept)
            # What no loop uses is computed in no graph.
            entry = torch.zeros_like(self.layout.own.pack(own.kept))
            return torch.cat([context, memory[..., memory.shape[2] - self.channels :]], dim=2), entry

    def advance(self, tokens: Tensor, position: Tensor, cache: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (N, W) at `position` (N,) → logits (N, W, V), and what they add to the cache (N, W, E)."""
        with AT_WORK.taken(), plain_sizes():
            window, past = tokens.shape[1], cache.shape[1]
            states, mask, crossed, constants = self._shared(context)
            own = keeping(self.layout.own.unpack(cache))
            positions = position = position.unsqueeze(1)
            if window > 1:
                positions = position + torch.arange(window, dtype=torch.int32, device=tokens.device)
            named: dict[str, Any] = {"past_key_values": both(own, crossed)}
            # Where all entries count, as in every eager step, no mask is made.
            if being_traced() or int(position.min()) < past:
                entry = torch.arange(past + window, dtype=torch.int32, device=tokens.device)
                named["decoder_attention_mask"] = (entry >= past - position).long()
            place = self.layout.place
            plain = self.spells_out or being_traced()
            try:
                place.tokens, place.positions, place.held = tokens, positions, constants
                with contextlib.nullcontext() if plain else own_attention(self._configs):
                    logits = self.compute(tokens, states, mask, **named)
            finally:
                place.tokens, place.held = None, {}
            if not self.beams and not self.looks_back:
                logits = self.scores(logits, positions)
            return logits, self.layout.own.pack(own.kept)


_FAILURES = (AttributeError, TypeError, ValueError, LookupError, RuntimeError)


def find_layout(model: nn.Module, settings: Generation, masked: bool, window: int = 1) -> Layout | None:
    """How the caches of a copy of a model lie in tensors; tables of positions are replaced in it.

    Args:
        model: A copy of the model that only decodes.
        settings: What happens to logits.
        masked: Whether the decoder takes a mask of the memory.
        window: Positions of a call.

    Returns:
        None where the decoder cannot be given caches from outside, or gives something else with them than without.
    """
    decode = Decode(model, settings, masked)
    if not settings.uses_cache and any(getattr(m, "expert_capacity", None) is not None for m in model.modules()):
        # Experts are full after tokens that a call does not see.
        return None
    with torch.no_grad():
        try:
            layout = Layout(decode, settings.width, settings.new_tokens)
            if not settings.uses_cache and layout.numbers_padding:
                return None
            cached = CachedDecode(model, settings, masked, layout).to(next(model.parameters()).device)
            return layout if _agrees(cached, settings, min(window, settings.new_tokens)) else None
        except _FAILURES:
            return None


def _agrees(cached: CachedDecode, settings: Generation, window: int) -> bool:
    """Whether a few tokens give the same logits in windows as all at once, to what rounding changes in this model."""
    weight = next(cached.model.parameters())
    generator = torch.Generator().manual_seed(0)
    memory = torch.randn(1, 5, settings.width, generator=generator)
    behind = torch.zeros(1, 5, cached.channels)
    if cached.masked:
        behind[..., 0] = torch.tensor([1, 1, 1, 1, 0])
    memory = torch.cat([memory, behind], dim=2).to(weight)
    steps = min(settings.new_tokens, window + 5)
    tokens = torch.randint(0, settings.vocabulary, (1, steps), generator=generator, dtype=torch.int32)
    tokens = torch.cat([cached.start, tokens.to(weight.device)[:, 1:]], dim=1)
    places = torch.arange(steps, dtype=torch.int32, device=weight.device).unsqueeze(0)

    def compute(states: Tensor) -> Tensor:
        logits = cached.compute(tokens, states, mask)
        return logits if cached.beams or cached.looks_back else cached.scores(logits, places)

    states, mask = cached.split(memory)
    expected = compute(states)
    tolerance = rounding(compute, states, expected)
    context, entry = cached.prefill(memory)
    entries = max(1, settings.new_tokens - window)
    cache = entry.new_zeros(1, entries + steps, entry.shape[2])
    for first in range(steps - window + 1):
        position = torch.full((1,), first, dtype=torch.int32, device=weight.device)
        here = slice(first, first + window)
        # A graph has one length of cache; eagerly there are no more entries than count.
        for begin, cached.spells_out in ((first, False), (entries, True)):
            past = cache[:, begin : first + entries]
            logits, entry = cached.advance(tokens[:, here], position, past, context)
            if not torch.allclose(logits, expected[:, here], rtol=0, atol=tolerance):
                return False
        cache[:, entries + first : entries + first + window] = entry
    return True
