"""Rules for taking entries: by an index, or from a place on."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuronkit.static.exact.call import Call
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.rules.settings import constant, fixed
from neuronkit.static.exact.rules.views import view
from neuronkit.static.exact.sizes import BATCH, Dim, Extent
from neuronkit.static.exact.values import Fill, Opaque, Pieces, Size, Value, find


@rule("getitem")
def getitem(call: Call) -> Any:
    x, index = call.args[:2]
    if isinstance(x, Pieces):
        return x.take(call.builder, index) if isinstance(index, int) else call.refuse("takes several pieces at once")
    if isinstance(x, (tuple, list, dict)):
        return x[index]
    if not isinstance(x, Value):
        return Opaque(call.again())
    is_fixed = not x.varying and not any(size.varies for size in find(index, Size))
    items = index if isinstance(index, tuple) else (index,)
    if find(items, Value) or any(isinstance(item, list) for item in items) or x.dims is None:
        if is_fixed:
            return view(call, x, None)
        call.refuse("picks entries by a tensor or a list, or from a tensor whose shape is not known here")
    return _slice(call, x, _one_per_dim(items, len(x.dims)))


def _one_per_dim(items: tuple[Any, ...], rank: int) -> list[Any]:
    """An index with the dimensions spelt out that an ellipsis, or the end, leaves out."""
    missing = [slice(None)] * (rank - sum(item is not None and item is not Ellipsis for item in items))
    if Ellipsis in items:
        place = items.index(Ellipsis)
        return [*items[:place], *missing, *items[place + 1 :]]
    return [*items, *missing]


def _slice(call: Call, x: Value, items: list[Any]) -> Value:
    dims: list[Dim] = []
    known = iter(x.dims or ())
    fill = x.fill
    for item in items:
        if item is None:
            dims.append(1)
            continue
        dim = next(known)
        if isinstance(item, slice):
            dims.append(_sliced(call, dim, item))
            if isinstance(dim, Extent) and item.stop is not None:
                fill = max(fill, Fill.FINITE)
        elif not isinstance(item, int) or (isinstance(dim, Extent) and item < 0):
            call.refuse("picks an entry counted from the end of a dimension that varies, or one that is computed")
    return view(call, x, dims, fill)


def _sliced(call: Call, dim: Dim, item: slice) -> Dim:
    if item == slice(None):
        return dim
    start, stop, step = (constant(part, call) for part in (item.start or 0, item.stop, item.step or 1))
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
def narrow(call: Call) -> Value:
    x, dim, _, count = call.args
    if x.varying and (dim % len(x.dims) == 0 or dim % len(x.dims) in x.varying):
        call.refuse("narrows the batch, or a dimension that varies")
    dims = None if x.dims is None else [fixed(count) if i == dim % len(x.dims) else d for i, d in enumerate(x.dims)]
    return view(call, x, dims)
