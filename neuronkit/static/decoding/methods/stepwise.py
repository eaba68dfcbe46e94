"""One position a call: for decoders too large to unroll, and for those that cannot compute all positions at once.

With caches, what earlier positions gave stays in a buffer, and a call computes the new ones alone.
A decoder may offer, besides ``logits``:

- ``prefill(memory)`` → context (N, S, K), which serves every call, and prefix (N, M, E), what M positions before BOS
  wrote, M at least 1. ``prefix`` says how many of them count.
- ``advance(tokens, position, cache, context)``: tokens (N, W) int32, the position of the first of them, counted from
  BOS, (N,) int32, and the cache (N, P, E), the latest entry last, of which the ``prefix + position`` latest count →
  logits (N, W, C) and what the positions wrote, (N, W, E).
- ``process(scores, tokens, position, context)``, where ``looks_back`` is true: scores (N, W, C) after rules that look
  at the tokens (N, T) int32 up to these positions (N, W) int32, all of which a step is then given.

Entries end where the new positions begin, so that every position sees those before it at the same place. The buffer
is written by the loop around the graphs, which hands over a view of it: a graph returns nothing but what is new.
"""

# No `from __future__ import annotations`: TorchScript reads the annotations of this file.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from typing import Any, Callable, Dict, Final, Tuple

import torch
from torch import Tensor, nn

from neuronkit.specs import TensorSpec
from neuronkit.static.decoding import graphs as parts_of
from neuronkit.static.decoding import loops
from neuronkit.static.decoding.decoding import Decoding
from neuronkit.static.decoding.methods import Graphs, Method, Parts
from neuronkit.static.decoding.packing import PackedStart, PackedStep, state_layout
from neuronkit.static.ops import tokens_of


class Prefill(nn.Module):
    """A decoder's `prefill` as a graph."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, memory: Tensor) -> Tuple[Tensor, Tensor]:
        return self.decoder.prefill(memory)


class AdvanceStep(nn.Module):
    """A decoder's `advance` as a graph, which gives logits, or tokens (N, W) int32 and probabilities (N, W)."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.decoder = parts.decoder
        self.gives_tokens, self.looks_back = parts.decoding.gives_tokens, parts.decoding.looks_back
        self.window = max(1, parts.decoding.window)

    def forward(self, tokens: Tensor, position: Tensor, cache: Tensor, context: Tensor):
        if not self.looks_back:
            logits, written = self.decoder.advance(tokens, position, cache, context)
        else:
            places = position.unsqueeze(1) + torch.arange(self.window, dtype=torch.int32, device=tokens.device)
            here = torch.arange(tokens.shape[1], dtype=torch.int32, device=tokens.device) == places.unsqueeze(2)
            new = torch.where(here, tokens.unsqueeze(1), torch.zeros_like(here, dtype=torch.int32)).sum(2)
            logits, written = self.decoder.advance(new.to(torch.int32), position, cache, context)
            logits = self.decoder.process(logits, tokens, places, context)
        return (*tokens_of(logits), written) if self.gives_tokens else (logits, written)


def step_specs(parts: Parts) -> Dict[str, Tuple[TensorSpec, ...]]:
    """The inputs of the graph "start", and of the steps: one for each length of cache, or the only "step"."""
    decoding, rows = parts.decoding, parts.rows
    with torch.no_grad():
        context, prefix = parts.decoder.prefill(parts.memory())
    names = {f"step_{length}": length for length in decoding.caches} or {"step": decoding.entries}
    steps = {
        name: (
            TensorSpec("tokens", (rows, decoding.steps if decoding.looks_back else max(1, decoding.window)), "int32"),
            TensorSpec("position", (rows,), "int32", fill=0),
            TensorSpec("cache", (rows, length, prefix.shape[2]), prefix.dtype, fill=0),
            TensorSpec.of("context", context),
        )
        for name, length in names.items()
    }
    return {"start": (parts_of.memory_spec(parts),), **steps}


class CachedLoop(nn.Module):
    """Decodes one position after the other, and stops once every row has ended.

    Args:
        start: The graph ``start(memory)`` → context and prefix.
        step: The graph ``step(tokens, position, cache, context)`` → logits, or tokens and probabilities; what to keep.
        decoding: The settings. Where what follows EOS has a meaning, all steps run.
    """

    gives_tokens: Final[bool]
    looks_back: Final[bool]

    def __init__(
        self, start: Callable[[Tensor], Tuple[Tensor, Tensor]], step: Callable[..., Any], decoding: Decoding
    ) -> None:
        super().__init__()
        self.start = start
        self.step = step
        self.gives_tokens, self.looks_back = decoding.gives_tokens, decoding.looks_back
        self.steps, self.bos_id, self.prefix = decoding.steps, decoding.bos_id, decoding.prefix or 0
        self.entries = decoding.entries
        # A module that runs eagerly takes what counts alone; a graph has one length.
        self.takes_any_length = isinstance(step, AdvanceStep)
        # No token is -1.
        self.ends = list(decoding.ends) if decoding.stops_at_eos else [-1]

    def one(self, tokens: Tensor, position: Tensor, cache: Tensor, context: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """A step: values, the next tokens, and what to keep."""
        given = self.step(tokens, position, cache, context)
        if self.gives_tokens:
            return given[1], given[0], given[2]
        else:
            return given[0], given[0].argmax(-1).to(torch.int32), given[1]

    def past(self, buffer: Tensor, done: int) -> Tensor:
        """The entries before a position, of which the latest count."""
        count = self.prefix + done if self.takes_any_length else self.entries
        return buffer[:, done + self.entries - count : done + self.entries]

    def forward(self, memory: Tensor, rows: int) -> Tuple[Tensor, Tensor, int]:
        """Memory of `rows` rows → values and ids, right up to each row's first EOS, and the steps that ran."""
        context, prefix = self.start(memory)
        buffer = prefix.new_zeros([rows, self.entries + self.steps, prefix.shape[2]])
        buffer[:, self.entries - self.prefix : self.entries] = prefix[:, : self.prefix]
        width = self.steps if self.looks_back else 1
        given = torch.full([rows, width], self.bos_id, dtype=torch.int32, device=memory.device)
        position = torch.zeros([rows], dtype=torch.int32, device=memory.device)
        value, tokens, written = self.one(given, position, self.past(buffer, 0), context)
        values = torch.empty([rows, self.steps] + list(value.shape[2:]), dtype=value.dtype, device=value.device)  # noqa: RUF005
        values[:, :1] = value
        ids = [tokens]
        ended = loops.is_end(tokens, self.ends)
        done = 1
        while done < self.steps and not bool(ended.all()):
            buffer[:, self.entries + done - 1 : self.entries + done] = written
            if self.looks_back:
                given[:, done : done + 1] = tokens
            else:
                given = tokens
            value, tokens, written = self.one(given, position + done, self.past(buffer, done), context)
            values[:, done : done + 1] = value
            ids.append(tokens)
            ended = ended | loops.is_end(tokens, self.ends)
            done += 1
        values[:, done:] = 0
        ids.append(torch.zeros([rows, self.steps - done], dtype=torch.int32, device=memory.device))
        return values, torch.cat(ids, dim=1), done


class Stepwise(Method):
    """Graphs "encode" and "step", "start" where the first state depends on the memory, and "decode" to refine.

    With a decoder that offers caches, "start" makes what all steps share, and "step" computes one position.
    """

    name = "stepwise"
    keeps_caches = True

    def modules(self, parts: Parts) -> dict[str, nn.Module]:
        if parts.decoding.prefix is not None:
            return {**parts_of.encode_module(parts), "start": Prefill(parts.decoder), "step": AdvanceStep(parts)}
        layout = state_layout(parts.steps, parts.memory())
        start = {} if parts.decoding.state else {"start": PackedStart(parts.steps, layout)}
        refine = {"decode": parts_of.decode_module(parts)} if parts.decoding.refine_iters else {}
        return {
            **parts_of.encode_module(parts),
            **start,
            "step": PackedStep(parts.steps, layout, parts.decoding.gives_tokens),
            **refine,
        }

    def specs(self, parts: Parts) -> dict[str, tuple[TensorSpec, ...]]:
        if parts.decoding.prefix is not None:
            return {**parts_of.encode_specs(parts), **step_specs(parts)}
        memory = parts_of.memory_spec(parts)
        start = {} if parts.decoding.state else {"start": (memory,)}
        refine = {"decode": parts_of.decode_specs(parts)} if parts.decoding.refine_iters else {}
        token = TensorSpec("token", (parts.rows,), "int32")
        step = token, state_layout(parts.steps, parts.memory()).spec(parts.rows), memory
        return {**parts_of.encode_specs(parts), **start, "step": step, **refine}

    def join(self, decoding: Decoding, graphs: Graphs) -> nn.Module:
        if decoding.prefix is not None:
            return parts_of.around(decoding, graphs, CachedLoop(graphs["start"], graphs["step"], decoding))
        start = loops.EmptyState(decoding.state) if decoding.state else loops.GraphStart(graphs["start"])
        return parts_of.around(decoding, graphs, loops.StepLoop(start, graphs["step"], decoding))


METHOD = Stepwise()
