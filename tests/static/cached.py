"""A decoder of one's own with caches, in the protocol of `neuronkit.static.decoding.methods.stepwise`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

VOCABULARY, WIDTH = 11, 16


class Cached(nn.Module):
    """One layer of attention, on the memory as the entry before BOS and on all tokens.

    Args:
        seed: Of the weights.
        place: How much positions count; 0: what follows depends on the tokens alone, and repeats itself.
        end: Added to the score of EOS, 0.
    """

    prefix = 1

    def __init__(self, seed: int, *, place: float = 0.3, end: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed, self.place = nn.Embedding(VOCABULARY, WIDTH), nn.Parameter(place * torch.randn(600, WIDTH))
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, VOCABULARY)
        self.out.weight.data.mul_(3)
        self.out.bias.data[0] += end

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        context, before = self.prefill(memory)
        start = torch.zeros(tokens.shape[0], dtype=torch.int32)
        return self.advance(tokens, start, before, context)[0]

    def prefill(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        context = memory.unsqueeze(1)
        return context, self.qkv(context)[..., WIDTH:]

    def advance(self, tokens: Tensor, position: Tensor, cache: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        window, past = tokens.shape[1], cache.shape[1]
        here = torch.arange(window, dtype=torch.int32)
        entry = torch.arange(past + window, dtype=torch.int32)
        position = position.unsqueeze(1)
        x = self.embed(tokens) + nn.functional.embedding(position + here, self.place) + context
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        written = torch.cat([k, v], dim=-1)
        keys, values = torch.cat([cache, written], dim=1).chunk(2, dim=-1)
        seen = (entry >= past - self.prefix - position).unsqueeze(1) & (entry <= past + here.unsqueeze(1))
        scores = torch.where(seen, q @ keys.transpose(1, 2), torch.full((1, 1, 1), -(2.0**100), dtype=x.dtype))
        return self.out(scores.softmax(-1) @ values + x), written
