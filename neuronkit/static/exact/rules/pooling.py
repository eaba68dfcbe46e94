"""Rules for pooling: over windows, and over a number of areas."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from neuronkit.static.exact import matrices, runtime
from neuronkit.static.exact.call import Call
from neuronkit.static.exact.rules.convolution import windows
from neuronkit.static.exact.rules.reductions import mean
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.rules.settings import constant, pair
from neuronkit.static.exact.sizes import Extent
from neuronkit.static.exact.values import Fill, Size, Value


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
    settings = (kernel, stride, padding, dilation, ceil_mode, x.nonnegative)
    if any(isinstance(k, Size) for k in kernel):
        call.refuse("has a kernel that depends on the size of the input")
    if any(padding) or ceil_mode:
        # Windows outside the valid area keep the low value, which overflows when it is squared.
        fill = Fill.FINITE if x.nonnegative else Fill.ANYTHING
        node = call.emit(runtime.max_pool, call.builder.lowered(x), *settings)
    else:
        node, fill = call.emit(runtime.max_pool, x, *settings), max(x.fill, Fill.FINITE)
    dims = windows(x, kernel, stride, [(p, p) for p in padding], dilation, ceil_mode)
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
    dims = windows(x, kernel, stride, [(p, p) for p in padding], (1, 1), ceil_mode)
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
        args = (call.builder.count(dim), call.builder.positions(dim), call.builder.positions(bins), bins)
        made.append(call.emit(matrices.pooling_matrix, call.builder.images, *args))
    node = call.emit(matrices.apply_matrices, call.builder.zeroed(x), *made)
    return call.builder.output(node, (*known[:2], *wanted))
