"""Rules for operators that give the same entries another shape, or other places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from neuronkit.static.exact.builder import Call
from neuronkit.static.exact.rules.elementwise import broadcast
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.sizes import BATCH, Dim, Extent, Rows, step
from neuronkit.static.exact.values import Fill, Size, Value, fixed
from neuronkit.static.trees import find


def view(call: Call, dims: Sequence[Dim] | None, fill: Fill | None = None) -> Value:
    """A tensor that shares its storage with the one it is made from."""
    x = call.input
    return call.same(dims, x.fill if fill is None else fill, storage=x.storage)


def _numbers(call: Call, name: str) -> list[Any]:
    """Numbers given one by one, or as one sequence."""
    given = call.args[1:] if len(call.args) > 1 else (call.kwargs.get(name, ()),)
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        given = tuple(given[0])
    return [call.number(n) if isinstance(n, Size) and not isinstance(n.dim, Extent) else n for n in given]


@rule("permute", batch_anywhere=True)
def permute(call: Call) -> Value:
    dims = call.input.dims
    return view(call, None if dims is None else [dims[i] for i in _numbers(call, "dims")])


@rule("transpose", "swapaxes", "swapdims", batch_anywhere=True)
def transpose(call: Call) -> Value:
    x = call.input
    first, second = call.args[1:3] if len(call.args) > 2 else tuple(call.kwargs.values())[-2:]
    dims = None if x.dims is None else list(x.dims)
    if dims is not None:
        dims[first], dims[second] = dims[second], dims[first]
    return view(call, dims)


@rule("t")
def transpose_matrix(call: Call) -> Value:
    return view(call, None if call.input.dims is None else call.input.dims[::-1])


@rule("unsqueeze", batch_anywhere=True)
def unsqueeze(call: Call, dim: int) -> Value:
    x = call.input
    dims = None if x.dims is None else list(x.dims)
    if dims is not None:
        dims.insert(dim % (len(dims) + 1), 1)
    return view(call, dims)


@rule("squeeze", batch_anywhere=True)
def squeeze(call: Call, dim: Any = None) -> Value:
    x = call.input
    if x.dims is None or (not isinstance(dim, int) and not x.varying):
        return view(call, None)
    if not isinstance(dim, int) or isinstance(x.dims[dim], Extent) or x.dims[dim] is None:
        call.refuse(
            "drops dimensions that are of size one for some inputs only; where all images have the same height, give "
            "it: exact_padding(module, height=...)"
        )
    dims = list(x.dims)
    if dims[dim] == 1:
        dims.pop(dim)
    return view(call, dims)


@rule("flatten", modules=[nn.Flatten], batch_anywhere=True)
def flatten(call: Call, start_dim: int = 0, end_dim: int = -1) -> Value:
    x = call.input
    if x.dims is None:
        return view(call, None)
    start, end = start_dim % len(x.dims), end_dim % len(x.dims)
    merged = x.dims[start : end + 1]
    if len(merged) > 1 and any(isinstance(dim, Extent) for dim in merged) and _rows(merged) is None:
        call.refuse("flattens height or width that vary, which puts padding between the entries; pool them first")
    one = merged[0] if len(merged) == 1 else _rows(merged) or _product(merged)
    return view(call, [*x.dims[:start], one, *x.dims[end + 1 :]])


def _rows(dims: Sequence[Dim]) -> Rows | None:
    """What the batch and a varying dimension next to it become in one; None for other dimensions."""
    if len(dims) != 2 or BATCH not in dims:
        return None
    extent = next((dim for dim in dims if isinstance(dim, Extent)), None)
    return None if extent is None else Rows(extent, dims[0] is BATCH)


def _product(dims: Sequence[Dim]) -> int | None:
    product = 1
    for dim in dims:
        if not isinstance(dim, int):
            return None
        product *= dim
    return product


@rule("view_as", "reshape_as", "unflatten", modules=[nn.Unflatten])
def reshape_as(call: Call) -> Value:
    x = call.input
    if find((call.args, call.kwargs), Value) != [x] or x.varying:
        call.refuse("reshapes a map in a way that is not known here")
    return view(call, None)


@rule("reshape", "view", batch_anywhere=True)
def reshape(call: Call) -> Value:
    x, target = call.input, _numbers(call, "shape")
    if not x.varying and any(isinstance(item, Size) and item.varies for item in target):
        call.refuse("spreads a tensor over a size that varies")
    dims = _reshaped(call, list(x.dims or ()), target) if x.varying else [fixed(item) for item in target]
    return view(call, dims)


def _reshaped(call: Call, dims: list[Dim], target: list[Any]) -> list[Dim]:
    """Match what a reshape keeps, from both ends; what it regroups in the middle must not vary."""

    def same(item: Any, dim: Dim) -> bool:
        if isinstance(item, Size) and isinstance(item.dim, Extent) and isinstance(dim, Extent):
            return call.builder.agree(dim, item.dim) is dim
        known = item.dim if isinstance(item, Size) else item
        return known is dim or (isinstance(dim, int) and known == dim)

    dims, target = _split(dims, target)
    left = 0
    while left < min(len(dims), len(target)) and same(target[left], dims[left]):
        left += 1
    right = 0
    while right < min(len(dims), len(target)) - left and same(target[-1 - right], dims[-1 - right]):
        right += 1
    middle = dims[left : len(dims) - right]
    regrouped = target[left : len(target) - right]
    rows = _rows(middle) if len(regrouped) == 1 else None
    if rows is not None:
        return [*dims[:left], rows, *dims[len(dims) - right :]]
    if any(isinstance(dim, Extent) for dim in middle) or any(isinstance(i, Size) and i.varies for i in regrouped):
        call.refuse("regroups height or width that vary, which moves padding between the entries")
    made = [fixed(item) for item in regrouped]
    if middle[:1] == [BATCH] and regrouped[:1] == [-1] and _product(middle[1:]) == _product(made[1:]) is not None:
        made[0] = BATCH
    whole, known = _product(middle), [n for n in made if isinstance(n, int)]
    if whole is not None and len(known) == len(made) - 1 and -1 in regrouped:
        made[regrouped.index(-1)] = whole // (_product(known) or 1)
    return [*dims[:left], *made, *dims[len(dims) - right :]]


def _split(dims: list[Dim], target: list[Any]) -> tuple[list[Dim], list[Any]]:
    """Take the batch and a varying dimension apart again, where a reshape names both in their order."""
    for place, dim in enumerate(dims):
        if isinstance(dim, Rows) and len(target) > len(dims):
            named = [item.dim if isinstance(item, Size) else item for item in target[place : place + 2]]
            if named != [-1, -1] and all(map(_names, named, dim.dims)):
                apart = dim.dims
                return [*dims[:place], *apart, *dims[place + 1 :]], [*target[:place], *apart, *target[place + 2 :]]
    return dims, target


def _names(item: Any, dim: Dim) -> bool:
    """Whether an entry of a target shape means this dimension."""
    if isinstance(item, Extent) and isinstance(dim, Extent):
        return item.key == dim.key
    return item is dim or item == -1


@rule("expand_as")
def expand_as(call: Call, other: Any) -> Value:
    if other.dims is None and not call.input.varying:
        return view(call, None)
    return view(call, broadcast(call, [call.input, other]), max(call.input.fill, Fill.FINITE))


@rule("expand", "broadcast_to")
def expand(call: Call) -> Value:
    x, target = call.input, _numbers(call, "size")
    if x.dims is None or len(target) < len(x.dims):
        call.refuse("expands a tensor whose shape is not known here")
    dims: list[Dim] = []
    for item, dim in zip(target, [None] * (len(target) - len(x.dims)) + list(x.dims)):
        known = item.dim if isinstance(item, Size) else item
        if isinstance(dim, Extent) and known != -1 and not isinstance(known, Extent):
            call.refuse("expands a dimension that varies to a fixed size")
        dims.append(dim if known == -1 or isinstance(dim, Extent) else known)
    return view(call, dims, max(x.fill, Fill.FINITE))


@rule("repeat", "tile")
def repeat(call: Call) -> Value:
    x, times = call.input, _numbers(call, "sizes")
    if x.dims is None or (x.varying and len(times) != len(x.dims)):
        return view(call, None)
    new = len(times) - len(x.dims)
    times, dims = [1] * -new + times, [1] * new + list(x.dims)
    if any(isinstance(dim, Extent) and count != 1 for dim, count in zip(dims, times)):
        call.refuse("repeats a dimension that varies")
    return call.same([dim if count == 1 else _product([dim, count]) for dim, count in zip(dims, times)], x.fill)


@rule("pixel_shuffle", modules=[nn.PixelShuffle])
def pixel_shuffle(call: Call, upscale_factor: int) -> Value:
    x, (batch, channels, *known) = call.image()
    dims = [step(dim, lambda n: n * upscale_factor) for dim in known]
    return call.same((batch, step(channels, lambda n: n // upscale_factor**2), *dims), x.fill)


@rule("pixel_unshuffle", modules=[nn.PixelUnshuffle])
def pixel_unshuffle(call: Call, downscale_factor: int) -> Value:
    x, (batch, channels, *known) = call.image()
    for dim in known:
        if isinstance(dim, Extent):
            call.builder.agree(dim, dim.then(lambda n: n // downscale_factor * downscale_factor))
    dims = [step(dim, lambda n: n // downscale_factor) for dim in known]
    return call.same((batch, step(channels, lambda n: n * downscale_factor**2), *dims), x.fill)


@rule("channel_shuffle", modules=[nn.ChannelShuffle])
def channel_shuffle(call: Call) -> Value:
    x, dims = call.image()
    return call.same(dims, x.fill)
