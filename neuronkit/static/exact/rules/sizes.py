"""Rules for sizes in Python code: reading them, computing with them, checking them."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from neuronkit.static.exact.builder import Call
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.sizes import BATCH, MIXED, Dim, Extent, Rows
from neuronkit.static.exact.values import Opaque, Pieces, Size, Value
from neuronkit.static.ops import length


@rule("getattr", batch_anywhere=True)
def attribute(call: Call) -> Any:
    x, name = call.args[:2]
    if isinstance(x, Pieces) and name in ("values", "indices"):
        return x.take(call.emit(operator.getitem, x, ("values", "indices").index(name)))
    if not isinstance(x, Value):
        return getattr(x, name) if not isinstance(x, (Opaque, Pieces, Size)) else Opaque(call.again())
    if x.dims is not None and name in ("shape", "ndim"):
        return _shape_of(call, x) if name == "shape" else len(x.dims)
    if name in ("dtype", "device", "is_cuda", "layout", "requires_grad", "ndim", "shape"):
        return Opaque(call.again())
    if not x.varying:
        return call.same(None)
    call.refuse(f"reads .{name}")


@rule("size", batch_anywhere=True)
def size(call: Call, dim: Any = None) -> Any:
    if call.input.dims is None:
        return Opaque(call.again())
    shape = _shape_of(call, call.input)
    return shape if dim is None else shape[dim]


@rule("dim", "ndimension", batch_anywhere=True)
def rank(call: Call) -> Any:
    return Opaque(call.again()) if call.input.dims is None else len(call.input.dims)


def _shape_of(call: Call, x: Value) -> tuple[Size, ...]:
    """The shape of a tensor, as Python code sees it."""
    return tuple(Size(dim, lambda i=i: call.emit(length, x, i)) for i, dim in enumerate(x.dims or ()))  # type: ignore[misc]


@rule("_assert")
def check(call: Call) -> Any:
    """A check that holds for every input is left out."""
    condition = call.args[0]
    if isinstance(condition, bool):
        return None if condition else call.refuse("checks what is not so for images of this height")
    if isinstance(condition, Size) and isinstance(condition.dim, Extent):
        return call.builder.require_size(condition.dim, lambda n: n > 0, "checks a size, and does not take this one")
    if isinstance(condition, Opaque):
        return Opaque(call.again())
    call.refuse("checks a size that varies")


# What Python's functions of numbers are for arrays of sizes.
_OF_ARRAYS: dict[Any, Callable[..., Any]] = {
    math.ceil: lambda n: np.ceil(n).astype(np.int64),
    math.floor: lambda n: np.floor(n).astype(np.int64),
    math.trunc: lambda n: np.trunc(n).astype(np.int64),
    max: lambda *n: functools.reduce(np.maximum, n),
    min: lambda *n: functools.reduce(np.minimum, n),
}


@rule("whole", "larger")
def of_sizes(call: Call) -> Any:
    """Arithmetic of Python numbers that come from shapes."""
    given = call.args[0] if len(call.args) == 1 and isinstance(call.args[0], (tuple, list)) else call.args
    if call.kwargs or not all(isinstance(a, (Size, int, float, Opaque)) for a in given):
        call.refuse("is given something else than tensors and sizes")
    if any(isinstance(a, Opaque) for a in given):
        return Opaque(call.again())
    dims = [a.dim if isinstance(a, Size) else a for a in given]
    if all(isinstance(dim, (int, float)) for dim in dims):
        return call.target(*dims)
    return Size(_size_dim(_OF_ARRAYS.get(call.target, call.target), dims), call.again)


def _size_dim(function: Any, dims: list[Any]) -> Dim:
    extents = [dim for dim in dims if isinstance(dim, Extent)]
    if function is operator.mul and len(dims) == 2 and BATCH in dims and extents:
        return Rows(extents[0])
    if not extents:
        return MIXED if MIXED in dims else None
    if not all(isinstance(dim, (Extent, int, float)) for dim in dims) or len({e.source for e in extents}) > 1:
        return MIXED

    def evaluate(n: Any) -> Any:
        return function(*(dim.function(n) if isinstance(dim, Extent) else dim for dim in dims))

    return Extent(extents[0].source, evaluate)
