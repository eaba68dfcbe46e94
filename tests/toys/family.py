"""A family of models: a small reader, dynamic, and its adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import TensorSpec
from neuronkit.adapters.kit.encoder_decoder import EncoderDecoder
from neuronkit.adapters.registry import Family

CLASSES, WIDTH, STEPS, EOS, BOS = 9, 16, 8, 0, 8


class Reader(nn.Module):
    """The dynamic original: reads a word from a vector, on a prefix that grows until every row has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, WIDTH), nn.BatchNorm1d(WIDTH), nn.Tanh())
        self.embed = nn.Embedding(CLASSES, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)
        self.settings = {"beams": 1}

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Each position sees the sum of all tokens up to it."""
        return self.head(torch.tanh(self.embed(tokens).cumsum(1) + memory.unsqueeze(1)))

    def forward(self, x: Tensor) -> Tensor:
        memory = self.body(x)
        tokens = torch.full((len(x), 1), BOS)
        rows: list[Tensor] = []
        while len(rows) < STEPS and not bool((tokens == EOS).any(1).all()):
            rows.append(self.logits(tokens, memory)[:, -1])
            tokens = torch.cat([tokens, rows[-1].argmax(-1, keepdim=True)], dim=1)
        return torch.stack(rows, dim=1)


class Decoder(nn.Module):
    def __init__(self, source: Any) -> None:
        super().__init__()
        self.embed, self.head = source.embed, source.head

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        return self.head(torch.tanh(self.embed(tokens).cumsum(1) + memory.unsqueeze(1)))


@dataclass(frozen=True)
class ReaderOptions:
    method: str = "auto"


class StaticReader(EncoderDecoder):
    """The reader in fixed shapes."""

    family = "toy"

    def __init__(self, model: nn.Module, *, batch_size: int = 1, options: ReaderOptions = ReaderOptions()) -> None:
        spec = TensorSpec("x", (batch_size, 6))
        super().__init__(model, (spec,), steps=STEPS, bos_id=BOS, eos_id=EOS, method=options.method)

    def encoder(self, source: Any) -> nn.Module:
        return source.body

    def decoder(self, source: nn.Module) -> nn.Module:
        return Decoder(source)

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Tensor:
        logits = source(*inputs)
        return nn.functional.pad(logits, [0, 0, 0, STEPS - logits.shape[1]])

    def decoded(self, outputs: Tensor) -> list[Any]:
        rows = outputs.argmax(-1).tolist()
        return [row[: row.index(EOS)] if EOS in row else row for row in rows]


def make_reader() -> Reader:
    """A reader whose words differ from input to input."""
    torch.manual_seed(4)
    model = Reader()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
        model.head.bias[EOS] += 1
    return model.eval()


FAMILY = Family("toy", (f"{__name__}.Reader",), lambda model: False, ReaderOptions, StaticReader)
