"""Rules for reductions: of some dimensions, of valid entries only."""

from __future__ import annotations

from typing import Any

import torch

from neuronkit.static.exact import runtime
from neuronkit.static.exact.builder import Call
from neuronkit.static.exact.rules.elementwise import broadcast
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.sizes import Dim, Extent
from neuronkit.static.exact.values import Fill, Pieces, Value


@rule(
    "mean", "sum", "amax", "amin", "logsumexp", "prod", "any", "all", "argmax", "argmin", "count_nonzero", "median",
    batch_anywhere=True,
)  # fmt: skip
def reduce(call: Call, dim: Any = None, keepdim: Any = False) -> Value:
    x = call.input
    dims = _listed(dim, x)
    out = _reduced(x, dims, bool(keepdim))
    if not x.varying:
        return call.same(out, Fill.FINITE)
    if dims is None or x.batch in dims:
        call.refuse("mixes the rows of the batch")
    if not set(dims) & set(x.varying):
        return call.same(out)
    if x.batch != 0:
        call.refuse("reduces a dimension that varies, of a tensor whose first dimension is not the batch")
    if call.name == "mean":
        return mean(call, x, tuple(dims), bool(keepdim))
    # What is lowered stays low outside the valid area, and overflows when it is squared.
    fill = Fill.FINITE if call.name in ("sum", "norm") else Fill.ANYTHING
    return call.same(out, fill, given=_neutral(call, x))


@rule("norm")
def norm(call: Call, p: Any = "fro", dim: Any = None, keepdim: Any = False) -> Value:
    if p != "fro" and not (isinstance(p, (int, float)) and p > 0):
        call.name = f"norm of order {p}"
    return reduce(call, dim, keepdim)


@rule("var", "std")
def variance(call: Call, dim: Any = None) -> Value:
    # The second positional argument is the correction.
    return reduce(call, dim, call.kwargs.get("keepdim", False))


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
def extremes(call: Call, dim: Any = None, keepdim: Any = False) -> Any:
    """The largest or smallest: of two tensors, of all entries, or along one dimension with the indices."""
    x = call.input
    if isinstance(dim, Value) or len(call.tensors) > 1:
        return call.same(broadcast(call, call.tensors), Fill.ANYTHING)
    if dim is None:
        return reduce(call)
    dims = _listed(dim, x)
    if x.varying and (dims is None or 0 in dims):
        call.refuse("mixes the rows of the batch")
    crosses = bool(set(dims or ()) & set(x.varying))
    value = call.same(_reduced(x, dims, bool(keepdim)), Fill.ANYTHING, given=_neutral(call, x) if crosses else None)
    return Pieces(value.node, value)


def _neutral(call: Call, x: Value) -> Any:
    """The tensor with values outside its valid area that do not count in this reduction."""
    if call.name in ("sum", "norm"):
        return call.builder.zeroed(x)
    if call.name == "amax":
        return call.builder.lowered(x)
    if call.name in ("max", "argmax"):
        # Their indices must not lie outside, where all is 0 inside.
        return call.builder.excluded(x)
    if call.name in ("amin", "min", "argmin"):
        return call.builder.excluded(x, sign=-1.0)
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
