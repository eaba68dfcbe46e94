"""Encoder, guess, several passes and refinement in one graph, which says which rows have settled."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuronkit.specs import TensorSpec
from neuronkit.static.decoding import graphs as parts_of
from neuronkit.static.decoding import loops
from neuronkit.static.decoding.decoding import Decoding
from neuronkit.static.decoding.methods import Graphs, Method, Parts
from neuronkit.static.ops import cumsum
from neuronkit.static.shapes.rows import Carry

# Of the demo's words, 0.35 to 0.55 % have not settled after so many, and 2.3 to 2.7 % after three.
PASSES = 5


class Fused(Method):
    """One graph, "fused": inputs and ``start`` → logits, tokens and ``settled``.

    ``start`` (N, T) int32 says where a row goes on from; -1: from a guess. Rows whose ``settled`` is 0 go on with their
    tokens as ``start``, in a further call of the same graph.
    """

    name = "fused"
    needs_logits = True

    def modules(self, parts: Parts) -> dict[str, nn.Module]:
        return {"fused": FusedDecoder(parts)}

    def specs(self, parts: Parts) -> dict[str, tuple[TensorSpec, ...]]:
        start = TensorSpec("start", (parts.rows, parts.decoding.steps), "int32", fill=-1)
        return {"fused": (*parts.specs, start)}

    def join(self, decoding: Decoding, graphs: Graphs) -> nn.Module:
        joined = loops.FusedLoop if decoding.inputs == 1 else loops.MaskedFusedLoop
        passes = int(decoding.takes_kind) + PASSES + decoding.refine_iters
        return joined(graphs["fused"], decoding.steps, self.carry(decoding).calls, passes)

    def carry(self, decoding: Decoding) -> Carry:
        # A pass settles one position at least.
        return Carry(decoding.steps, -(-decoding.steps // PASSES))


class FusedDecoder(nn.Module):
    """Inputs as the model takes them, start (N, T) int32 → logits (N, T, C), tokens (N, T) int32, settled (N,) int32.

    In every row that has settled, logits are right up to and including the first EOS. The tokens are those that the
    last pass before refinement predicts.
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        decoding, decoder = parts.decoding, parts.decoder
        self.encode = nn.Identity() if parts.encoder is None else parts.encoder
        self.decode: nn.Module = parts_of.AllPositions(decoder)
        self.guess: nn.Module | None = None
        self.refine: nn.Module = loops.KeepLogits()
        if decoding.takes_kind:
            self.decode = parts_of.OneKind(decoder, loops.CAUSAL)
            self.guess = parts_of.OneKind(decoder, loops.GUESS)
        if decoding.refine_iters:
            self.refine = loops.Refine(parts_of.OneKind(decoder, loops.REFINE), decoding.bos_id)
        self.decoding = decoding

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        *given, start = inputs
        memory = self.encode(*given)
        bos = torch.full_like(start[:, :1], self.decoding.bos_id)
        tokens = torch.where(start < 0, self._guess(start, memory), start)
        for _ in range(PASSES):
            before = tokens
            logits = self.decode(torch.cat([bos, before.split([self.decoding.steps - 1, 1], dim=1)[0]], dim=1), memory)
            tokens = logits.argmax(-1).to(torch.int32)
        is_eos = (tokens == self.decoding.eos_id).to(torch.float32)
        after = cumsum(is_eos) - is_eos > 0
        changed = torch.where(after, torch.zeros_like(is_eos), (tokens != before).to(torch.float32))
        settled = changed.sum(1) == 0
        if self.decoding.stops_at_eos:
            logits = torch.where(after.unsqueeze(-1), torch.zeros_like(logits), logits)
        for _ in range(self.decoding.refine_iters):
            logits = self.refine(logits, memory)
        return logits, tokens, settled.to(torch.int32)

    def _guess(self, start: Tensor, memory: Tensor) -> Tensor:
        if self.guess is None:
            return torch.full_like(start, self.decoding.eos_id)
        null_context = torch.full_like(start, self.decoding.bos_id)
        return self.guess(null_context, memory).argmax(-1).to(torch.int32)


METHOD = Fused()
