"""A method of decoding: as many passes as there are positions, in one graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.decoding import Decoding
from neuronkit.static.decoding.loops import shift_right
from neuronkit.static.decoding.methods import Graphs, Method, Parts


class AllPasses(nn.Module):
    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.decoder, self.steps, self.bos_id = parts.decoder, parts.decoding.steps, parts.decoding.bos_id

    def forward(self, memory: Tensor) -> Tensor:
        tokens = torch.full((memory.shape[0], self.steps), self.bos_id, dtype=torch.int32)
        for _ in range(self.steps):
            logits = self.decoder.logits(tokens, memory)
            tokens = shift_right(logits.argmax(-1), self.bos_id)
        return logits


class ToyMethod(Method):
    name = "all_passes"
    needs_logits = True

    def modules(self, parts: Parts) -> dict[str, nn.Module]:
        return {"passes": AllPasses(parts)}

    def specs(self, parts: Parts) -> dict[str, tuple[TensorSpec, ...]]:
        return {"passes": parts.specs}

    def join(self, decoding: Decoding, graphs: Graphs) -> Any:
        return graphs["passes"]

    def calls(self, decoding: Decoding) -> int:
        return decoding.steps
