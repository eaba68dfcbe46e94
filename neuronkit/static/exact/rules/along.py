"""Rules for operators along one dimension, and for products of matrices."""

from __future__ import annotations

from typing import Any

from torch import nn

from neuronkit.static.exact.builder import Call
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.sizes import BATCH, Dim, Extent, step
from neuronkit.static.exact.values import Pieces, Value, fixed


@rule("linear", modules=[nn.Linear], batch_anywhere=True)
def linear(call: Call, weight: Any) -> Value:
    x = call.input
    if x.dims is not None and (isinstance(x.dims[-1], Extent) or x.dims[-1] is BATCH):
        call.refuse("has weights for every entry of a dimension that varies, or for the batch")
    features = weight.dims[0] if isinstance(weight, Value) and weight.dims else None
    return call.same(None if x.dims is None else (*x.dims[:-1], features))


@rule("matmul", "bmm", "mm")
def matmul(call: Call) -> Value:
    left, right = call.args[:2]
    if not (isinstance(left, Value) and isinstance(right, Value)):
        call.refuse("multiplies something else than tensors")
    if not left.varying and not right.varying:
        return call.same(None)
    matrix = right.dims is not None and len(right.dims) == 2 and not right.varying
    if not matrix or right.dims is None or left.dims is None or isinstance(left.dims[-1], Extent):
        call.refuse("multiplies matrices along a dimension that varies")
    return call.same((*left.dims[:-1], right.dims[1]))


@rule("log_softmax", modules=[nn.LogSoftmax], batch_anywhere=True)
@rule("softmax", modules=[nn.Softmax, nn.Softmax2d], batch_anywhere=True)
def softmax(call: Call, dim: int | None = None) -> Value:
    x = call.input
    dim = -3 if isinstance(call.module, nn.Softmax2d) else dim
    if not x.varying:
        return call.same()
    if not isinstance(dim, int):
        call.refuse("does not say along which dimension")
    if dim % len(x.dims or ()) == x.batch:
        call.refuse("mixes the rows of the batch")
    if dim % len(x.dims or ()) not in x.varying:
        return call.same()
    if call.name == "log_softmax":
        call.refuse("takes the logarithm of a share of a size that varies")
    return call.same(given=call.builder.excluded(x))


def _along(call: Call, dims: Any) -> list[Dim] | None:
    """The input's dimensions, where an operator that works along some of them can be taken as it is."""
    x = call.input
    given = [dims] if isinstance(dims, int) else list(dims or ())
    rank = len(x.dims or ())
    if x.varying and (not given or any(not isinstance(d, int) or d % rank in (0, *x.varying) for d in given)):
        call.refuse("works along a dimension that varies, or along the batch")
    return None if x.dims is None else list(x.dims)


@rule("cumsum", "softmin", "argsort")
def along(call: Call, dim: Any = -1) -> Value:
    return call.same(_along(call, dim))


@rule("flip")
def flip(call: Call, dims: Any = None) -> Value:
    return call.same(_along(call, dims))


@rule("roll")
def roll(call: Call, shifts: Any, dims: Any = None) -> Value:
    return call.same(_along(call, dims))


@rule("normalize")
def normalize(call: Call, p: Any = 2.0, dim: Any = 1) -> Value:
    return call.same(_along(call, dim))


@rule("glu", modules=[nn.GLU])
def glu(call: Call, dim: int = -1) -> Value:
    dims = _along(call, dim)
    if dims is not None:
        dims[dim] = step(dims[dim], lambda n: n // 2)
    return call.same(dims)


@rule("sort")
def sort(call: Call, dim: Any = -1) -> Pieces:
    value = call.same(_along(call, dim))
    return Pieces(value.node, value)


@rule("topk")
def topk(call: Call, k: Any, dim: int = -1) -> Pieces:
    dims = _along(call, dim)
    if dims is not None:
        dims[dim] = fixed(call.number(k))
    value = call.same(dims)
    return Pieces(value.node, value)
