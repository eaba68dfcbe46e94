"""Rules for padding."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from neuronkit.static.exact import matrices, runtime
from neuronkit.static.exact.call import Call
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.rules.settings import constant
from neuronkit.static.exact.sizes import Dim, Extent, step
from neuronkit.static.exact.values import Fill, Size, Value


@rule("pad", modules=[nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d])
def pad(call: Call) -> Value:
    x = call.input
    if call.module is not None:
        amounts: Any = call.module.padding
        mode = {nn.ReflectionPad2d: "reflect", nn.ReplicationPad2d: "replicate"}.get(type(call.module), "constant")
        value = getattr(call.module, "value", 0.0)
    else:
        amounts, mode, value = call.read("pad", "mode", "value", mode="constant", value=None)
    if not x.varying and not any(isinstance(a, Size) and a.varies for a in amounts):
        return _pad_fixed(call, x, amounts, mode, value)
    if x.dims is None:
        call.refuse("pads a tensor whose shape is not known here")
    amounts = [constant(amount, call) for amount in amounts]
    sides: dict[int, tuple[Any, Any]] = {
        len(x.dims) - 1 - i: (amounts[2 * i], amounts[2 * i + 1]) for i in range(len(amounts) // 2)
    }
    if any(not isinstance(before, int) for before, _ in sides.values()):
        call.refuse("puts the map at a place that depends on the size of the input")
    if mode != "constant":
        call.image()
        return copy_padding(call, x, [sides.get(dim, (0, 0)) for dim in (2, 3)], mode)
    return _pad_constant(call, x, sides, float(value or 0.0))


def _pad_fixed(call: Call, x: Value, amounts: Any, mode: str, value: Any) -> Value:
    """Pad what does not vary; the constant mode by another operator, see `runtime.pad`."""
    amounts = [constant(amount, call) for amount in amounts]
    if mode == "constant":
        node = call.emit(runtime.pad, x, amounts, float(value or 0.0))
    else:
        node = call.again()
    dims = None if x.dims is None else list(x.dims)
    for i in range(len(amounts) // 2):
        if dims is not None:
            dim, both = dims[-1 - i], amounts[2 * i : 2 * i + 2]
            dims[-1 - i] = dim + sum(both) if isinstance(dim, int) and all(isinstance(b, int) for b in both) else None
    return call.builder.output(node, dims)


def _pad_constant(call: Call, x: Value, sides: dict[int, tuple[Any, Any]], value: float) -> Value:
    builder, dims = call.builder, list(x.dims or ())
    grows = any(not isinstance(after, int) or before > 0 or after > 0 for before, after in sides.values())
    node = builder.zeroed(x) if grows else x.node
    if value and grows:
        node = call.emit(torch.add, node, call.emit(runtime.outside, builder.mask(x), value))
    fixed = [0, 0] * len(dims)
    variable: dict[int, Extent] = {}
    for dim, (before, after) in sides.items():
        place = 2 * (len(dims) - 1 - dim)
        fixed[place] = before
        known = dims[dim]
        if isinstance(after, int):
            fixed[place + 1] = after
            dims[dim] = step(known, lambda n, total=before + after: n + total)  # type: ignore[misc]
        elif isinstance(known, Extent) and isinstance(after.dim, Extent) and known.source == after.dim.source:
            added = known.with_other(after.dim, lambda n, m, b=before: n + m + b)  # type: ignore[misc]
            dims[dim] = variable[dim] = added
        else:
            call.refuse("pads by an amount that does not follow from the size of the same dimension")
    if value and variable:
        call.refuse("pads by an amount that varies, with a value that is not zero")
    if any(fixed):
        node = call.emit(runtime.pad, node, fixed, value)
    for dim, extent in variable.items():
        node = call.emit(runtime.fit, node, dim, builder.valid(extent))
    crops = any(isinstance(after, int) and after < 0 for _, after in sides.values()) or bool(variable)
    fill = (Fill.FINITE if crops or value else Fill.ZERO) if grows else max(x.fill, Fill.FINITE)
    return builder.output(node, dims, fill)


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
            builder.runnable[dim.source] &= dim.values >= max(before, after) + (mode == "reflect")
        args = (builder.size(dim), builder.positions(dim), builder.positions(padded), before, mode)
        made.append(call.emit(matrices.padding_matrix, builder.images, *args))
    node = call.emit(matrices.apply_matrices, builder.zeroed(x) if x.fill is Fill.ANYTHING else x, *made)
    return builder.output(node, (*known[:2], *dims))
