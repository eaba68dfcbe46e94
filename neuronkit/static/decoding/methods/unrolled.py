"""All steps in one graph, the encoder and the refinement with them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.specs import TensorSpec
from neuronkit.static.decoding import graphs as parts_of
from neuronkit.static.decoding import loops
from neuronkit.static.decoding.decoding import Decoding
from neuronkit.static.decoding.methods import Graphs, Method, Parts
from neuronkit.static.decoding.packing import PackedStart, state_layout


class Unrolled(Method):
    """One graph, "read"."""

    name = "unrolled"

    def modules(self, parts: Parts) -> dict[str, nn.Module]:
        return {"read": UnrolledDecoder(parts)}

    def specs(self, parts: Parts) -> dict[str, tuple[TensorSpec, ...]]:
        return {"read": parts.specs}

    def join(self, decoding: Decoding, graphs: Graphs) -> Any:
        return graphs["read"]

    def calls(self, decoding: Decoding) -> int:
        return decoding.steps + decoding.refine_iters


class UnrolledDecoder(nn.Module):
    """Inputs as the model takes them → logits (N, T, C), or tokens (N, T) int32 and probabilities (N, T)."""

    bos: Tensor

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        decoding, self.layout = parts.decoding, state_layout(parts.steps, parts.memory())
        self.encode = nn.Identity() if parts.encoder is None else parts.encoder
        self.start: nn.Module = loops.GraphStart(PackedStart(parts.steps, self.layout))
        if decoding.state is not None:
            self.start = loops.EmptyState(decoding.state)
        self.decoder = parts.steps
        self.finish = parts_of.Finish(parts)
        self.steps = decoding.steps
        self.register_buffer("bos", torch.full((1,), decoding.bos_id, dtype=torch.int32), persistent=False)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        memory = self.encode(*inputs)
        packed = self.start(memory, inputs[0].shape[0])
        bos = token = self.bos.to(memory.device).expand(packed.shape[0])
        state = self.layout.unpack(packed)
        rows = []
        tokens = []
        for _ in range(self.steps):
            logits, state = self.decoder.step(token, state, memory)
            token = logits.argmax(-1).to(torch.int32)
            rows.append(logits)
            tokens.append(token)
        return self.finish(torch.stack(rows, dim=1), torch.stack(tokens, dim=1), memory, bos.unsqueeze(1))


METHOD = Unrolled()
