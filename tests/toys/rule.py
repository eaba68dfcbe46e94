"""Rules of `exact_padding`: for a module, for a function that is not torch's, and for one of torch's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.static.exact import rule


class Shares(nn.Module):
    """What each channel has of the image's sum, in code that no tracer can follow."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([row / (float(row.abs().sum()) + self.offset) for row in x])


@torch.fx.wrap
def tripled(x: Tensor, by: float = 3.0) -> Tensor:
    return x * by if x.sum() > 0 or by else x


@rule("shares", modules=[Shares])
def shares(call: Any, offset: float) -> Any:
    x, dims = call.image()
    total = call.emit(torch.sum, call.emit(torch.abs, call.builder.zeroed(x)), (1, 2, 3), True)
    return call.builder.output(call.emit(torch.div, x, call.emit(torch.add, total, offset)), dims)


@rule("tripled", functions=[tripled])
def three_times(call: Any, by: float = 3.0) -> Any:
    return call.same(fill=call.input.fill)


@rule("sinc")
def sinc(call: Any) -> Any:
    return call.same()


class Network(nn.Module):
    """All three between two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.shares = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1), Shares(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.sinc(tripled(self.shares(self.first(x)), by=2.0)))
