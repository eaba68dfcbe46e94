"""Beam search in fixed shapes: a graph gives each row's best continuations, a loop keeps track of the beams.

What the loop does with them is what `generate` of transformers does from 4.54 on, the rounding of scores included:
where it stops, how finished beams compete, and what is of equal score.
"""

# No `from __future__ import annotations`: TorchScript reads the annotations of this file.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from typing import Any, Callable, Dict, Final, NamedTuple, Optional, Tuple

import torch
from torch import Tensor, nn

from neuronkit import checks
from neuronkit.errors import SpecError
from neuronkit.shown import shown
from neuronkit.specs import TensorSpec
from neuronkit.static.decoding import graphs as parts_of
from neuronkit.static.decoding.decoding import Beams, Decoding
from neuronkit.static.decoding.greedy import GreedyDecoder
from neuronkit.static.decoding.methods import Graphs, Method, Parts
from neuronkit.static.decoding.methods.stepwise import Prefill
from neuronkit.static.decoding.protocols import as_module
from neuronkit.static.sentinels import sentinel

# The score that generate gives to dead and unfinished beams.
DEAD = -1.0e9
# Scores of banned tokens are finite in a graph; generate's are -inf, also after a division.
BANNED = -sentinel(torch.float32)


class BeamSearch(Method):
    """Graphs "encode", "step", and "start" for a decoder with caches."""

    name = "beams"
    keeps_caches = True

    def modules(self, parts: Parts) -> Dict[str, nn.Module]:
        start = {} if parts.decoding.prefix is None else {"start": Prefill(parts.decoder)}
        return {**parts_of.encode_module(parts), **start, "step": BeamStep(parts)}

    def specs(self, parts: Parts) -> Dict[str, Tuple[TensorSpec, ...]]:
        decoding, rows, memory = parts.decoding, parts.rows, parts_of.memory_spec(parts)
        beams = decoding.beams.num_beams  # type: ignore[union-attr]
        start: Dict[str, Tuple[TensorSpec, ...]] = {}
        step: Tuple[TensorSpec, ...] = (
            TensorSpec("tokens", (rows, beams, decoding.steps), "int32"),
            TensorSpec("position", (1,), "int32", fill=0),
            TensorSpec("scores", (rows, beams)),
        )
        if decoding.prefix is None:
            step = (*step, memory)
        else:
            with torch.no_grad():
                context, prefix = parts.decoder.prefill(parts.memory())
            entries = decoding.entries
            start = {"start": (memory,)}
            step = (
                *step,
                TensorSpec("sources", (rows, beams, entries), "int32", fill=0),
                TensorSpec("cache", (rows, entries, beams * prefix.shape[2]), prefix.dtype, fill=0),
                TensorSpec.of("context", context),
            )
        return {**parts_of.encode_specs(parts), **start, "step": step}

    def join(self, decoding: Decoding, graphs: Graphs) -> nn.Module:
        encode = graphs["encode"] if "encode" in graphs else nn.Identity()
        return BeamDecoder(encode, graphs["start"] if "start" in graphs else nn.Identity(), graphs["step"], decoding)


class BeamStep(nn.Module):
    """The best continuations of all beams of a row, as a graph.

    Tokens (N, k, T) int32 from BOS on, the position (1,) int32 of the latest and the scores (N, k) of all beams, then
    the memory; or, with caches, sources (N, k, P) int32, the beam that wrote each entry, a cache (N, P, k * E), and the
    context. → scores (N, K), tokens (N, K) int32, the beams (N, K) int32 that they continue, best first, and with
    caches what each beam wrote, (N, 1, k * E).
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        assert parts.decoding.beams is not None
        self.decoder, self.cached = parts.decoder, parts.decoding.prefix is not None
        self.beams, self.kept = parts.decoding.beams.num_beams, parts.decoding.beams.candidates

    def forward(self, tokens: Tensor, position: Tensor, scores: Tensor, *memory: Tensor) -> Any:
        rows, steps, beams = tokens.shape[0], tokens.shape[2], self.beams
        flat = tokens.reshape(rows * beams, steps)
        here = torch.arange(steps, dtype=torch.int32, device=tokens.device) == position
        written: Tuple[Tensor, ...] = ()
        if self.cached:
            # where, not a product: an id is more than a narrow type holds.
            token = torch.where(here, flat, torch.zeros_like(flat)).sum(1, keepdim=True).to(torch.int32)
            sources, cache, context = memory
            repeated = self._repeated(context)
            given = position.expand(rows * beams), self._chosen(sources, cache), repeated
            logits, entry = self.decoder.advance(token, *given)
            logits, written = logits[:, 0], (entry.reshape(rows, beams, 1, -1).transpose(1, 2).flatten(2),)
        else:
            repeated = self._repeated(memory[0])
            logits = self.decoder.logits(flat, repeated)
            logits = torch.where(here.unsqueeze(-1), logits, torch.zeros_like(logits)).sum(1)
        found = logits.float().log_softmax(-1)
        if hasattr(self.decoder, "process"):
            places = position.expand(rows * beams).unsqueeze(1)
            found = self.decoder.process(found.unsqueeze(1), flat, places, repeated).squeeze(1)
        classes = found.shape[1]
        total = (found.reshape(rows, beams, classes) + scores.unsqueeze(-1)).reshape(rows, beams * classes)
        best, index = total.topk(self.kept, dim=1)
        index = index.to(torch.int32)
        beam = torch.div(index, classes, rounding_mode="floor")
        return (best, index - beam * classes, beam, *written)

    def _repeated(self, memory: Tensor) -> Tensor:
        """Memory (N, ...) for each beam, (N * k, ...)."""
        return memory.unsqueeze(1).expand(-1, self.beams, *memory.shape[1:]).reshape(-1, *memory.shape[1:])

    def _chosen(self, sources: Tensor, cache: Tensor) -> Tensor:
        """The entries (N * k, P, E) of the beams' own past; a product with 0 and 1 moves what is finite exactly."""
        rows, entries = cache.shape[0], cache.shape[1]
        beams = torch.arange(self.beams, dtype=torch.int32, device=cache.device)
        chosen = (sources.transpose(1, 2).unsqueeze(-1) == beams).to(cache.dtype)
        past = torch.matmul(chosen, cache.reshape(rows, entries, self.beams, -1))
        return past.transpose(1, 2).reshape(rows * self.beams, entries, -1)


def take(values: Tensor, index: Tensor) -> Tensor:
    """Entries (N, m, ...) of values (N, k, ...) at index (N, m)."""
    for _ in range(values.dim() - 2):
        index = index.unsqueeze(-1)
    return values.gather(1, index.expand([index.shape[0], index.shape[1]] + list(values.shape[2:])))  # noqa: RUF005


class Beamed(NamedTuple):
    """Where a search of N rows with k beams stands.

    Attributes:
        running: (N, k, T + 1) int32, sequences that go on, from BOS.
        scores: (N, k) float32, theirs.
        finished: (N, k, T + 1) int32, the best that have ended.
        best: (N, k) float32, their scores by length.
        done: (N, k) whether there is such a one.
        open_rows: (N, 1) whether a running one may still become better.
    """

    running: Tensor
    scores: Tensor
    finished: Tensor
    best: Tensor
    done: Tensor
    open_rows: Tensor


class BeamDecoder(nn.Module):
    """Encodes and searches: inputs → tokens (N, R, T) int32, best first, and their scores (N, R) float32.

    Args:
        encode: The graph ``encode(inputs)``, or ``encode(inputs, mask)``, → memory.
        start: The graph ``start(memory)`` → context and prefix, for a decoder with caches.
        step: The graph of `BeamStep`.
        decoding: The settings.
    """

    masked: Final[bool]
    cached: Final[bool]
    prompt: Tensor
    ends: Tensor

    def __init__(
        self, encode: Callable[..., Tensor], start: Callable[..., Any], step: Callable[..., Any], decoding: Decoding
    ) -> None:
        super().__init__()
        beams = decoding.beams or Beams(1, (decoding.eos_id,))
        self.encode, self.start, self.step = encode, start, step
        self.masked, self.cached = decoding.inputs > 1, decoding.prefix is not None
        self.steps, self.entries = decoding.steps, decoding.entries
        self.beams, self.kept, self.returned = beams.num_beams, beams.candidates, beams.return_sequences
        self.penalty, self.stops_early = beams.length_penalty, beams.early_stopping is True
        self.never_stops = beams.early_stopping == "never"
        self.fill_id, self.dead, self.banned = beams.fill_id, DEAD, 0.5 * BANNED
        self.register_buffer("prompt", torch.tensor((decoding.bos_id, *beams.prompt), dtype=torch.int32), False)
        self.register_buffer("ends", torch.tensor(beams.eos_ids, dtype=torch.int32), False)

    def forward(self, inputs: Tensor, mask: Optional[Tensor] = None) -> Tuple[Tensor, Tensor]:
        return self.read(inputs, mask)[0]

    @torch.jit.export
    def read(self, inputs: Tensor, mask: Optional[Tensor] = None) -> Tuple[Tuple[Tensor, Tensor], int]:
        """The outputs of `forward`, and the number of decoder calls."""
        if self.masked:
            assert mask is not None
            memory = self.encode(inputs, mask)
        else:
            memory = self.encode(inputs)
        rows, device = inputs.shape[0], memory.device
        cache, sources = torch.zeros([0], device=device), torch.zeros([0], dtype=torch.int32, device=device)
        if self.cached:
            memory, prefix = self.start(memory)
            width = self.entries + self.steps
            cache = prefix.new_zeros([rows, width, self.beams * prefix.shape[2]])
            sources = torch.zeros([rows, self.beams, width], dtype=torch.int32, device=device)
        own = torch.arange(self.beams, dtype=torch.int32, device=device).unsqueeze(0).expand(rows, -1)
        given = self.prompt.shape[0]
        found = self.begin(rows, device)
        values, tokens, parents = found.scores, own, own
        step, calls, going = 0, 0, True
        while going and step < self.steps:
            position = torch.full([1], step, dtype=torch.int32, device=device)
            seen = found.running[:, :, : self.steps]
            if self.cached:
                past = (sources[:, :, step : step + self.entries], cache[:, step : step + self.entries])
                values, tokens, parents, entry = self.step(seen, position, found.scores, past[0], past[1], memory)
                cache[:, self.entries + step : self.entries + step + 1] = entry
                sources[:, :, self.entries + step] = own
                calls += 1
            elif step + 1 >= given:
                values, tokens, parents = self.step(seen, position, found.scores, memory)
                calls += 1
            step += 1
            if step >= given:
                found, kept, going = self.follow(found, values, tokens, parents.to(torch.int64), step)
                if self.cached:
                    sources = take(sources, kept)
        return (found.finished[:, : self.returned, 1:], found.best[:, : self.returned]), calls

    def begin(self, rows: int, device: torch.device) -> Beamed:
        """All beams at the prompt, of which the first alone counts."""
        running = torch.full([rows, self.beams, self.steps + 1], self.fill_id, dtype=torch.int32, device=device)
        running[:, :, : self.prompt.shape[0]] = self.prompt.to(device)
        scores = torch.full([rows, self.beams], self.dead, device=device)
        best = scores.clone()
        scores[:, 0] = 0.0
        done = torch.zeros([rows, self.beams], dtype=torch.bool, device=device)
        open_rows = torch.ones([rows, 1], dtype=torch.bool, device=device)
        return Beamed(running, scores, running.clone(), best, done, open_rows)

    def follow(
        self, found: Beamed, values: Tensor, tokens: Tensor, parents: Tensor, step: int
    ) -> Tuple[Beamed, Tensor, bool]:
        """Choose among continuations (N, K): which go on, and which are finished.

        Returns:
            The beams, those (N, k) that the running ones continue, and whether the search goes on.
        """
        values = values.masked_fill(values < self.banned, float("-inf"))
        sequences = take(found.running, parents)
        sequences[:, :, step] = tokens
        hits = (tokens.unsqueeze(-1) == self.ends.to(tokens.device)).any(-1)
        if step >= self.steps:
            hits = torch.ones_like(hits)
        alive = values + hits.to(torch.float32) * self.dead
        chosen = alive.topk(self.beams, dim=1)[1]
        running, scores = take(sequences, chosen), take(alive, chosen)
        length = step + 1 - self.prompt.shape[0]
        finished, best, done = self.finish(found, values / (float(length) ** self.penalty), sequences, hits)
        # With a penalty scores may rise with the length: what is the best that a beam can become?
        reach = self.steps + 1 - self.prompt.shape[0] if self.never_stops and self.penalty > 0.0 else length
        hoped = scores[:, :1] / (float(reach) ** self.penalty)
        worst = torch.where(done, best.amin(1, keepdim=True), torch.full_like(best, self.dead))
        open_rows = found.open_rows & (hoped > worst).any(-1, keepdim=True)
        going = bool(open_rows.any()) and not (self.stops_early and bool(done.all())) and not bool(hits.all())
        return Beamed(running, scores, finished, best, done, open_rows), take(parents, chosen), going

    def finish(self, found: Beamed, values: Tensor, sequences: Tensor, hits: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """The best of the finished sequences and of those (N, K) that end now: sequences, scores, whether finished."""
        spare = torch.arange(self.kept, device=hits.device) >= self.beams
        ended = hits & ~spare
        if self.stops_early:
            values = values + found.done.all(-1, keepdim=True).to(torch.float32) * self.dead
        values = values + (~found.open_rows).to(torch.float32) * self.dead
        values = values + (~ended).to(torch.float32) * self.dead
        merged = torch.cat([found.best, values], dim=1)
        kept = merged.topk(self.beams, dim=1)[1]
        sequences = take(torch.cat([found.finished, sequences], dim=1), kept)
        return sequences, take(merged, kept), take(torch.cat([found.done, ended], dim=1), kept)


METHOD = BeamSearch()


def static_beam_search(
    decoder: Any,
    *,
    num_beams: int,
    max_length: int,
    bos_id: int,
    eos_id: int,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    num_return_sequences: int = 1,
    memory: TensorSpec | Tensor | None = None,
) -> "BeamSearchDecoder":
    """Search beams in fixed shapes, with the result of `generate` of transformers 4.54 to 5 on the same scores.

    A graph gives the best continuations of each row, the bookkeeping of beams is a loop around it.

    Args:
        decoder: ``logits(tokens, memory)``, as an object with a method of this name or as a function: (N, T) int32
            tokens, BOS first → (N, T, C), where entry i depends on tokens 0..i only.
        num_beams: Beams of a row, 1 to 64.
        max_length: Longest sequence, in tokens, EOS not counted.
        bos_id: The id that begins a sequence.
        eos_id: The id that ends it, and fills up what follows.
        length_penalty: Scores are divided by the length to this power; 0 and negative ones too.
        early_stopping: True ends a row with its last finished beam, False where none is likely to become better,
            "never" where none can.
        num_return_sequences: Sequences of a row that come out, best first.
        memory: What the decoder attends to, as an example or its spec; needed to compile, not to run eagerly.

    Returns:
        A static model: memory → tokens (N, R, max_length + 1) int32 and scores (N, R) float32.

    Raises:
        SpecError: If the decoder does not follow the protocol, or is not causal; if a number is out of its range.

    Examples:
        >>> import torch
        >>> def logits(tokens, memory):
        ...     return memory.unsqueeze(1).expand(-1, tokens.shape[1], -1)
        >>> search = neuronkit.static_beam_search(logits, num_beams=2, max_length=2, bos_id=0, eos_id=1)
        >>> tokens, scores = search(torch.tensor([[0.0, 1.0, 5.0]]))
        >>> tokens.tolist()
        [[[2, 2, 2]]]
    """
    if hasattr(as_module(decoder), "step"):
        raise SpecError(
            f"got {type(decoder).__name__}, which gives one step at a time; expected logits(tokens, memory); give the "
            "decoder of all positions, or decode greedily"
        )
    num_beams = checks.integer("num_beams", num_beams, 1, 64, error=SpecError)
    if not isinstance(early_stopping, (bool, str)) or early_stopping not in (True, False, "never"):
        raise SpecError(
            f"got early_stopping={shown(early_stopping)}; expected True, False or 'never'; give one of them"
        )
    penalty = checks.number("length_penalty", length_penalty, -1e3, 1e3, error=SpecError)
    beams = Beams(
        num_beams,
        (checks.integer("eos_id", eos_id, 0, (1 << 31) - 1, error=SpecError),),
        penalty,
        early_stopping,
        checks.integer("num_return_sequences", num_return_sequences, 1, num_beams, error=SpecError),
        eos_id,
    )
    return BeamSearchDecoder(decoder, max_length=max_length, bos_id=bos_id, eos_id=eos_id, memory=memory, beams=beams)


class BeamSearchDecoder(GreedyDecoder):
    """A beam search, as `static_beam_search` makes it: memory → tokens (N, R, T) int32 and scores (N, R) float32."""

    family = "beams"

    def tokens(self, memory: Tensor) -> list[list[int]]:
        """The ids of all sequences, those of a row one after the other, up to and without EOS.

        Raises:
            SpecError: If the decoder does not take the memory.
        """
        with torch.no_grad():
            rows = self(memory)[0].flatten(0, 1).tolist()
        return [row[: row.index(self.eos_id)] if self.eos_id in row else row for row in rows]

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Any:
        """The search on growing prefixes."""
        search = BeamDecoder(nn.Identity(), nn.Identity(), _Growing(source, self.decoding.beams), self.decoding)
        return search(*inputs)


class _Growing(nn.Module):
    """The best continuations from prefixes as long as they are."""

    def __init__(self, decoder: Any, beams: Any) -> None:
        super().__init__()
        self.decoder, self.beams = decoder, beams

    def forward(self, tokens: Tensor, position: Tensor, scores: Tensor, memory: Tensor) -> Any:
        count = self.beams.num_beams
        prefix = tokens[:, :, : int(position) + 1].flatten(0, 1)
        logits = self.decoder.logits(prefix, memory.repeat_interleave(count, dim=0))[:, -1]
        total = (logits.float().log_softmax(-1).unflatten(0, (-1, count)) + scores.unsqueeze(-1)).flatten(1)
        best, index = total.topk(self.beams.candidates, dim=1)
        return best, (index % logits.shape[1]).int(), index // logits.shape[1]
