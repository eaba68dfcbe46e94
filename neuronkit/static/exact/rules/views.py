"""Rules for operators that give the same entries another shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from neuronkit.static.exact.call import Call
from neuronkit.static.exact.rules.elementwise import broadcast
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.rules.settings import fixed, numbers
from neuronkit.static.exact.sizes import BATCH, Dim, Extent
from neuronkit.static.exact.values import Fill, Size, Value, find


def view(call: Call, x: Value, dims: Sequence[Dim] | None, fill: Fill | None = None) -> Value:
    """A tensor that shares its storage with the one it is made from."""
    return call.builder.output(call.again(), dims, x.fill if fill is None else fill, storage=x.storage)


@rule("permute")
def permute(call: Call) -> Value:
    x = call.input
    order = numbers(call, "dims")
    return view(call, x, None if x.dims is None else [x.dims[i] for i in order])


@rule("transpose", "swapaxes", "swapdims")
def transpose(call: Call) -> Value:
    x = call.input
    first, second = call.args[1:3] if len(call.args) > 2 else tuple(call.kwargs.values())[-2:]
    dims = None if x.dims is None else list(x.dims)
    if dims is not None:
        dims[first], dims[second] = dims[second], dims[first]
    return view(call, x, dims)


@rule("t")
def transpose_matrix(call: Call) -> Value:
    return view(call, call.input, None if call.input.dims is None else call.input.dims[::-1])


@rule("unsqueeze")
def unsqueeze(call: Call) -> Value:
    x = call.input
    (dim,) = call.read("dim")
    dims = None if x.dims is None else list(x.dims)
    if dims is not None:
        dims.insert(dim % (len(dims) + 1), 1)
    return view(call, x, dims)


@rule("squeeze")
def squeeze(call: Call) -> Value:
    x = call.input
    dim = call.read("dim", dim=None)[0]
    if x.dims is None or (not isinstance(dim, int) and not x.varying):
        return view(call, x, None)
    if not isinstance(dim, int) or isinstance(x.dims[dim], Extent) or x.dims[dim] is None:
        call.refuse("drops dimensions that are of size one for some inputs only")
    dims = list(x.dims)
    if dims[dim] == 1:
        dims.pop(dim)
    return view(call, x, dims)


@rule("flatten", modules=[nn.Flatten])
def flatten(call: Call) -> Value:
    x = call.input
    first = 1 if call.module is not None else 0
    start, end = call.read("start_dim", "end_dim", start_dim=first, end_dim=-1)
    if x.dims is None:
        return view(call, x, None)
    start, end = start % len(x.dims), end % len(x.dims)
    merged = x.dims[start : end + 1]
    if len(merged) > 1 and any(isinstance(dim, Extent) for dim in merged):
        call.refuse("flattens height or width that vary, which puts padding between the entries; pool them first")
    return view(call, x, [*x.dims[:start], _product(merged), *x.dims[end + 1 :]])


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
        return view(call, x, None)
    target = numbers(call, "shape")
    if x.varying:
        return view(call, x, _reshaped(call, list(x.dims or ()), target))
    if any(isinstance(item, Size) and item.varies for item in target):
        call.refuse("spreads a tensor over a size that varies")
    return view(call, x, [fixed(item) for item in target])


def _reshaped(call: Call, dims: list[Dim], target: list[Any]) -> list[Dim]:
    """Match what a reshape keeps, from both ends; what it regroups in the middle must not vary."""

    def same(item: Any, dim: Dim) -> bool:
        if isinstance(item, Size) and isinstance(item.dim, Extent) and isinstance(dim, Extent):
            return call.builder.agree(dim, item.dim) is dim
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
    return [*dims[:left], *(fixed(item) for item in regrouped), *kept]


@rule("expand", "expand_as", "broadcast_to")
def expand(call: Call) -> Value:
    x = call.input
    if call.name == "expand_as":
        other = call.args[1]
        if other.dims is None and not x.varying:
            return view(call, x, None)
        return view(call, x, broadcast(call, [x, other]), max(x.fill, Fill.FINITE))
    target = numbers(call, "size")
    if x.dims is None or len(target) < len(x.dims):
        call.refuse("expands a tensor whose shape is not known here")
    new = len(target) - len(x.dims)
    dims: list[Dim] = []
    for item, dim in zip(target, [None] * new + list(x.dims)):
        known = item.dim if isinstance(item, Size) else item
        if isinstance(dim, Extent) and known != -1 and not isinstance(known, Extent):
            call.refuse("expands a dimension that varies to a fixed size")
        dims.append(dim if known == -1 or isinstance(dim, Extent) else known)
    return view(call, x, dims, max(x.fill, Fill.FINITE))


@rule("repeat", "tile")
def repeat(call: Call) -> Value:
    x = call.input
    times = numbers(call, "sizes")
    if x.dims is None or (x.varying and len(times) != len(x.dims)):
        return view(call, x, None)
    times = [1] * (len(x.dims) - len(times)) + times
    if any(isinstance(dim, Extent) and count != 1 for dim, count in zip(x.dims, times)):
        call.refuse("repeats a dimension that varies")
    dims = [dim if count == 1 else None for dim, count in zip(x.dims, times)]
    return call.builder.output(call.again(), dims, x.fill)
