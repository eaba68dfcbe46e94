"""Rules for padding."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from torch import nn

from neuronkit.static.exact import matrices, runtime
from neuronkit.static.exact.builder import Call
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.sizes import Dim, Extent, step
from neuronkit.static.exact.values import Fill, Size, Value

# SAME padding puts a map at as many places as the stride has halves; each costs a copy of the map.
MOST_PLACES = 8


@rule("pad", modules=[nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d])
def pad(call: Call, pad: Any = (), mode: str = "constant", value: Any = None) -> Value:
    x = call.input
    if call.module is not None:
        pad = call.module.padding
        mode = {nn.ReflectionPad2d: "reflect", nn.ReplicationPad2d: "replicate"}.get(type(call.module), mode)
    value = float(value or 0.0)
    if not x.varying and not any(isinstance(a, Size) and a.varies for a in pad):
        return _pad_fixed(call, x, [call.number(amount) for amount in pad], mode, value)
    if x.dims is None:
        call.refuse("pads a tensor whose shape is not known here")
    amounts = [call.number(amount) for amount in pad]
    sides: dict[int, tuple[Any, Any]] = {
        len(x.dims) - 1 - i: (amounts[2 * i], amounts[2 * i + 1]) for i in range(len(amounts) // 2)
    }
    if mode == "constant":
        return _pad_constant(call, x, sides, value)
    if not all(isinstance(amount, int) for amount in amounts):
        call.refuse("copies entries into a border whose width depends on the size of the input")
    call.image()
    return copy_padding(call, x, [sides.get(dim, (0, 0)) for dim in (2, 3)], mode)


def _pad_fixed(call: Call, x: Value, amounts: list[Any], mode: str, value: float) -> Value:
    """Pad what does not vary; the constant mode by another operator, see `runtime.pad`."""
    dims = None if x.dims is None else list(x.dims)
    for i in range(len(amounts) // 2 if dims is not None else 0):
        dim, both = dims[-1 - i], amounts[2 * i : 2 * i + 2]  # type: ignore[index]
        known = isinstance(dim, int) and all(isinstance(n, int) for n in both)
        dims[-1 - i] = dim + sum(both) if known else None  # type: ignore[index, operator]
    if mode != "constant":
        return call.same(dims)
    return call.builder.output(call.emit(runtime.pad, x, amounts, value), dims)


def _pad_constant(call: Call, x: Value, sides: dict[int, tuple[Any, Any]], value: float) -> Value:
    builder, dims = call.builder, list(x.dims or ())
    grows = any(not isinstance(n, int) or n > 0 for both in sides.values() for n in both)
    node = builder.zeroed(x) if grows else x.node
    if value and grows:
        node = call.emit(runtime.fill_outside, node, builder.mask(x), value)
    fixed = [0, 0] * len(dims)
    varying: dict[int, Any] = {}
    for dim, (before, after) in sides.items():
        known = dims[dim]
        dims[dim] = _grown(call, known, before, after)
        if isinstance(before, int) and isinstance(after, int):
            place = 2 * (len(dims) - 1 - dim)
            fixed[place : place + 2] = before, after
        else:
            varying[dim] = before
    if any(fixed):
        node = call.emit(runtime.pad, node, fixed, value)
    for dim, before in varying.items():
        like = builder.valid(dims[dim])  # type: ignore[arg-type]
        if isinstance(before, int):
            node = call.emit(runtime.fit, node, dim, like, value, before)
        else:
            node = call.emit(runtime.place, node, dim, like, value, *_amounts(call, before.dim))
    crops = bool(varying) or any(n < 0 for n in fixed)
    fill = (Fill.FINITE if crops or value else Fill.ZERO) if grows else max(x.fill, Fill.FINITE)
    return builder.output(node, dims, Fill.ANYTHING if math.isinf(value) else fill)


def _grown(call: Call, known: Dim, before: Any, after: Any) -> Dim:
    """The dimension with entries before and after it, whose numbers may follow from its own size."""
    for amount in (before, after):
        if isinstance(amount, int):
            known = step(known, lambda n, amount=amount: n + amount)  # type: ignore[misc]
        elif isinstance(known, Extent) and isinstance(amount.dim, Extent) and known.source == amount.dim.source:
            known = known.with_other(amount.dim, operator.add)
        else:
            call.refuse("pads by an amount that does not follow from the size of the same dimension")
    return known


def _amounts(call: Call, before: Extent) -> tuple[Any, list[int]]:
    """How much each row puts before a dimension, and all such amounts."""
    amounts = np.unique(before.values[call.builder.runnable[before.source]]).tolist()
    if len(amounts) > MOST_PLACES or amounts[0] < 0:
        call.refuse("puts the map at a place that depends on the size of the input")
    key = ("before", before.key)
    return call.builder.of_size(lambda n: before.function(n).astype(np.int32), before.source, key), amounts


def copy_padding(call: Call, x: Value, sides: list[tuple[int, int]], mode: str) -> Value:
    """Pad height and width with copies of valid entries."""
    builder, known = call.builder, x.dims or ()
    dims: list[Dim] = []
    made: list[Any] = []
    for dim, (before, after) in zip(known[2:], sides):
        padded = step(dim, lambda n, total=before + after: n + total)  # type: ignore[misc]
        dims.append(padded)
        if before == after == 0:
            made.append(None)
            continue
        if isinstance(dim, Extent) and mode != "replicate":
            # Shorter maps than this cannot be mirrored or wrapped around, on the image alone either.
            least = max(before, after) + (mode == "reflect")
            builder.require_size(dim, lambda n, least=least: n >= least, "pads {0} entries by more than there are")  # type: ignore[misc]
        args = (builder.count(dim), builder.positions(dim), builder.positions(padded), before, mode)
        made.append(call.emit(matrices.padding_matrix, builder.images, *args))
    node = call.emit(matrices.apply_matrices, builder.zeroed(x) if x.fill is Fill.ANYTHING else x, *made)
    return builder.output(node, (*known[:2], *dims))
