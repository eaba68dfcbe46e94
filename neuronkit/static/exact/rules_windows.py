"""Rules for operators that look at neighbours: convolution, pooling, padding."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from neuronkit.static.exact import matrices, runtime
from neuronkit.static.exact.call import Call
from neuronkit.static.exact.rules import constant, rule
from neuronkit.static.exact.sizes import Dim, Extent, step, window_count
from neuronkit.static.exact.values import Fill, Size, Value

_PAD_MODES = {
    "constant": "constant",
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
}


def pair(value: Any) -> tuple[Any, Any]:
    """(height, width) from one number for both, or two."""
    if isinstance(value, (tuple, list)):
        return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])
    return value, value


@rule("conv2d", modules=[nn.Conv2d])
def conv2d(call: Call) -> Value:
    x = call.image()
    channels, kernel, stride, padding, dilation = _conv_settings(call, transposed=False)
    mode = getattr(call.module, "padding_mode", "zeros")
    if padding == "valid":
        padding = (0, 0)
    sides = [_same(k, d) for k, d in zip(kernel, dilation)] if padding == "same" else [(p, p) for p in padding]
    if mode != "zeros" and x.varying:
        return _conv_after_padding(call, x, channels, kernel, stride, sides, dilation, _PAD_MODES[mode])
    node = call.again({x: call.builder.zeroed(x)}) if any(after for _, after in sides) else call.again()
    return call.builder.output(
        node,
        (x.dims[0], channels, *_windows(x, kernel, stride, sides, dilation)),  # type: ignore[index]
        Fill.FINITE if any(after for _, after in sides) else max(x.fill, Fill.FINITE),
    )


def _conv_after_padding(
    call: Call, x: Value, channels: Any, kernel: Any, stride: Any, sides: Any, dilation: Any, mode: str
) -> Value:
    """Pad by copying entries of the valid area, then convolve without padding."""
    if call.module is None:
        call.refuse("pads in a mode that is not known here")
    padded = copy_padding(call, x, sides, mode)
    target = call.builder.adopt(call.path, call.module, padding=(0, 0), padding_mode="zeros")
    node = call.builder.graph.call_module(target, (padded.node,))
    dims = (x.dims[0], channels, *_windows(padded, kernel, stride, [(0, 0), (0, 0)], dilation))  # type: ignore[index]
    return call.builder.output(node, dims)


@rule("conv_transpose2d", modules=[nn.ConvTranspose2d])
def conv_transpose2d(call: Call) -> Value:
    x = call.image()
    channels, kernel, stride, padding, dilation = _conv_settings(call, transposed=True)
    if call.module is not None:
        extra: Any = call.module.output_padding
    else:
        names = ("weight", "bias", "stride", "padding", "output_padding")
        extra = pair(call.read(*names, bias=None, stride=1, padding=0, output_padding=0)[-1])
    if call.module is not None and (len(call.args) > 1 or call.kwargs):
        call.refuse("is given an output size")
    dims = [
        step(dim, lambda n, k=k, s=s, p=p, d=d, e=e: (n - 1) * s - 2 * p + d * (k - 1) + e + 1)  # type: ignore[misc]
        for dim, k, s, p, d, e in zip(x.dims[2:], kernel, stride, padding, dilation, extra)  # type: ignore[index]
    ]
    # Where windows overlap, the last valid outputs also get a share of the first padding.
    overlaps = any(s + p <= d * (k - 1) + e for k, s, p, d, e in zip(kernel, stride, padding, dilation, extra))
    node = call.again({x: call.builder.zeroed(x)}) if overlaps else call.again()
    fill = Fill.FINITE if overlaps else max(x.fill, Fill.FINITE)
    return call.builder.output(node, (x.dims[0], channels, *dims), fill)  # type: ignore[index]


def _conv_settings(call: Call, transposed: bool) -> tuple[Any, Any, Any, Any, Any]:
    """(output channels, kernel, stride, padding, dilation) of a convolution."""
    if call.module is not None:
        module: Any = call.module
        return module.out_channels, module.kernel_size, module.stride, module.padding, module.dilation
    names = ["weight", "bias", "stride", "padding", "dilation", "groups"]
    if transposed:
        names[4:] = ["output_padding", "groups", "dilation"]
    given = call.read(*names, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1)
    settings = dict(zip(names, given))
    weight, padding = settings["weight"], settings["padding"]
    dims = weight.dims if isinstance(weight, Value) else None
    if dims is None or len(dims) != 4 or not all(isinstance(k, int) for k in dims[2:]):
        call.refuse("has a kernel whose size is not known here")
    channels = dims[1] * settings["groups"] if transposed and isinstance(dims[1], int) else dims[0]
    padding = padding if isinstance(padding, str) else pair(padding)
    return channels, dims[2:], pair(settings["stride"]), padding, pair(settings["dilation"])


def _same(kernel: int, dilation: int) -> tuple[int, int]:
    total = dilation * (kernel - 1)
    return total // 2, total - total // 2


def _windows(x: Value, kernel: Any, stride: Any, sides: Any, dilation: Any, ceil_mode: bool = False) -> list[Dim]:
    dims = (x.dims or ())[2:]
    return [
        step(dim, window_count(k, s, p, d, ceil_mode)) for dim, k, s, p, d in zip(dims, kernel, stride, sides, dilation)
    ]


@rule("max_pool2d", modules=[nn.MaxPool2d])
def max_pool2d(call: Call) -> Value:
    x = call.image()
    kernel, stride, padding, dilation, ceil_mode, indices = call.read(
        "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices",
        stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False,
    )  # fmt: skip
    if indices:
        call.refuse("returns indices, which on a canvas count other entries than on the image")
    kernel = pair(kernel)
    if _is_whole_map(x, kernel):
        return _extreme(call, x)
    stride, padding, dilation = pair(stride or kernel), pair(padding), pair(dilation)
    settings = (kernel, stride, padding, dilation, ceil_mode)
    if any(isinstance(k, Size) for k in kernel):
        call.refuse("has a kernel that depends on the size of the input")
    if any(padding) or ceil_mode:
        node = call.emit(runtime.max_pool, call.builder.lowered(x), *settings)
        fill = Fill.FINITE
    else:
        node, fill = call.emit(runtime.max_pool, x, *settings), max(x.fill, Fill.FINITE)
    dims = _windows(x, kernel, stride, [(p, p) for p in padding], dilation, ceil_mode)
    return call.builder.output(node, (x.dims[0], x.dims[1], *dims), fill)  # type: ignore[index]


@rule("avg_pool2d", modules=[nn.AvgPool2d])
def avg_pool2d(call: Call) -> Value:
    x = call.image()
    kernel, stride, padding, ceil_mode, count_padding, divisor = call.read(
        "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override",
        stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None,
    )  # fmt: skip
    kernel = pair(kernel)
    if _is_whole_map(x, kernel):
        return mean(call, x, (2, 3), keepdim=True)
    if any(isinstance(k, Size) for k in kernel):
        call.refuse("has a kernel that depends on the size of the input")
    stride, padding = pair(stride or kernel), pair(padding)
    dims = _windows(x, kernel, stride, [(p, p) for p in padding], (1, 1), ceil_mode)
    out = (x.dims[0], x.dims[1], *dims)  # type: ignore[index]
    if not x.varying or not (any(padding) or ceil_mode):
        return call.builder.output(call.again(), out, max(x.fill, Fill.FINITE))
    node = call.again({x: call.builder.zeroed(x)})
    if divisor is None and not count_padding:
        # Both have the same divisor; their ratio divides by the number of valid entries.
        settings = (kernel, stride, padding, ceil_mode, False)
        counted = call.emit(torch.nn.functional.avg_pool2d, call.builder.mask(x), *settings)
        return call.builder.output(call.emit(torch.div, node, counted), out, Fill.ANYTHING)
    if divisor is None and ceil_mode:
        for i, dim in enumerate(dims):
            source = x.dims[2 + i]  # type: ignore[index]
            if isinstance(source, Extent):
                args = (call.builder.valid(source), call.builder.positions(dim), kernel[i], stride[i], padding[i])
                factor = call.emit(runtime.pooling_correction, call.builder.images, *args)
                node = call.emit(runtime.scale_along, node, factor, 2 + i)
    return call.builder.output(node, out)


def _is_whole_map(x: Value, kernel: tuple[Any, Any]) -> bool:
    """Whether a window is the height and width of the map itself."""
    dims = (x.dims or ())[2:]
    same = [isinstance(k, Size) and isinstance(k.dim, Extent) and isinstance(d, Extent) and k.dim.key == d.key
            for k, d in zip(kernel, dims)]  # fmt: skip
    return all(same)


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


def _extreme(call: Call, x: Value) -> Value:
    node = call.emit(torch.amax, call.builder.lowered(x), (2, 3), True)
    return call.builder.output(node, (*(x.dims or ())[:2], 1, 1))


@rule("adaptive_max_pool2d", modules=[nn.AdaptiveMaxPool2d])
def adaptive_max_pool2d(call: Call) -> Any:
    x = call.image()
    size, indices = call.read("output_size", "return_indices", return_indices=False)
    if pair(size) == (1, 1) and not indices:
        return _extreme(call, x)
    if x.varying:
        call.refuse("takes maxima over a number of areas that is not one, or returns their indices")
    return call.builder.output(call.again(), (*(x.dims or ())[:2], *pair(size)))


@rule("adaptive_avg_pool2d", modules=[nn.AdaptiveAvgPool2d])
def adaptive_avg_pool2d(call: Call) -> Value:
    x = call.image()
    known = x.dims or ()
    (size,) = call.read("output_size")
    wanted = [known[2 + i] if s is None else constant(s, call) for i, s in enumerate(pair(size))]
    return average_areas(call, x, wanted)


def average_areas(call: Call, x: Value, wanted: list[Any]) -> Value:
    """Adaptive average pooling to sizes that do not vary."""
    known = x.dims or ()
    if not x.varying:
        return call.builder.output(call.again(), (*known[:2], *(w if isinstance(w, int) else None for w in wanted)))
    if wanted == [1, 1]:
        return mean(call, x, (2, 3), keepdim=True)
    made: list[Any] = []
    for dim, bins in zip(known[2:], wanted):
        if bins is dim:
            made.append(None)
            continue
        if not isinstance(bins, int):
            call.refuse("averages over a number of areas that varies with the input")
        args = (call.builder.size(dim), call.builder.positions(dim), call.builder.positions(bins), bins)
        made.append(call.emit(matrices.pooling_matrix, call.builder.images, *args))
    node = call.emit(matrices.apply_matrices, call.builder.zeroed(x), *made)
    return call.builder.output(node, (*known[:2], *wanted))


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
