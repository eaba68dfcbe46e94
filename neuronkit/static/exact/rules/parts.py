"""Rules for taking parts of tensors, and for joining tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neuronkit.static.exact.builder import Call
from neuronkit.static.exact.rules.elementwise import broadcast
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.rules.views import view
from neuronkit.static.exact.sizes import BATCH, Dim, Extent, Rows
from neuronkit.static.exact.values import Fill, Opaque, Pieces, Size, Value, Withheld, fixed
from neuronkit.static.trees import find


@rule("getitem", batch_anywhere=True)
def getitem(call: Call) -> Any:
    x, index = call.args[:2]
    if isinstance(x, Pieces):
        return x.take(call.again()) if isinstance(index, int) else call.refuse("takes several pieces at once")
    if isinstance(x, Withheld):
        return x
    if isinstance(x, (tuple, list, dict)):
        return x[index]
    if not isinstance(x, Value):
        return Opaque(call.again())
    items = index if isinstance(index, tuple) else (index,)
    if find(items, Value) or any(isinstance(item, list) for item in items) or x.dims is None:
        if not x.varying and not any(size.varies for size in find(index, Size)):
            return view(call, None)
        call.refuse("picks entries by a tensor or a list, or from a tensor whose shape is not known here")
    return _slice(call, x, _one_per_dim(items, len(x.dims)))


def _one_per_dim(items: tuple[Any, ...], rank: int) -> list[Any]:
    """An index with the dimensions spelt out that an ellipsis, or the end, leaves out."""
    missing = [slice(None)] * (rank - sum(item is not None and item is not Ellipsis for item in items))
    place = items.index(Ellipsis) if Ellipsis in items else len(items)
    return [*items[:place], *missing, *items[place + 1 :]]


def _slice(call: Call, x: Value, items: list[Any]) -> Value:
    dims: list[Dim] = []
    known = iter(x.dims or ())
    fill = x.fill
    if any(isinstance(dim, Rows) for dim in x.dims or ()):
        call.refuse("picks entries of a tensor whose rows are not apart")
    for item in items:
        if item is None:
            dims.append(1)
            continue
        dim = next(known)
        if isinstance(item, slice):
            dims.append(_sliced(call, dim, item))
            if isinstance(dim, Extent) and item.stop is not None:
                fill = max(fill, Fill.FINITE)
        elif dim is BATCH and x.varying:
            call.refuse("takes a row of the batch")
        elif not isinstance(item, int) or (isinstance(dim, Extent) and item < 0):
            call.refuse("picks an entry counted from the end of a dimension that varies, or one that is computed")
    return view(call, dims, fill)


def _sliced(call: Call, dim: Dim, item: slice) -> Dim:
    if item == slice(None):
        return dim
    start, stop, step = (call.number(part) for part in (item.start or 0, item.stop, item.step or 1))
    if dim is BATCH:
        call.refuse("slices the batch")
    if not isinstance(dim, Extent):
        if find((start, stop, step), Size):
            return stop.dim if start == 0 and step == 1 and isinstance(stop, Size) else None
        return len(range(*slice(start, stop, step).indices(dim))) if isinstance(dim, int) else None
    if not isinstance(start, int) or start < 0 or not isinstance(step, int):
        call.refuse("slices from a place that depends on the size of the input")

    def cut(n: Any, end: Any) -> Any:
        return np.maximum(-(-(np.minimum(n, end) - start) // step), 0)

    if stop is None:
        return dim.then(lambda n: cut(n, n))
    if isinstance(stop, int):
        return dim.then(lambda n: cut(n, n + stop if stop < 0 else stop))
    if isinstance(stop.dim, Extent) and stop.dim.source == dim.source:
        return dim.with_other(stop.dim, cut)
    call.refuse("slices up to a place that does not follow from the size of the same dimension")


@rule("narrow")
def narrow(call: Call, dim: int, start: Any, length: Any) -> Value:
    return view(call, _with(call, dim, fixed(length), "narrows"))


def _with(call: Call, dim: int, size: Dim, does: str) -> list[Dim] | None:
    """The input's dimensions with another size of one that does not vary."""
    x = call.input
    if x.dims is None:
        return None
    dims = list(x.dims)
    if x.varying and dim % len(dims) in (0, *x.varying):
        call.refuse(f"{does} the batch, or a dimension that varies")
    dims[dim] = size
    return dims


@rule("chunk", "tensor_split")
def chunk(call: Call, sections: Any = None, dim: int = 0) -> Pieces:
    return _pieces(call, dim, lambda n: n // sections if isinstance(sections, int) and n % sections == 0 else None)


@rule("split", "split_with_sizes")
def split(call: Call, sections: Any = None, dim: int = 0) -> Pieces:
    return _pieces(call, dim, lambda n: sections if isinstance(sections, int) and n % sections == 0 else None)


@rule("unbind")
def unbind(call: Call, dim: int = 0) -> Pieces:
    pieces = _pieces(call, dim, lambda n: n)
    if pieces.piece.dims is not None:
        dims = list(pieces.piece.dims)
        dims.pop(dim)
        pieces.piece.dims = tuple(dims)
    return pieces


def _pieces(call: Call, dim: int, size: Any) -> Pieces:
    x = call.input
    have = x.dims[dim] if x.dims is not None else None
    dims = _with(call, dim, size(have) if isinstance(have, int) else None, "splits")
    node = call.again()
    return Pieces(node, Value(node, None if dims is None else tuple(dims), x.fill, x.storage))


@rule("cat", "concat", "concatenate")
def concatenate(call: Call) -> Value:
    tensors = call.args[0] if call.args else call.kwargs["tensors"]
    dim = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim", call.kwargs.get("axis", 0))
    parts: list[Any] = [tensors.piece] if isinstance(tensors, Pieces) else list(tensors)
    if not all(isinstance(part, Value) for part in parts):
        call.refuse("joins something else than tensors of the network")
    varying = any(part.varying for part in parts)
    if any(part.dims is None or len(part.dims) != len(parts[0].dims or ()) for part in parts):
        if varying:
            call.refuse("joins maps with tensors whose shape is not known here")
        return call.builder.output(call.again(), None)
    dim %= len(parts[0].dims)
    if varying and (dim == 0 or any(isinstance(part.dims[dim], Extent) for part in parts)):
        call.refuse("joins maps along the batch, or along a dimension that varies, which puts padding between them")
    dims = list(
        broadcast(call, [Value(part.node, (*part.dims[:dim], 1, *part.dims[dim + 1 :])) for part in parts]) or ()
    )
    if varying and any(part.fill is Fill.ZERO for part in parts):
        # Masking some of the channels now costs less than masking all of them later.
        for part in parts:
            call.builder.zeroed(part)
    sizes = [part.dims[dim] for part in parts]
    dims[dim] = sum(sizes) if all(isinstance(n, int) for n in sizes) and not isinstance(tensors, Pieces) else None
    return call.builder.output(call.again(), dims, _worst(parts, Fill.ZERO))


def _worst(parts: Sequence[Value], best: Fill) -> Fill:
    return max(best, *(part.fill for part in parts))


@rule("stack")
def stack(call: Call) -> Value:
    parts = list(call.args[0])
    dim = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim", 0)
    dims = broadcast(call, parts)
    if dims is None:
        return call.builder.output(call.again(), None)
    place = dim % (len(dims) + 1)
    return call.builder.output(call.again(), [*dims[:place], len(parts), *dims[place:]], _worst(parts, Fill.FINITE))
