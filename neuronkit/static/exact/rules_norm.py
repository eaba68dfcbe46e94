"""Rules for normalisation, reductions and operators along one dimension."""

from __future__ import annotations

from typing import Any

from torch import nn

from neuronkit.static.exact import runtime
from neuronkit.static.exact.call import Call
from neuronkit.static.exact.rules import RULES, broadcast, rule
from neuronkit.static.exact.rules_windows import mean
from neuronkit.static.exact.sizes import Dim, Extent
from neuronkit.static.exact.values import Fill, Opaque, Pieces, Value

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
    channels = (x.dims or ())[1]
    groups = channels if isinstance(channels, int) else getattr(call.module, "num_features", None)
    if groups is None:
        call.refuse("has a number of channels that is not known here")
    return _normalize(call, x, groups, nodes, eps)


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
    return _normalize(call, x, groups, nodes, eps)


def _normalize(call: Call, x: Value, groups: int, weight_and_bias: list[Any], eps: float) -> Value:
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


@rule("linear", modules=[nn.Linear])
def linear(call: Call) -> Value:
    x = call.input
    if x.dims is not None and isinstance(x.dims[-1], Extent):
        call.refuse("has weights for every entry of a dimension that varies")
    if call.module is not None:
        features: Any = call.module.out_features
    else:
        weight = call.read("weight")[0]
        features = weight.dims[0] if isinstance(weight, Value) and weight.dims else None
    dims = None if x.dims is None else (*x.dims[:-1], features if isinstance(features, int) else None)
    return call.builder.output(call.again(), dims, max(x.fill, Fill.FINITE))


@rule("matmul")
def matmul(call: Call) -> Value:
    left, right = call.args[:2]
    if not (isinstance(left, Value) and isinstance(right, Value)):
        call.refuse("multiplies something else than tensors")
    if not left.varying and not right.varying:
        return call.builder.output(call.again(), None)
    fixed = right.dims is not None and len(right.dims) == 2 and not right.varying
    if not fixed or right.dims is None or left.dims is None or isinstance(left.dims[-1], Extent):
        call.refuse("multiplies matrices along a dimension that varies")
    return call.builder.output(call.again(), (*left.dims[:-1], right.dims[1]), max(left.fill, Fill.FINITE))


RULES["bmm"] = RULES["mm"] = RULES["matmul"]


@rule("softmax", "log_softmax", modules=[nn.Softmax, nn.Softmax2d, nn.LogSoftmax])
def softmax(call: Call) -> Value:
    x = call.input
    dim = -3 if isinstance(call.module, nn.Softmax2d) else call.read("dim", dim=None)[0]
    if not x.varying:
        return call.builder.output(call.again(), x.dims)
    if not isinstance(dim, int):
        call.refuse("does not say along which dimension")
    if dim % len(x.dims or ()) not in x.varying:
        return call.builder.output(call.again(), x.dims, max(x.fill, Fill.FINITE))
    if call.name == "log_softmax" or isinstance(call.module, nn.LogSoftmax):
        call.refuse("takes the logarithm of a share of a size that varies")
    return call.builder.output(call.again({x: call.builder.lowered(x)}), x.dims)


@rule("normalize", "cumsum", "softmin", "argsort", "sort", "flip", "roll", "topk", "glu", modules=[nn.GLU])
def along_channels(call: Call) -> Any:
    """Operators along a dimension, taken as they are where it does not vary."""
    x = call.input
    if not x.varying:
        return call.builder.output(call.again(), None)
    names = {"normalize": ("p", "dim"), "roll": ("shifts", "dims"), "flip": ("dims",), "topk": ("k", "dim")}
    defaults = {"p": 2.0, "dim": 1 if call.name == "normalize" else -1, "dims": None}
    dims = call.read(*names.get(call.name, ("dim",)), **defaults)[-1]
    listed = [dims] if isinstance(dims, int) else list(dims or ())
    rank = len(x.dims or ())
    if not listed or any(not isinstance(d, int) or d % rank in (0, *x.varying) for d in listed):
        call.refuse("works along a dimension that varies, or along the batch")
    known: list[Dim] = list(x.dims or ())
    if call.name in ("topk", "glu"):
        known[listed[0]] = None
    value = call.builder.output(call.again(), known, max(x.fill, Fill.FINITE))
    return Pieces(value.node, value) if call.name in ("topk", "sort") else value


@rule("mean", "sum", "amax", "amin", "norm", "logsumexp", "prod", "var", "std", "any", "all", "argmax", "argmin",
      "count_nonzero", "median")  # fmt: skip
def reduce(call: Call) -> Any:
    x = call.input
    names = ["dim", "keepdim"]
    if call.name == "norm":
        names = ["p", *names]
    if call.name in ("var", "std"):
        # Their second positional argument is the correction.
        names = ["dim"]
    given = dict(zip(names, call.read(*names, p="fro", dim=None, keepdim=False)))
    dim, keepdim = given["dim"], given.get("keepdim", call.kwargs.get("keepdim", False))
    if not x.varying:
        return call.builder.output(call.again(), _reduced(x, _listed(dim, x), bool(keepdim)))
    dims = _listed(dim, x)
    if dims is None or 0 in dims:
        call.refuse("mixes the rows of the batch")
    out = _reduced(x, dims, bool(keepdim))
    if not set(dims) & set(x.varying):
        return call.builder.output(call.again(), out, max(x.fill, Fill.FINITE))
    if call.name == "mean":
        return mean(call, x, tuple(dims), bool(keepdim))
    replaced = _neutral(call, x)
    return call.builder.output(call.again({x: replaced}), out)


def _neutral(call: Call, x: Value) -> Any:
    """The tensor with values outside its valid area that do not count in this reduction."""
    builder = call.builder
    if call.name == "sum":
        return builder.zeroed(x)
    if call.name == "norm":
        p = call.read("p", p="fro")[0]
        if p == "fro" or (isinstance(p, (int, float)) and p > 0):
            return builder.zeroed(x)
    if call.name in ("amax", "max", "argmax"):
        return builder.lowered(x)
    if call.name in ("amin", "min", "argmin"):
        return builder.lowered(x, sign=-1.0)
    call.refuse("reduces a dimension that varies in a way that is not known here")


def _listed(dim: Any, x: Value) -> list[int] | None:
    if dim is None or x.dims is None:
        return None
    given = [dim] if isinstance(dim, int) else list(dim)
    if not given or not all(isinstance(d, int) for d in given):
        return None
    return [d % len(x.dims) for d in given]


def _reduced(x: Value, dims: list[int] | None, keepdim: bool) -> list[Dim] | None:
    if dims is None or x.dims is None:
        return None
    if keepdim:
        return [1 if i in dims else dim for i, dim in enumerate(x.dims)]
    return [dim for i, dim in enumerate(x.dims) if i not in dims]


@rule("max", "min")
def extremes(call: Call) -> Any:
    """The largest or smallest: of two tensors, of all entries, or along one dimension with the indices."""
    x = call.input
    if len(call.args) > 1 and isinstance(call.args[1], Value):
        return call.builder.output(call.again(), broadcast(call, list(call.args[:2])), Fill.ANYTHING)
    if not call.args[1:] and "dim" not in call.kwargs:
        return reduce(call)
    dim, keepdim = call.read("dim", "keepdim", keepdim=False)
    dims = _listed(dim, x)
    out = _reduced(x, dims, bool(keepdim))
    if not x.varying:
        node = call.again()
    elif dims is None or 0 in dims:
        call.refuse("mixes the rows of the batch")
    else:
        node = call.again({x: _neutral(call, x)}) if set(dims) & set(x.varying) else call.again()
    return Pieces(node, call.builder.output(node, out, max(x.fill, Fill.FINITE)))


@rule("_assert")
def check(call: Call) -> Any:
    """A check that holds for every input is left out."""
    condition = call.args[0]
    if isinstance(condition, bool) and condition:
        return None
    if isinstance(condition, Opaque):
        return Opaque(call.again())
    call.refuse("checks a size that varies")
