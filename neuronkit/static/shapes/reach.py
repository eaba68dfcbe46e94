"""How far the receptive field of a convolutional network reaches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neuronkit import checks
from neuronkit.errors import SpecError
from neuronkit.static.original import detached_copy, failures_named, unwrap
from neuronkit.static.trees import leaves

# Reaches are looked for in images up to this many pixels; what reaches further is taken as unbounded.
MAX_REACH = 8192


@dataclass(frozen=True)
class Reach:
    """How far a network's receptive field reaches, in pixels of its input.

    Attributes:
        up: Rows above an output's own pixels that can change it.
        down: Rows below.
        left: Columns to its left.
        right: Columns to its right.
    """

    up: int
    down: int
    left: int
    right: int

    @property
    def largest(self) -> int:
        return max(self.up, self.down, self.left, self.right)


def reach(module: nn.Module, *, stride: int, channels: int = 3) -> Reach:
    """Measure how far a network's receptive field reaches, by filling half of an image with NaN.

    NaN spreads through every operator along its windows, whatever the weights are. The network runs in float64, where
    torch convolves without the algorithms that spread NaN further.

    Args:
        module: Called with images (N, C, H, W); it is copied, not touched.
        stride: Pixels that tiles are aligned to: a multiple of the network's total stride.
        channels: C.

    Raises:
        SpecError: If the network cannot run on such images, an output depends on the whole image, as after global
            pooling, or has no size.
    """
    stride = checks.integer("stride", stride, 1, error=SpecError)
    network = detached_copy(unwrap(module)).double()
    found: dict[str, int] = {}
    with failures_named(type(unwrap(module)).__name__, f"images (N, {channels}, H, W) float64"):
        for names, dim in ((("up", "down"), 2), (("left", "right"), 3)):
            found.update(zip(names, _reach_along(network, dim, stride, channels)))
    return Reach(**found)


def _reach_along(network: nn.Module, dim: int, stride: int, channels: int) -> tuple[int, int]:
    dims = _following_dims(network, dim, stride, channels)
    length = 8 * stride
    while length <= MAX_REACH:
        half = length // 2 // stride * stride
        spoilt = []
        for begin, end in ((0, half), (half, length)):
            images = _blank(dim, length, stride, channels)
            images.narrow(dim, begin, end - begin).fill_(float("nan"))
            spoilt.append(_spoilt(network, images, dims, length))
        # What reaches the far end of the other half may reach further.
        if spoilt[0][1] < length and spoilt[1][0] > 0:
            return max(0, math.ceil(spoilt[0][1] - half)), max(0, math.ceil(half - spoilt[1][0]))
        length *= 2
    raise SpecError(
        f"{type(network).__name__} reads more than {MAX_REACH // 2} pixels around each output, as after global "
        "pooling or normalisation over the image; tiles of it cannot be exact. Give an overlap, and measure its error"
    )


def _following_dims(network: nn.Module, dim: int, stride: int, channels: int) -> list[int]:
    """For each output, the dimension that grows with this one of the input."""
    shapes = []
    for length in (8 * stride, 9 * stride):
        images = _blank(dim, length, stride, channels)
        try:
            with torch.no_grad():
                shapes.append([output.shape for output in leaves(network(images))])
        except RuntimeError as error:
            raise SpecError(
                f"{type(network).__name__} cannot run on images {tuple(images.shape)}: {error}. Give the number of "
                "channels that it takes, and a stride that is a multiple of its own"
            ) from error
    dims = []
    for small, large in zip(*shapes):
        growing = [i for i, (a, b) in enumerate(zip(small, large)) if a != b]
        if len(growing) != 1:
            raise SpecError(
                f"an output of shape {tuple(small)} does not follow the input's size; it cannot be put together from "
                "tiles"
            )
        dims += growing
    return dims


def _blank(dim: int, length: int, stride: int, channels: int) -> Tensor:
    size = [1, channels, 2 * stride, 2 * stride]
    size[dim] = length
    return torch.zeros(size, dtype=torch.float64)


def _spoilt(network: nn.Module, images: Tensor, dims: list[int], length: int) -> tuple[float, float]:
    """From where to where outputs hold NaN, in pixels of the input."""
    with torch.no_grad():
        outputs = leaves(network(images))
    begin, end = float(length), 0.0
    for output, along in zip(outputs, dims):
        others = [dim for dim in range(output.dim()) if dim != along]
        spoilt = torch.isnan(output).sum(others).nonzero()
        if len(spoilt):
            pixels = length / output.shape[along]
            begin, end = min(begin, float(spoilt[0]) * pixels), max(end, float(spoilt[-1] + 1) * pixels)
    return begin, end
