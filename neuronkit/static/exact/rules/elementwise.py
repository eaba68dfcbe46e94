"""Rules for operators that work on each entry alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from neuronkit.static.exact.call import Call
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.rules.shapes import of_sizes
from neuronkit.static.exact.sizes import BATCH, Dim, Extent
from neuronkit.static.exact.values import Fill, Size, Value

# Operators of one tensor that give 0 for 0, and finite values for finite ones.
KEEPING = {
    "relu": nn.ReLU, "relu6": nn.ReLU6, "hardswish": nn.Hardswish, "silu": nn.SiLU, "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "celu": nn.CELU, "selu": nn.SELU, "mish": nn.Mish, "tanh": nn.Tanh,
    "softsign": nn.Softsign, "tanhshrink": nn.Tanhshrink, "softshrink": nn.Softshrink, "hardshrink": nn.Hardshrink,
    "rrelu": nn.RReLU, "prelu": nn.PReLU, "abs": None, "neg": None, "negative": None, "square": None, "sign": None,
    "sin": None, "erf": None, "round": None, "floor": None, "ceil": None, "nan_to_num": None, "pos": None,
    "to": None, "type": None, "float": None, "half": None, "double": None, "bfloat16": None, "type_as": None,
    "contiguous": None, "clone": None, "detach": None, "zeros_like": None,
}  # fmt: skip
# Those that give finite values, but not 0 for 0.
BOUNDED = {
    "sigmoid": nn.Sigmoid, "hardsigmoid": nn.Hardsigmoid, "softplus": nn.Softplus, "logsigmoid": nn.LogSigmoid,
    "threshold": nn.Threshold, "cos": None, "ones_like": None, "logical_not": None, "bitwise_not": None, "invert": None,
}  # fmt: skip
# Those that may give anything.
UNBOUNDED = ("exp", "log", "log2", "log10", "log1p", "expm1", "sqrt", "rsqrt", "reciprocal", "isnan", "isinf")
# These may return the tensor they are given, or a view of it.
_ALIASING = frozenset({"to", "type", "float", "half", "double", "bfloat16", "type_as", "contiguous", "detach"})
ADDITIVE = ("add", "sub", "rsub", "subtract", "maximum", "minimum", "where", "fmax", "fmin", "lerp", "logaddexp")
MULTIPLICATIVE = ("mul", "multiply", "addcmul")
DIVISIVE = ("div", "divide", "true_divide", "truediv", "pow", "floordiv", "floor_divide", "remainder", "mod", "fmod")
COMPARING = ("eq", "ne", "lt", "gt", "le", "ge", "logical_and", "logical_or", "logical_xor", "and_", "or_", "xor")


def _keep(call: Call) -> Any:
    if call.args and isinstance(call.args[0], Size):
        return of_sizes(call)
    x = call.input
    if not x.varying and len(call.args) > 1 and isinstance(call.args[1], Value) and call.args[1].varying:
        call.refuse("takes its settings from a map")
    storage = {"storage": x.storage} if call.name in _ALIASING else {}
    return call.builder.output(call.again(), x.dims, x.fill, **storage)


def _bounded(call: Call) -> Value:
    return call.builder.output(call.again(), call.input.dims, max(call.input.fill, Fill.FINITE))


def _unbounded(call: Call) -> Value:
    return call.builder.output(call.again(), call.input.dims, Fill.ANYTHING)


for _table, _rule in ((KEEPING, _keep), (BOUNDED, _bounded)):
    for _name, _module in _table.items():
        rule(_name, modules=[_module] if _module else [])(_rule)


rule(*UNBOUNDED)(_unbounded)


@rule("identity", modules=[nn.Identity, nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout])
def identity(call: Call) -> Value:
    """Modules that do nothing outside training."""
    return call.input


@rule("dropout", "dropout2d", "alpha_dropout", "feature_alpha_dropout", "stochastic_depth")
def dropout(call: Call) -> Value:
    """Functions that do nothing when they are told that this is no training."""
    names = ("p", "mode", "training") if call.name == "stochastic_depth" else ("p", "training")
    if call.read(*names, p=0.5, mode="", training=True)[-1]:
        call.refuse("drops entries at random, outside training too")
    return call.input


@rule("hardtanh", "clamp", "clip", "clamp_min", "clamp_max", modules=[nn.Hardtanh])
def clamp(call: Call) -> Value:
    x = call.input
    if call.module is not None:
        bounds = [call.module.min_val, call.module.max_val]
    else:
        bounds = [*call.args[1:], *(value for name, value in call.kwargs.items() if name != "inplace")]
    numbers = [bound for bound in bounds if isinstance(bound, (int, float)) and not isinstance(bound, bool)]
    if len(numbers) < len([bound for bound in bounds if bound is not None and not isinstance(bound, bool)]):
        return _elementwise(call, Fill.FINITE)
    keeps_zero = len(numbers) == 2 and numbers[0] <= 0 <= numbers[1]
    keeps_zero = keeps_zero or (call.name == "clamp_min" and numbers[0] <= 0)
    keeps_zero = keeps_zero or (call.name == "clamp_max" and numbers[0] >= 0)
    return call.builder.output(call.again(), x.dims, x.fill if keeps_zero else max(x.fill, Fill.FINITE))


@rule(*ADDITIVE, *COMPARING)
def additive(call: Call) -> Any:
    if not _tensors(call):
        return of_sizes(call)
    tensors = _tensors(call)
    zero = call.name in ("add", "sub", "maximum", "minimum") and len(tensors) == 2
    zero = zero and all(t.fill is Fill.ZERO and t.varying for t in tensors)
    return _elementwise(call, Fill.ZERO if zero else max(Fill.FINITE, *(t.fill for t in tensors)))


@rule(*MULTIPLICATIVE)
def multiplicative(call: Call) -> Any:
    tensors = _tensors(call)
    if not tensors:
        return of_sizes(call)
    fill = max(t.fill for t in tensors if t.varying) if any(t.varying for t in tensors) else Fill.FINITE
    if call.name != "addcmul" and fill < Fill.ANYTHING and any(t.varying and t.fill is Fill.ZERO for t in tensors):
        fill = Fill.ZERO
    return _elementwise(call, max(fill, Fill.FINITE) if call.name == "addcmul" else fill)


@rule(*DIVISIVE)
def divisive(call: Call) -> Any:
    tensors = _tensors(call)
    if not tensors:
        return of_sizes(call)
    by_number = len(tensors) == 1 and isinstance(call.args[0], Value)
    whole_power = call.name == "pow" and isinstance(call.args[-1], int) and call.args[-1] > 0
    keeps = by_number and (whole_power or (call.name in ("div", "true_divide", "truediv") and call.args[1:] != (0,)))
    return _elementwise(call, tensors[0].fill if keeps else Fill.ANYTHING)


def _tensors(call: Call) -> list[Value]:
    return [a for a in (*call.args, *call.kwargs.values()) if isinstance(a, Value)]


def _elementwise(call: Call, fill: Fill) -> Value:
    given = (*call.args, *call.kwargs.values())
    if any(isinstance(a, Size) and a.varies for a in given):
        call.refuse("computes with the size of a map, which on a canvas is another than that of the image")
    return call.builder.output(call.again(), broadcast(call, _tensors(call)), fill)


def broadcast(call: Call, tensors: Sequence[Value]) -> tuple[Dim, ...] | None:
    """The dimensions of an operator that works on the entries of several tensors, aligned at their last."""
    shapes = [t.dims for t in tensors]
    if any(shape is None for shape in shapes):
        if any(t.varying for t in tensors):
            call.refuse("joins a map with a tensor whose shape is not known here")
        return None
    known = [shape for shape in shapes if shape is not None]
    rank = max(len(shape) for shape in known)
    return tuple(
        _broadcast_dim(call, [shape[i - rank] for shape in known if len(shape) >= rank - i]) for i in range(rank)
    )


def _broadcast_dim(call: Call, dims: Sequence[Dim]) -> Dim:
    extents = [dim for dim in dims if isinstance(dim, Extent)]
    others = [dim for dim in dims if not isinstance(dim, Extent) and dim != 1]
    if extents:
        if others:
            call.refuse(f"joins a varying size with a fixed one ({others[0]})")
        joined = extents[0]
        for other in extents[1:]:
            joined = call.builder.agree(joined, other)
        return joined
    if BATCH in others:
        return BATCH
    return next((dim for dim in others if dim is not None), None) if others else 1
