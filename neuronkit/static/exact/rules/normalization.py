"""Rules for normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from neuronkit.static.exact import runtime
from neuronkit.static.exact.builder import Call
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.sizes import Dim, Extent, Sizes
from neuronkit.static.exact.values import Value


@rule("batch_norm", modules=[nn.BatchNorm2d, nn.BatchNorm1d, nn.SyncBatchNorm])
def batch_norm(
    call: Call, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: bool = False
) -> Value:
    # A module in train mode is refused when it is called.
    if running_mean is None or (training and call.module is None):
        call.refuse(
            "normalises with the statistics of the whole batch, so that rows influence one another; give it running "
            "statistics"
        )
    return call.same()


@rule("instance_norm", modules=[nn.InstanceNorm2d])
def instance_norm(
    call: Call, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Value:  # fmt: skip
    if not use_input_stats or (call.module is not None and running_mean is not None):
        return call.same()
    return _normalize(call, None, weight, bias, eps)


@rule("group_norm", modules=[nn.GroupNorm])
def group_norm(call: Call, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Value:
    return _normalize(call, num_groups, weight, bias, eps)


def _normalize(call: Call, groups: int | None, weight: Any, bias: Any, eps: float) -> Value:
    """Normalise each group of channels, or each channel, by the statistics of valid entries."""
    if not call.input.varying:
        return call.same()
    x, (_, channels, rows, columns) = call.image()
    if groups is None or channels == groups:
        # torch refuses to normalise a single entry.
        call.builder.require(
            lambda size: "normalises a single entry. Take a larger image" if _at(rows, size) == _at(columns, size) == 1
            else None,
            lambda sizes: (_all(rows, sizes) != 1) | (_all(columns, sizes) != 1),
        )  # fmt: skip
    builder = call.builder
    sizes = [builder.size(rows), builder.size(columns)]
    args = (builder.zeroed(x), builder.mask(x), sizes, groups, weight, bias, eps)
    return builder.output(call.emit(runtime.normalize, *args), x.dims)


def _at(dim: Dim, size: tuple[int, int]) -> Dim:
    return dim.at(size[dim.source]) if isinstance(dim, Extent) else dim


def _all(dim: Dim, sizes: tuple[Sizes, Sizes]) -> Any:
    return dim.function(sizes[dim.source]) if isinstance(dim, Extent) else np.asarray(dim)


@rule(
    "layer_norm",
    "rms_norm",
    modules=[nn.LayerNorm, *([nn.RMSNorm] if hasattr(nn, "RMSNorm") else [])],
    batch_anywhere=True,
)
def layer_norm(call: Call, normalized_shape: Any) -> Value:
    x = call.input
    count = len(normalized_shape) if isinstance(normalized_shape, (tuple, list)) else 1
    if any(i >= len(x.dims or ()) - count for i in x.varying):
        call.refuse("normalises over height or width of a fixed size")
    if x.varying and (x.batch or 0) >= len(x.dims or ()) - count:
        call.refuse("mixes the rows of the batch")
    return call.same()


@rule("local_response_norm", modules=[nn.LocalResponseNorm])
def local_response_norm(call: Call) -> Value:
    call.image()
    return call.same()
