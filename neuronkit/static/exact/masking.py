"""Zeros outside the valid area, where a layer computes what is to be zeroed: in its memory, or by the layer itself."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from neuronkit import tensors
from neuronkit.capture.onnx import takes_masks_as_channels
from neuronkit.static.exact import runtime
from neuronkit.static.ops import length
from neuronkit.static.sentinels import sentinel

# What these give lies in memory of its own.
_MODULES = (nn.Conv2d, nn.ConvTranspose2d, nn.modules.batchnorm._BatchNorm, nn.ReLU, nn.ReLU6)
_FUNCTIONS = (F.relu, torch.relu, F.conv2d, F.conv_transpose2d, operator.add, torch.add, torch.cat)


def zero_own(x: Tensor, inside: Tensor) -> Tensor:
    """`runtime.zero_outside` of a tensor whose old content is not used, in its own memory.

    Memory of its own would cost more than the product: the time that it takes to be handed out.
    """
    # A backward pass needs the old content. Compilers plan memory themselves, and Inf1 has no such product.
    if x.requires_grad or tensors.being_traced():
        return runtime.zero_outside(x, inside)
    return x.mul_(inside.to(x.dtype))


# Of a convolution's input, at most: runtimes compute blocks of channels, which one more of many makes one more block.
MOST_CHANNELS = 8


class MaskedConvolution(nn.Module):
    """A convolution, its normalisation and ReLU, and zeros outside the valid area of what they give.

    Where `masks_as_channels` is in force, the inverted mask is one more input channel: its only weight sinks each
    result outside so far below 0 that ReLU gives 0, and adds 0 to each inside.

    Args:
        convolution: That keeps height and width.
        normalization: May be missing.
        activation: ReLU.
    """

    def __init__(self, convolution: nn.Conv2d, normalization: nn.BatchNorm2d | None, activation: nn.Module) -> None:
        super().__init__()
        self.convolution, self.normalization, self.activation = convolution, normalization, activation

    def forward(self, x: Tensor, inside: Tensor) -> Tensor:
        if takes_masks_as_channels() and x.dtype != torch.float16 and not self._is_watched():
            return F.relu(self._sunk(x, inside))
        x = self.convolution(x)
        return zero_own(self.activation(x if self.normalization is None else self.normalization(x)), inside)

    def _is_watched(self) -> bool:
        """Whether a layer has a hook, which may give it another weight, so that it must be called."""
        return any(layer._forward_hooks or layer._forward_pre_hooks for layer in self.children())

    def _sunk(self, x: Tensor, inside: Tensor) -> Tensor:
        weight, bias = self.convolution.weight, self.convolution.bias
        norm = self.normalization
        if norm is not None:
            # Normalised behind the sum, a weight of any size and sign would scale what sinks it.
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = torch.rsqrt(norm.running_var + norm.eps)
            scale = scale if norm.weight is None else norm.weight * scale
            shift = -norm.running_mean if bias is None else bias - norm.running_mean
            bias = shift * scale if norm.bias is None else shift * scale + norm.bias
            weight = weight * scale.reshape(-1, 1, 1, 1)
        height, width = (size // 2 for size in self.convolution.kernel_size)
        column = runtime.pad(
            torch.full_like(weight[:, :1, :1, :1], -sentinel(weight.dtype)), [width, width, height, height], 0.0
        )
        # Where images have one height, that of the mask is 1.
        outside = (1 - inside).to(x.dtype).expand(*(length(x, dim) if dim != 1 else 1 for dim in range(4)))
        return F.conv2d(
            torch.cat([x, outside], dim=1),
            torch.cat([weight, column], dim=1),
            bias,
            padding=self.convolution.padding,
            dilation=self.convolution.dilation,
        )


def masked_convolution(node: fx.Node, attributes: dict[str, Any]) -> tuple[fx.Node, MaskedConvolution] | None:
    """What the layers that end in a node are given, and these layers with a mask; None where they take none."""
    layers: dict[type, nn.Module] = {}
    # What something else reads too, is computed anyway.
    for kind, readers in ((nn.ReLU, 0), (nn.BatchNorm2d, 1), (nn.Conv2d, 1)):
        layer = attributes.get(str(node.target)) if node.op == "call_module" else None
        if type(layer) is kind and len(node.users) == readers and len(node.args) == 1:
            layers[kind], node = layer, node.args[0]  # type: ignore[assignment]
    normalization, convolution = layers.get(nn.BatchNorm2d), layers.get(nn.Conv2d)
    if nn.ReLU not in layers or not isinstance(convolution, nn.Conv2d) or not _takes_channel(convolution):
        return None
    if isinstance(normalization, nn.BatchNorm2d) and normalization.running_mean is None:
        return None
    return node, MaskedConvolution(convolution, normalization, layers[nn.ReLU])  # type: ignore[arg-type]


def _takes_channel(convolution: nn.Conv2d) -> bool:
    """Whether a mask of its result can be one more of its input channels."""
    few = convolution.in_channels <= MOST_CHANNELS and convolution.groups == 1
    if not few or convolution.padding_mode != "zeros" or isinstance(convolution.padding, str):
        return False
    settings = zip(convolution.kernel_size, convolution.stride, convolution.padding, convolution.dilation)
    return all(k % 2 and s == 1 and 2 * p == d * (k - 1) for k, s, p, d in settings)


def is_own_memory(node: fx.Node, attributes: dict[str, Any]) -> bool:
    """Whether what a node gives lies in memory that no input and no weight has.

    Nodes that have read it may have given views of it, where zeros outside the valid area do as little harm.
    """
    if node.op == "call_module":
        return isinstance(attributes[str(node.target)], _MODULES)
    return node.op == "call_function" and node.target in _FUNCTIONS
