"""Small decoders in the logits protocol."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CLASSES, WIDTH = 7, 8


class Running(nn.Module):
    """Each token follows from all before it; `eos_bias` makes rows end earlier."""

    def __init__(self, eos_bias: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embed, self.out = nn.Embedding(CLASSES, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.out.weight.data.mul_(4)
        self.out.bias.data[0] += eos_bias

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        return self.out(torch.tanh(self.embed(tokens).cumsum(1) + memory.unsqueeze(1)))


class Counter(nn.Module):
    """Each pass settles one position; the memory says where a row ends."""

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        place = torch.arange(tokens.shape[1]).expand(len(tokens), -1)
        ids = torch.where(place < memory[:, :1], tokens.long() % 9 + 1, torch.zeros_like(place))
        return nn.functional.one_hot(ids, 11).float()
