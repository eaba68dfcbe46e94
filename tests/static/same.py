"""Layers as other libraries write them: padding computed from the size, and kernels from the weights."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


def _total(size: int, kernel: int, stride: int, dilation: int = 1) -> int:
    return max((math.ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)


class Same(nn.Conv2d):
    """A convolution padded as TensorFlow does, as much before as after, or one less."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.size()[-2:]
        kernel = self.weight.shape[-2:]
        rows = _total(height, kernel[0], self.stride[0], self.dilation[0])
        columns = _total(width, kernel[1], self.stride[1], self.dilation[1])
        x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class SameMaxPool(nn.Module):
    """Max pooling, padded likewise, as models of PaddlePaddle are ported."""

    def __init__(self, kernel: int, stride: int, value: float) -> None:
        super().__init__()
        self.kernel, self.stride, self.value = kernel, stride, value
        self.pool = nn.MaxPool2d(kernel, stride, padding=0, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        _, _, height, width = x.shape
        rows = max(0, (-(-height // self.stride) - 1) * self.stride + self.kernel - height)
        columns = max(0, (math.ceil(width / self.stride) - 1) * self.stride + self.kernel - width)
        padding = [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2]
        return self.pool(F.pad(x, padding, value=self.value))


class Standardized(nn.Conv2d):
    """A convolution whose kernel is normalised by batch statistics of its own."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.gain = nn.Parameter(self.weight.new_ones(self.out_channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(flat, None, None, weight=(self.gain * 0.5).view(-1), training=True, momentum=0.0)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias, self.stride, self.padding)
