"""Rules for reductions: of some dimensions, of valid entries only."""

from __future__ import annotations

from typing import Any

import torch

from neuronkit.static.exact import runtime
from neuronkit.static.exact.call import Call
from neuronkit.static.exact.rules.elementwise import broadcast
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.sizes import Dim, Extent
from neuronkit.static.exact.values import Fill, Pieces, Value


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
    # What is lowered stays low outside the valid area, and overflows when it is squared.
    fill = Fill.FINITE if call.name in ("sum", "norm") else Fill.ANYTHING
    return call.builder.output(call.again({x: _neutral(call, x)}), out, fill)


def mean(call: Call, x: Value, dims: tuple[int, ...], keepdim: bool) -> Value:
    """Mean over some dimensions, of valid entries only."""
    known = x.dims or ()
    builder = call.builder
    plain = [dim for dim in dims if not isinstance(known[dim], Extent)]
    varying = [dim for dim in dims if isinstance(known[dim], Extent)]
    node = builder.zeroed(x)
    if plain:
        node = builder.emit(torch.mean, node, plain, True)
    node = builder.emit(runtime.mean, node, varying, True, [builder.size(known[dim]) for dim in varying])
    left: list[Dim] = [1 if i in dims else dim for i, dim in enumerate(known)]
    if not keepdim:
        for dim in sorted(dims, reverse=True):
            node = builder.emit(torch.squeeze, node, dim)
            left.pop(dim)
    return builder.output(node, left)


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
    return Pieces(node, call.builder.output(node, out, Fill.ANYTHING))


def _neutral(call: Call, x: Value) -> Any:
    """The tensor with values outside its valid area that do not count in this reduction."""
    builder = call.builder
    if call.name == "sum":
        return builder.zeroed(x)
    if call.name == "norm":
        p = call.read("p", p="fro")[0]
        if p == "fro" or (isinstance(p, (int, float)) and p > 0):
            return builder.zeroed(x)
    if call.name == "amax":
        return builder.lowered(x)
    if call.name in ("max", "argmax"):
        # Their indices must not lie outside, where all is 0 inside.
        return builder.excluded(x)
    if call.name in ("amin", "min", "argmin"):
        return builder.excluded(x, sign=-1.0)
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
