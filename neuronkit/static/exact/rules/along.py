"""Rules for operators along one dimension, and for products of matrices."""

from __future__ import annotations

from typing import Any

from torch import nn

from neuronkit.static.exact.call import Call
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.rules.settings import fixed
from neuronkit.static.exact.sizes import Dim, Extent, step
from neuronkit.static.exact.values import Fill, Pieces, Value


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


@rule("matmul", "bmm", "mm")
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
    return call.builder.output(call.again({x: call.builder.excluded(x)}), x.dims)


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
    if call.name == "glu":
        known[listed[0]] = step(known[listed[0]], lambda n: n // 2)
    elif call.name == "topk":
        known[listed[0]] = fixed(call.read("k")[0])
    value = call.builder.output(call.again(), known, max(x.fill, Fill.FINITE))
    return Pieces(value.node, value) if call.name in ("topk", "sort") else value
