"""Zeros outside the valid area, written over what a layer has just computed."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from neuronkit import tensors
from neuronkit.static.exact import runtime

# What these give lies in memory of its own.
_MODULES = (nn.Conv2d, nn.ConvTranspose2d, nn.modules.batchnorm._BatchNorm, nn.ReLU, nn.ReLU6)
_FUNCTIONS = (F.relu, torch.relu, F.conv2d, F.conv_transpose2d, operator.add, torch.add, torch.cat)


def zero_own(x: Tensor, inside: Tensor) -> Tensor:
    """`runtime.zero_outside` of a tensor whose old content is not used, in its own memory.

    Memory of its own would cost more than the product: the time that it takes to be handed out.
    """
    # A backward pass needs the old content. Compilers plan memory themselves, and Inf1 knows no such product.
    if x.requires_grad or tensors.being_traced():
        return runtime.zero_outside(x, inside)
    return x.mul_(inside.to(x.dtype))


def is_own_memory(node: fx.Node, attributes: dict[str, Any]) -> bool:
    """Whether what a node gives lies in memory that no input and no weight has.

    Nodes that have read it may have given views of it, where zeros outside the valid area do as little harm.
    """
    if node.op == "call_module":
        return isinstance(attributes[str(node.target)], _MODULES)
    return node.op == "call_function" and node.target in _FUNCTIONS
