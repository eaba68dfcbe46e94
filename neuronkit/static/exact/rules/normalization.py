"""Rules for normalisation."""

from __future__ import annotations

from typing import Any

from torch import nn

from neuronkit.static.exact import runtime
from neuronkit.static.exact.call import Call
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.sizes import Extent
from neuronkit.static.exact.values import Fill, Value

BATCH_STATISTICS = (
    "normalises with the statistics of the whole batch, so that rows influence one another; give it running statistics"
)


@rule("batch_norm", modules=[nn.BatchNorm2d, nn.BatchNorm1d, nn.SyncBatchNorm])
def batch_norm(call: Call) -> Value:
    x = call.input
    if call.module is not None:
        if call.module.running_mean is None:
            call.refuse(BATCH_STATISTICS)
    else:
        running_mean, _, _, _, training = call.read(
            "running_mean", "running_var", "weight", "bias", "training", weight=None, bias=None, training=False
        )
        if training or running_mean is None:
            call.refuse(BATCH_STATISTICS)
    return call.builder.output(call.again(), x.dims, max(x.fill, Fill.FINITE))


@rule("instance_norm", modules=[nn.InstanceNorm2d])
def instance_norm(call: Call) -> Value:
    x = call.image()
    if call.module is not None:
        module: Any = call.module
        own_statistics, weight, bias, eps = module.running_mean is None, module.weight, module.bias, module.eps
        nodes = [call.builder.attribute(weight), call.builder.attribute(bias)]
    else:
        _, _, weight, bias, use_input, _, eps = call.read(
            "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps",
            running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5,
        )  # fmt: skip
        own_statistics, nodes = bool(use_input), [weight, bias]
    if not own_statistics or not x.varying:
        return call.builder.output(call.again(), x.dims, max(x.fill, Fill.FINITE))
    _require_entries(call, x, 1)
    return _normalize(call, x, None, nodes, eps)


@rule("group_norm", modules=[nn.GroupNorm])
def group_norm(call: Call) -> Value:
    x = call.input
    if not x.varying:
        return call.builder.output(call.again(), x.dims)
    call.image()
    if call.module is not None:
        module: Any = call.module
        groups, eps = module.num_groups, module.eps
        nodes = [call.builder.attribute(module.weight), call.builder.attribute(module.bias)]
    else:
        groups, weight, bias, eps = call.read("num_groups", "weight", "bias", "eps", weight=None, bias=None, eps=1e-5)
        nodes = [weight, bias]
    channels = (x.dims or ())[1]
    _require_entries(call, x, channels // groups if isinstance(channels, int) else None)
    return _normalize(call, x, groups, nodes, eps)


def _require_entries(call: Call, x: Value, channels: int | None) -> None:
    """Note that torch normalises no single entry."""
    rows, columns = (x.dims or ())[2:]
    if channels != 1:
        return

    def at(dim: Any, size: tuple[int, int]) -> Any:
        return dim.at(size[dim.source]) if isinstance(dim, Extent) else dim

    def unmet(size: tuple[int, int]) -> str | None:
        alone = at(rows, size) == at(columns, size) == 1
        return "normalises a single entry. Take a larger image" if alone else None

    call.builder.require(unmet)


def _normalize(call: Call, x: Value, groups: int | None, weight_and_bias: list[Any], eps: float) -> Value:
    builder = call.builder
    sizes = [builder.size(dim) for dim in (x.dims or ())[2:]]
    args = (builder.zeroed(x), builder.mask(x), sizes, groups, *weight_and_bias, eps)
    return builder.output(call.emit(runtime.normalize, *args), x.dims)


@rule("layer_norm", "rms_norm", modules=[nn.LayerNorm, *([nn.RMSNorm] if hasattr(nn, "RMSNorm") else [])])
def layer_norm(call: Call) -> Value:
    x = call.input
    (shape,) = call.read("normalized_shape")
    count = len(shape) if isinstance(shape, (tuple, list)) else 1
    if any(i >= len(x.dims or ()) - count for i in x.varying):
        call.refuse("normalises over height or width of a fixed size")
    return call.builder.output(call.again(), x.dims, max(x.fill, Fill.FINITE))


@rule("local_response_norm", modules=[nn.LocalResponseNorm])
def across_channels(call: Call) -> Value:
    x = call.image()
    return call.builder.output(call.again(), x.dims, max(x.fill, Fill.FINITE))
