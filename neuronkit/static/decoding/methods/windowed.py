"""A window of positions a call, on the keys and values of those before: for long outputs.

A window begins at the first token that is not known. Its tokens are a draft; those that the decoder predicts from right
tokens are right, so that a call settles one position at least, and as many as were drafted right. What lies before the
window is settled, and is not computed again. Every call is drafted anew: as the text went on where it last said the
same, and where it never did, as the call before predicted.
"""

# No `from __future__ import annotations`: TorchScript reads the annotations of this file.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from dataclasses import replace
from typing import Any, Callable, Dict, Final, Mapping, Tuple

import torch
from torch import Tensor, nn

from neuronkit.specs import TensorSpec
from neuronkit.static.decoding import graphs as parts_of
from neuronkit.static.decoding import loops
from neuronkit.static.decoding.decoding import Decoding
from neuronkit.static.decoding.methods import Graphs, Method, Parts
from neuronkit.static.decoding.methods.stepwise import AdvanceStep, Prefill, step_specs

# Positions of a window, unless the options say so.
WINDOW = 16
# Shorter caches than the longest: each a fourth of the next, but not below this.
SHORTEST_CACHE = 24
# Tokens that a repeat is recognised by: what was said after as many of them as were the same is said again.
FEWEST, MOST = 2, 4


def cache_lengths(entries: int) -> Tuple[int, ...]:
    """The lengths of caches that graphs are made for, up to `entries`."""
    lengths = [entries]
    while -(-lengths[0] // 4) >= SHORTEST_CACHE:
        lengths.insert(0, -(-lengths[0] // 4))
    return tuple(lengths)


def latest_repeat(text: Tensor, known: Tensor, most: int) -> Tuple[Tensor, Tensor]:
    """Where a text last said what it says at its end.

    Args:
        text: (N, L) tokens.
        known: (N, 1) int64, the place of the last token that is known.
        most: How many tokens are compared.

    Returns:
        How many places before (N, 1), at least 1, and how many tokens are the same (N, 1).
    """
    length = text.shape[1]
    place = torch.arange(length, device=text.device)
    same = place < known
    count = torch.zeros_like(text, dtype=torch.int64)
    for back in range(most):
        shifted = torch.cat([torch.full_like(text[:, :back], -1), text[:, : length - back]], dim=1)
        same = same & (shifted == text.gather(1, (known - back).clamp(min=0)))
        count = count + same.to(torch.int64)
    # Of several, the latest.
    best = torch.where(count > 0, count * length + place, count).argmax(1, keepdim=True)
    return (known - best).clamp(min=1), count.gather(1, best)


def redraft(text: Tensor, known: Tensor, fewest: int = FEWEST, most: int = MOST) -> Tensor:
    """A text (N, L) that goes on behind its known part as it did before, where it said the same before."""
    lag, count = latest_repeat(text, known, most)
    ahead = torch.arange(text.shape[1], device=text.device) - known - 1
    source = known + 1 - lag + ahead.remainder(lag)
    copied = text.gather(1, source.clamp(min=0, max=text.shape[1] - 1))
    return torch.where((ahead >= 0) & (count >= fewest), copied, text)


class Called(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


class WindowLoop(nn.Module):
    """Decodes a window of positions a call, until every row has ended.

    Args:
        start: The graph ``start(memory)`` → context and prefix.
        graphs: For each length of cache the graph ``step(tokens, position, cache, context)`` → logits, or tokens and
            probabilities; what to keep.
        decoding: The settings. Where what follows EOS has a meaning, all positions are decoded.
    """

    gives_tokens: Final[bool]

    def __init__(
        self,
        start: Callable[[Tensor], Tuple[Tensor, Tensor]],
        graphs: Mapping[str, Callable[..., Any]],
        decoding: Decoding,
    ) -> None:
        super().__init__()
        self.start = start
        modules = {name: graph if isinstance(graph, nn.Module) else Called(graph) for name, graph in graphs.items()}
        self.graphs = nn.ModuleDict(modules)
        self.lengths = list(decoding.caches)
        self.gives_tokens, self.looks_back = decoding.gives_tokens, decoding.looks_back
        self.steps, self.window, self.prefix = decoding.steps, decoding.window, decoding.prefix or 0
        self.bos_id = decoding.bos_id
        # No token is -1.
        self.ends = list(decoding.ends) if decoding.stops_at_eos else [-1]

    def call(
        self, length: int, tokens: Tensor, position: Tensor, cache: Tensor, context: Tensor
    ) -> Tuple[Tensor, Tensor, Tensor]:
        """A call of the graph for this length of cache: values, the tokens that it predicts, and what to keep."""
        values, ids, written = cache, tokens, cache
        for i, graph in enumerate(self.graphs.values()):
            if length == self.lengths[i]:
                given = graph(tokens, position, cache, context)
                if self.gives_tokens:
                    ids, values, written = given[0], given[1], given[2]
                else:
                    values, ids, written = given[0], given[0].argmax(-1).to(torch.int32), given[1]
        return values, ids, written

    def forward(self, memory: Tensor, rows: int) -> Tuple[Tensor, Tensor, int]:
        """Memory of `rows` rows → values and ids, right up to each row's first EOS, and the calls that ran."""
        context, prefix = self.start(memory)
        device, steps, longest = memory.device, self.steps, self.lengths[-1]
        # What is known already, or belongs to no row, is written behind the last place.
        width = longest + steps + 1
        buffer = prefix.new_zeros([rows, width, prefix.shape[2]])
        buffer[:, longest - self.prefix : longest] = prefix[:, : self.prefix]
        text = torch.full([rows, steps + 2], max(self.ends[0], 0), dtype=torch.int32, device=device)
        text[:, 0] = self.bos_id
        values = buffer
        row = torch.arange(rows, device=device).unsqueeze(1)
        offset = torch.arange(self.window, device=device)
        known = torch.zeros([rows, 1], dtype=torch.int64, device=device)
        ended = torch.zeros([rows, 1], dtype=torch.bool, device=device)
        calls = 0
        while calls == 0 or not bool(ended.all()):
            first = known.clamp(max=steps - self.window)
            place = first + offset
            tokens = text.gather(1, place)
            length, furthest = longest, self.prefix + (int(first.max()) if rows > 0 else 0)
            for shorter in self.lengths:
                if furthest <= shorter < length:
                    length = shorter
            past = row * width + first + (longest - length) + torch.arange(length, device=device)
            cache = buffer.flatten(0, 1).index_select(0, past.flatten()).reshape(rows, length, buffer.shape[2])
            seen = text[:, :steps] if self.looks_back else tokens
            value, ids, written = self.call(length, seen, first[:, 0].to(torch.int32), cache, context)
            if calls == 0:
                values = torch.zeros([rows, steps + 1] + list(value.shape[2:]), dtype=value.dtype, device=device)  # noqa: RUF005
            fresh = (place >= known) & ~ended
            slot = torch.where(fresh, place, torch.full_like(place, steps))
            values.flatten(0, 1).index_copy_(0, (row * (steps + 1) + slot).flatten(), value.flatten(0, 1))
            buffer.flatten(0, 1).index_copy_(0, (row * width + longest + slot).flatten(), written.flatten(0, 1))
            text.scatter_(1, slot + 1, ids)
            right = (ids[:, :-1] == tokens[:, 1:]) | (place[:, 1:] <= known)
            reach = first + 1 + right.to(torch.int64).cumprod(1).sum(1, keepdim=True)
            found = (fresh & (place < reach) & loops.is_end(ids, self.ends)).any(1, keepdim=True)
            known = torch.where(ended, known, reach)
            ended = ended | found | (known >= steps)
            text = torch.where(ended, text, redraft(text, known))
            calls += 1
        return values[:, :steps], text[:, 1 : steps + 1], calls


class Windowed(Method):
    """Graphs "encode" and "start", and a "step" of a window for each length of cache."""

    name = "windowed"
    needs_logits = needs_caches = keeps_caches = True

    def settled(self, decoding: Decoding) -> Decoding:
        window = min(decoding.window or WINDOW, decoding.steps)
        caches = cache_lengths(max(1, decoding.steps - window + (decoding.prefix or 0)))
        return replace(decoding, window=window, caches=caches)

    def modules(self, parts: Parts) -> Dict[str, nn.Module]:
        steps = {f"step_{length}": AdvanceStep(parts) for length in parts.decoding.caches}
        return {**parts_of.encode_module(parts), "start": Prefill(parts.decoder), **steps}

    def specs(self, parts: Parts) -> Dict[str, Tuple[TensorSpec, ...]]:
        return {**parts_of.encode_specs(parts), **step_specs(parts)}

    def join(self, decoding: Decoding, graphs: Graphs) -> nn.Module:
        steps = {f"step_{length}": graphs[f"step_{length}"] for length in decoding.caches}
        return parts_of.around(decoding, graphs, WindowLoop(graphs["start"], steps, decoding))


METHOD = Windowed()
