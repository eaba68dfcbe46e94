"""Encoder, guess, several passes and refinement in one graph, which says which rows have settled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.specs import TensorSpec
from neuronkit.static.decoding import graphs as parts_of
from neuronkit.static.decoding import loops
from neuronkit.static.decoding.decoding import Decoding
from neuronkit.static.decoding.methods import Graphs, Method, Parts
from neuronkit.static.shapes.rows import Carry


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
        return loops.FusedLoop(graphs["fused"], decoding)

    def carry(self, decoding: Decoding) -> Carry:
        return Carry(decoding.steps, decoding.most_calls, decoding.gives_tokens)


class FusedDecoder(nn.Module):
    """Inputs as the model takes them, and start (N, T) int32 → results, tokens and settled (N,) int32.

    That is logits (N, T, C), tokens (N, T) int32 and settled; or tokens, probabilities (N, T) and settled. In every row
    that has settled, results are right. The tokens of one that has not, and all tokens beside logits, are those that
    the last pass before refinement predicts, from which the row goes on.
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.encode = nn.Identity() if parts.encoder is None else parts.encoder
        self.decoder, self.decoding = parts.decoder, parts.decoding
        self.classes = parts.classes
        self.finish = parts_of.Finish(parts)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        *given, start = inputs
        decoding = self.decoding
        memory = self.encode(*given)
        if hasattr(self.decoder, "prepare"):
            memory = self.decoder.prepare(memory)
        bos = torch.full_like(start.split([1, decoding.steps - 1], dim=1)[0], decoding.bos_id)
        before = tokens = torch.where(start < 0, self._guess(start, bos, memory), self._checked(start))
        for _ in range(decoding.passes):
            before = tokens
            logits = self._predict(parts_of.behind(bos, before), loops.CAUSAL, memory)
            tokens = logits.argmax(-1).to(torch.int32)
        after = self.finish.ended(tokens)
        settled = (torch.where(after, before, tokens) == before).all(1)
        if decoding.zero_after_end and not decoding.gives_tokens:
            logits = logits.masked_fill(after.unsqueeze(-1), 0)
        results = self.finish(logits, tokens, memory, bos)
        if not decoding.gives_tokens:
            return results, tokens, settled.to(torch.int32)
        found, probabilities = results
        return torch.where(settled.unsqueeze(-1), found, tokens), probabilities, settled.to(torch.int32)

    def _checked(self, start: Tensor) -> Tensor:
        """No id but those that the decoder predicts: where compilers make gathers of one-hot products, others crash."""
        return start if self.classes is None else start.clamp(max=self.classes - 1)

    def _predict(self, tokens: Tensor, kind: int, memory: Any) -> Tensor:
        decoder = self.decoder
        takes_kind = self.decoding.takes_kind
        logits: Tensor = decoder.run(tokens, kind, memory) if takes_kind else decoder.logits(tokens, memory)
        return logits

    def _guess(self, start: Tensor, bos: Tensor, memory: Any) -> Tensor:
        if not self.decoding.takes_kind:
            return torch.full_like(start, self.decoding.eos_id)
        null_context = bos.expand(-1, self.decoding.steps)
        return self._predict(null_context, loops.GUESS, memory).argmax(-1).to(torch.int32)


METHOD = Fused()
