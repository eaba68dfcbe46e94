"""Rules for operators that move entries without computing: shapes, views, slices, joins."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import fx, nn

from neuronkit.static.exact.call import Call
from neuronkit.static.exact.rules import RULES, broadcast, constant, rule
from neuronkit.static.exact.sizes import BATCH, Dim, Extent
from neuronkit.static.exact.values import Fill, Opaque, Pieces, Size, Value, find
from neuronkit.static.ops import length


def _view(
    call: Call, x: Value, dims: Sequence[Dim] | None, fill: Fill | None = None, node: fx.Node | None = None
) -> Value:
    """A tensor that shares its storage with the one it is made from."""
    return call.builder.output(node or call.again(), dims, x.fill if fill is None else fill, storage=x.storage)


def shape_of(call: Call, x: Value) -> tuple[Size, ...]:
    """The shape of a tensor, as Python code sees it."""
    if x.dims is None:
        call.refuse("asks for a shape that is not known here")
    return tuple(Size(dim, lambda i=i: call.emit(length, x, i)) for i, dim in enumerate(x.dims))  # type: ignore[misc]


@rule("getattr")
def attribute(call: Call) -> Any:
    x, name = call.args[:2]
    if isinstance(x, Pieces) and name in ("values", "indices"):
        return x.take(call.builder, ("values", "indices").index(name))
    if not isinstance(x, Value):
        return getattr(x, name) if not isinstance(x, (Opaque, Pieces, Size)) else Opaque(call.again())
    if name == "shape":
        return Opaque(call.again()) if x.dims is None else shape_of(call, x)
    if name == "ndim" and x.dims is not None:
        return len(x.dims)
    if name in ("dtype", "device", "is_cuda", "layout", "requires_grad", "ndim"):
        return Opaque(call.again())
    if not x.varying:
        return call.builder.output(call.again(), None)
    call.refuse(f"reads .{name}")


@rule("size")
def size(call: Call) -> Any:
    x = call.input
    dim = call.read("dim", dim=None)[0]
    if x.dims is None:
        return Opaque(call.again())
    shape = shape_of(call, x)
    return shape if dim is None else shape[dim]


@rule("dim", "ndimension")
def rank(call: Call) -> Any:
    return Opaque(call.again()) if call.input.dims is None else len(call.input.dims)


@rule("getitem")
def getitem(call: Call) -> Any:
    x, index = call.args[:2]
    if isinstance(x, Pieces):
        return x.take(call.builder, index) if isinstance(index, int) else call.refuse("takes several pieces at once")
    if isinstance(x, (tuple, list, dict)):
        return x[index]
    if not isinstance(x, Value):
        return Opaque(call.again())
    fixed = not x.varying and not any(size.varies for size in find(index, Size))
    items = index if isinstance(index, tuple) else (index,)
    if find(items, Value) or any(isinstance(item, list) for item in items) or x.dims is None:
        if fixed:
            return _view(call, x, None)
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
    return _view(call, x, dims, fill)


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


@rule("permute")
def permute(call: Call) -> Value:
    x = call.input
    order = _numbers(call, "dims")
    return _view(call, x, None if x.dims is None else [x.dims[i] for i in order])


@rule("transpose", "swapaxes", "swapdims")
def transpose(call: Call) -> Value:
    x = call.input
    first, second = call.args[1:3] if len(call.args) > 2 else tuple(call.kwargs.values())[-2:]
    dims = None if x.dims is None else list(x.dims)
    if dims is not None:
        dims[first], dims[second] = dims[second], dims[first]
    return _view(call, x, dims)


@rule("t")
def transpose_matrix(call: Call) -> Value:
    return _view(call, call.input, None if call.input.dims is None else call.input.dims[::-1])


@rule("unsqueeze")
def unsqueeze(call: Call) -> Value:
    x = call.input
    (dim,) = call.read("dim")
    dims = None if x.dims is None else list(x.dims)
    if dims is not None:
        dims.insert(dim % (len(dims) + 1), 1)
    return _view(call, x, dims)


@rule("squeeze")
def squeeze(call: Call) -> Value:
    x = call.input
    dim = call.read("dim", dim=None)[0]
    if x.dims is None or (not isinstance(dim, int) and not x.varying):
        return _view(call, x, None)
    if not isinstance(dim, int) or isinstance(x.dims[dim], Extent) or x.dims[dim] is None:
        call.refuse("drops dimensions that are of size one for some inputs only")
    dims = list(x.dims)
    if dims[dim] == 1:
        dims.pop(dim)
    return _view(call, x, dims)


@rule("flatten", modules=[nn.Flatten])
def flatten(call: Call) -> Value:
    x = call.input
    first = 1 if call.module is not None else 0
    start, end = call.read("start_dim", "end_dim", start_dim=first, end_dim=-1)
    if x.dims is None:
        return _view(call, x, None)
    start, end = start % len(x.dims), end % len(x.dims)
    merged = x.dims[start : end + 1]
    if len(merged) > 1 and any(isinstance(dim, Extent) for dim in merged):
        call.refuse("flattens height or width that vary, which puts padding between the entries; pool them first")
    return _view(call, x, [*x.dims[:start], _product(merged), *x.dims[end + 1 :]])


def _product(dims: Sequence[Dim]) -> Dim:
    if len(dims) == 1:
        return dims[0]
    product = 1
    for dim in dims:
        if not isinstance(dim, int):
            return None
        product *= dim
    return product


@rule("reshape", "view", "view_as", "reshape_as", "unflatten", modules=[nn.Unflatten])
def reshape(call: Call) -> Value:
    x = call.input
    if call.module is not None or call.name in ("view_as", "reshape_as", "unflatten"):
        if find((call.args, call.kwargs), Value) != [x] or x.varying:
            call.refuse("reshapes a map in a way that is not known here")
        return _view(call, x, None)
    target = _numbers(call, "shape")
    if x.varying:
        return _view(call, x, _reshaped(call, list(x.dims or ()), target))
    if any(isinstance(item, Size) and item.varies for item in target):
        call.refuse("spreads a tensor over a size that varies")
    return _view(call, x, [_fixed(item) for item in target])


def _fixed(item: Any) -> Dim:
    """The dimension that an entry of a target shape makes; -1 is some number."""
    if isinstance(item, Size):
        return item.dim
    return item if isinstance(item, int) and item >= 0 else None


def _reshaped(call: Call, dims: list[Dim], target: list[Any]) -> list[Dim]:
    """Match what a reshape keeps, from both ends; what it regroups in the middle must not vary."""

    def same(item: Any, dim: Dim) -> bool:
        if isinstance(item, Size) and isinstance(item.dim, Extent) and isinstance(dim, Extent):
            return call.builder.agree(dim, item.dim, call) is dim
        known = item.dim if isinstance(item, Size) else item
        return known is dim if dim is BATCH else isinstance(dim, int) and known == dim

    left = 0
    while left < min(len(dims), len(target)) and same(target[left], dims[left]):
        left += 1
    right = 0
    while right < min(len(dims), len(target)) - left and same(target[-1 - right], dims[-1 - right]):
        right += 1
    middle = dims[left : len(dims) - right]
    regrouped = target[left : len(target) - right]
    if any(isinstance(dim, Extent) for dim in middle) or any(isinstance(i, Size) and i.varies for i in regrouped):
        call.refuse("regroups height or width that vary, which moves padding between the entries")
    kept = dims[len(dims) - right :] if right else []
    return [*dims[:left], *(_fixed(item) for item in regrouped), *kept]


@rule("expand", "expand_as", "broadcast_to")
def expand(call: Call) -> Value:
    x = call.input
    if call.name == "expand_as":
        other = call.args[1]
        if other.dims is None and not x.varying:
            return _view(call, x, None)
        return _view(call, x, broadcast(call, [x, other]), max(x.fill, Fill.FINITE))
    target = _numbers(call, "size")
    if x.dims is None or len(target) < len(x.dims):
        call.refuse("expands a tensor whose shape is not known here")
    new = len(target) - len(x.dims)
    dims: list[Dim] = []
    for item, dim in zip(target, [None] * new + list(x.dims)):
        known = item.dim if isinstance(item, Size) else item
        if isinstance(dim, Extent) and known != -1 and not isinstance(known, Extent):
            call.refuse("expands a dimension that varies to a fixed size")
        dims.append(dim if known == -1 or isinstance(dim, Extent) else known)
    return _view(call, x, dims, max(x.fill, Fill.FINITE))


@rule("repeat", "tile")
def repeat(call: Call) -> Value:
    x = call.input
    times = _numbers(call, "sizes")
    if x.dims is None or (x.varying and len(times) != len(x.dims)):
        return _view(call, x, None)
    times = [1] * (len(x.dims) - len(times)) + times
    if any(isinstance(dim, Extent) and count != 1 for dim, count in zip(x.dims, times)):
        call.refuse("repeats a dimension that varies")
    dims = [dim if count == 1 else None for dim, count in zip(x.dims, times)]
    return call.builder.output(call.again(), dims, x.fill)


@rule("cat", "concat", "concatenate")
def concatenate(call: Call) -> Value:
    tensors = call.args[0] if call.args else call.kwargs["tensors"]
    dim = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim", call.kwargs.get("axis", 0))
    parts: list[Any] = [tensors.piece] if isinstance(tensors, Pieces) else list(tensors)
    if not all(isinstance(part, Value) for part in parts):
        call.refuse("joins something else than tensors of the network")
    if not any(part.varying for part in parts):
        return call.builder.output(call.again(), _joined(parts, dim))
    if any(part.dims is None for part in parts) or len({len(part.dims) for part in parts}) > 1:
        call.refuse("joins maps with tensors whose shape is not known here")
    dim %= len(parts[0].dims)
    if dim == 0 or any(isinstance(part.dims[dim], Extent) for part in parts):
        call.refuse("joins maps along the batch, or along a dimension that varies, which puts padding between them")
    others = [Value(part.node, (*part.dims[:dim], 1, *part.dims[dim + 1 :])) for part in parts]
    dims = list(broadcast(call, others) or ())
    dims[dim] = None if isinstance(tensors, Pieces) else _sum([part.dims[dim] for part in parts])
    zero = all(part.fill is Fill.ZERO for part in parts)
    return call.builder.output(call.again(), dims, Fill.ZERO if zero else max(Fill.FINITE, *(p.fill for p in parts)))


def _sum(dims: Sequence[Dim]) -> Dim:
    return sum(dims) if all(isinstance(dim, int) for dim in dims) else None  # type: ignore[arg-type]


def _joined(parts: Sequence[Value], dim: int) -> list[Dim] | None:
    if any(part.dims is None for part in parts):
        return None
    dims = list(parts[0].dims or ())
    dims[dim] = _sum([(part.dims or ())[dim] for part in parts])
    return dims


@rule("stack")
def stack(call: Call) -> Value:
    parts = list(call.args[0])
    dim = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim", 0)
    dims = broadcast(call, parts)
    if dims is None:
        return call.builder.output(call.again(), None)
    place = dim % (len(dims) + 1)
    return call.builder.output(
        call.again(), [*dims[:place], len(parts), *dims[place:]], max(Fill.FINITE, *(p.fill for p in parts))
    )


@rule("chunk", "split", "tensor_split", "unbind", "split_with_sizes")
def split(call: Call) -> Any:
    x = call.input
    named = ("dim",) if call.name == "unbind" else ("sections", "dim")
    dim = call.kwargs.get("dim", call.args[len(named)] if len(call.args) > len(named) else 0)
    node = call.again()
    if x.dims is None:
        return Pieces(node, Value(node, None, x.fill, x.storage))
    dim %= len(x.dims)
    if x.varying and (dim == 0 or dim in x.varying):
        call.refuse("splits the batch, or a dimension that varies")
    dims: list[Dim] = list(x.dims)
    if call.name == "unbind":
        dims.pop(dim)
    else:
        dims[dim] = _section(dims[dim], call)
    return Pieces(node, Value(node, tuple(dims), x.fill, x.storage))


def _section(dim: Dim, call: Call) -> Dim:
    """Size of each piece, where all are equal."""
    sections = call.args[1] if len(call.args) > 1 else None
    if not isinstance(dim, int) or not isinstance(sections, int):
        return None
    if call.name == "split":
        return sections if dim % sections == 0 else None
    return dim // sections if dim % sections == 0 else None


@rule("narrow")
def narrow(call: Call) -> Value:
    x, dim, _, count = call.args
    if x.varying and (dim % len(x.dims) == 0 or dim % len(x.dims) in x.varying):
        call.refuse("narrows the batch, or a dimension that varies")
    dims = None if x.dims is None else [_fixed(count) if i == dim % len(x.dims) else d for i, d in enumerate(x.dims)]
    return _view(call, x, dims)


def _numbers(call: Call, name: str) -> list[Any]:
    """Numbers given one by one, or as one sequence."""
    given = call.args[1:] if len(call.args) > 1 else (call.kwargs.get(name, ()),)
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        given = tuple(given[0])
    return [
        constant(item, call) if isinstance(item, Size) and not isinstance(item.dim, Extent) else item for item in given
    ]


# torch.fx records attribute access and indexing as these functions.
FUNCTIONS = {builtins.getattr: RULES["getattr"], operator.getitem: RULES["getitem"]}
