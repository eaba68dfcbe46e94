"""Rules for operators that work on each entry alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from neuronkit.static.exact.builder import Call
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.rules.sizes import of_sizes
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
# Those that may give infinities or NaN.
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
    of_a_kind = call.name in ("to", "type_as")  # These take but a dtype and a device.
    if not x.varying and not of_a_kind and any(other.varying for other in call.tensors):
        call.refuse("takes its settings from a map")
    return call.same(fill=x.fill, storage=x.storage if call.name in _ALIASING else None)


def _bounded(call: Call) -> Value:
    return call.same()


for _table, _rule in ((KEEPING, _keep), (BOUNDED, _bounded)):
    for _name, _module in _table.items():
        rule(_name, modules=[_module] if _module else [], batch_anywhere=True)(_rule)


@rule(*UNBOUNDED)
def _unbounded(call: Call) -> Value:
    return call.same(fill=Fill.ANYTHING)


@rule(
    "identity",
    modules=[nn.Identity, nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout],
    batch_anywhere=True,
)
def identity(call: Call) -> Value:
    """Modules that do nothing outside training."""
    return call.input


@rule("dropout", "dropout2d", "alpha_dropout", "feature_alpha_dropout", batch_anywhere=True)
def dropout(call: Call, p: Any = 0.5, training: Any = True) -> Value:
    """Functions that do nothing with ``training=False``."""
    if training:
        call.refuse("drops entries at random, outside training too")
    return call.input


@rule("stochastic_depth")
def stochastic_depth(call: Call, p: Any, mode: Any, training: Any = True) -> Value:
    """As dropout does."""
    return dropout(call, p, training)


@rule("clamp", "clip")
def clamp(call: Call, min: Any = None, max: Any = None) -> Value:
    bounds = [bound for bound in (min, max) if bound is not None]
    if not all(isinstance(bound, (int, float)) for bound in bounds):
        return _elementwise(call, Fill.FINITE)
    keeps_zero = (min is None or min <= 0) and (max is None or max >= 0)
    return call.same(fill=call.input.fill if keeps_zero and len(bounds) == 2 else None)


@rule("hardtanh", modules=[nn.Hardtanh])
def hardtanh(call: Call, min_val: Any = -1.0, max_val: Any = 1.0) -> Value:
    return clamp(call, min_val, max_val)


@rule("clamp_min")
def clamp_min(call: Call, min: Any) -> Value:
    return clamp(call, min)


@rule("clamp_max")
def clamp_max(call: Call, max: Any) -> Value:
    return clamp(call, None, max)


@rule(*ADDITIVE, *COMPARING)
def additive(call: Call) -> Any:
    tensors = call.tensors
    if not tensors:
        return of_sizes(call)
    zero = call.name in ("add", "sub", "maximum", "minimum") and len(tensors) == 2
    zero = zero and all(t.fill is Fill.ZERO and t.varying for t in tensors)
    return _elementwise(call, Fill.ZERO if zero else max(Fill.FINITE, *(t.fill for t in tensors)))


@rule(*MULTIPLICATIVE)
def multiplicative(call: Call) -> Any:
    tensors = call.tensors
    if not tensors:
        return of_sizes(call)
    fill = max((t.fill for t in tensors if t.varying), default=Fill.FINITE)
    if call.name != "addcmul" and fill < Fill.ANYTHING and any(t.varying and t.fill is Fill.ZERO for t in tensors):
        fill = Fill.ZERO
    return _elementwise(call, max(fill, Fill.FINITE) if call.name == "addcmul" else fill)


@rule(*DIVISIVE)
def divisive(call: Call) -> Any:
    tensors = call.tensors
    if not tensors:
        return of_sizes(call)
    by_number = len(tensors) == 1 and isinstance(call.args[0], Value)
    whole_power = call.name == "pow" and isinstance(call.args[-1], int) and call.args[-1] > 0
    keeps = by_number and (whole_power or (call.name in ("div", "true_divide", "truediv") and call.args[1:] != (0,)))
    return _elementwise(call, tensors[0].fill if keeps else Fill.ANYTHING)


def _elementwise(call: Call, fill: Fill) -> Value:
    if any(isinstance(a, Size) and a.varies for a in (*call.args, *call.kwargs.values())):
        call.refuse("computes with the size of a map, which on a canvas is another than that of the image")
    return call.same(broadcast(call, call.tensors), fill)


def broadcast(call: Call, tensors: Sequence[Value]) -> tuple[Dim, ...] | None:
    """The dimensions of an operator that works on the entries of several tensors, aligned at their last."""
    known = [t.dims for t in tensors if t.dims is not None]
    if len(known) < len(tensors):
        if any(t.varying for t in tensors):
            call.refuse("joins a map with a tensor whose shape is not known here")
        return None
    rank = max(map(len, known))
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
