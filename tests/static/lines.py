"""Small line recognisers. Not in a test file, where pytest rewrites the assert statements that are to be followed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Line(nn.Module):
    """Convolutions over a line, and what follows on (N, C, h, W)."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d((2, 2), (2, 1), (0, 1)),
            nn.Conv2d(6, 6, 3, padding=1), nn.MaxPool2d(2),
        )  # fmt: skip
        self.layers = nn.ModuleList(layers)


class Pooled(Line):
    """As EasyOCR does: the mean over the height, once width and height have changed places."""

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.look(x).permute(0, 3, 1, 2), (None, 1)).squeeze(3)
        for layer in self.layers:
            x = layer(x)[0] if isinstance(layer, nn.RNNBase) else layer(x)
        return x


class Reshaped(Line):
    """As docTR does."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.look(x)
        c, h, w = x.shape[1], x.shape[2], x.shape[3]
        x = torch.transpose(torch.reshape(x, (-1, h * c, w)), 1, 2)
        rnn, head = self.layers
        return head(rnn(x)[0])


class TimeFirst(Line):
    """As the first CRNN does: time first, and time and batch in one for the linear layer."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.look(x)
        _, _, h, w = x.size()
        x = nn.functional.max_pool2d(x, (2, 1))
        assert x.size(2) == 1, "the height must be 1"
        assert w > 0 and h == 2  # noqa: PT018  both in one, to be followed
        rnn, head = self.layers
        x, state = rnn(x.squeeze(2).permute(2, 0, 1))
        if isinstance(rnn, nn.LSTM):
            _, _ = state
        steps, rows, size = x.size()
        return head(x.view(steps * rows, size)).view(steps, -1, 5).transpose(0, 1)


class Summed(Line):
    """Time first: both directions summed and normalised, and read by a convolution along the line."""

    def forward(self, x: Tensor) -> Tensor:
        rnn, norm, read = self.layers
        x, _ = rnn(self.look(x).mean(2).permute(2, 0, 1))
        x = norm(x.view(x.size(0), x.size(1), 2, -1).sum(2)).log_softmax(2)
        return read(x.permute(1, 2, 0)).transpose(1, 2)


class Misused(Line):
    """Calls a recurrent layer in a way of its own."""

    def __init__(self, layer: nn.Module, use: Callable[..., Tensor]) -> None:
        super().__init__(layer)
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(self.layers[0], self.look(x).mean(2).transpose(1, 2))


class Checked(Line):
    """Checks what it has looked at."""

    def __init__(self, check: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.check = check

    def forward(self, x: Tensor) -> Tensor:
        x = self.look(x)
        self.check(x)
        return x


def wide(x: Tensor) -> None:
    assert x.size(3) >= 10, "too narrow"


def low(x: Tensor) -> None:
    assert x.size(2) == 1
