"""Rules for pooling: over windows, and over a number of areas."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from neuronkit.static.exact import matrices, runtime
from neuronkit.static.exact.builder import Call
from neuronkit.static.exact.rules.convolution import windows
from neuronkit.static.exact.rules.reductions import mean
from neuronkit.static.exact.rules.registry import pair, rule
from neuronkit.static.exact.sizes import Dim, Extent
from neuronkit.static.exact.values import Fill, Size, Value


@rule("max_pool2d", modules=[nn.MaxPool2d])
def max_pool2d(
    call: Call, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Value:  # fmt: skip
    x, known = call.image()
    if return_indices:
        call.refuse("returns indices, which on a canvas count other entries than on the image")
    kernel = pair(kernel_size)
    if _is_whole_map(call, known, kernel):
        return _extreme(call, x)
    stride, padding, dilation = pair(stride or kernel), pair(padding), pair(dilation)
    node, fill = x.node, max(x.fill, Fill.FINITE)
    if any(padding) or ceil_mode:
        # Windows outside the valid area keep the low value, which overflows when it is squared.
        node, fill = call.builder.lowered(x), Fill.FINITE if x.nonnegative else Fill.ANYTHING
    node = call.emit(runtime.max_pool, node, kernel, stride, padding, dilation, ceil_mode, x.nonnegative)
    dims = windows(known[2:], kernel, stride, [(p, p) for p in padding], dilation, ceil_mode)
    return call.builder.output(node, (*known[:2], *dims), fill)


@rule("avg_pool2d", modules=[nn.AvgPool2d])
def avg_pool2d(
    call: Call, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: Any = None,
) -> Value:  # fmt: skip
    x, known = call.image()
    kernel = pair(kernel_size)
    if _is_whole_map(call, known, kernel):
        return mean(call, x, (2, 3), keepdim=True)
    stride, padding = pair(stride or kernel), pair(padding)
    dims = windows(known[2:], kernel, stride, [(p, p) for p in padding], (1, 1), ceil_mode)
    out = (*known[:2], *dims)
    if not x.varying or not (any(padding) or ceil_mode):
        return call.same(out)
    node = call.again({x: call.builder.zeroed(x)})
    if divisor_override is None and not count_include_pad:
        # Both have the same divisor; their ratio divides by the number of valid entries. The mask has one entry along a
        # dimension that does not vary.
        varies = [isinstance(dim, Extent) for dim in known[2:]]
        sizes = ((kernel, 1), (stride, 1), (padding, 0))
        settings = (tuple(n if v else alone for n, v in zip(given, varies)) for given, alone in sizes)
        counted = call.emit(torch.nn.functional.avg_pool2d, call.builder.mask(x), *settings, ceil_mode, False)
        return call.builder.output(call.emit(torch.div, node, counted), out, Fill.ANYTHING)
    if divisor_override is None and ceil_mode:
        for i, (source, dim) in enumerate(zip(known[2:], dims)):
            if isinstance(source, Extent):
                args = (call.builder.valid(source), call.builder.positions(dim), kernel[i], stride[i], padding[i])
                factor = call.emit(runtime.pooling_correction, call.builder.images, *args)
                node = call.emit(runtime.scale_along, node, factor, 2 + i)
    return call.builder.output(node, out)


def _is_whole_map(call: Call, known: tuple[Dim, ...], kernel: tuple[Any, Any]) -> bool:
    """Whether a window is the height and width of the map itself."""
    sizes = [k.dim for k in kernel if isinstance(k, Size)]
    if sizes == list(known[2:]) and all(isinstance(dim, Extent) for dim in sizes):
        return True
    if sizes:
        call.refuse("has a kernel that depends on the size of the input")
    return False


def _extreme(call: Call, x: Value) -> Value:
    node = call.emit(torch.amax, call.builder.lowered(x), (2, 3), True)
    return call.builder.output(node, (*(x.dims or ())[:2], 1, 1))


@rule("adaptive_max_pool2d", modules=[nn.AdaptiveMaxPool2d])
def adaptive_max_pool2d(call: Call, output_size: Any, return_indices: bool = False) -> Value:
    x, known = call.image()
    if pair(output_size) == (1, 1) and not return_indices:
        return _extreme(call, x)
    if x.varying:
        call.refuse("takes maxima over a number of areas that is not one, or returns their indices")
    return call.same((*known[:2], *pair(output_size)))


@rule("adaptive_avg_pool2d", modules=[nn.AdaptiveAvgPool2d])
def adaptive_avg_pool2d(call: Call, output_size: Any) -> Value:
    x, (rows, columns) = call.input, pair(output_size)
    dims = x.dims or ()
    if x.varying and len(dims) > 2 and rows in (None, dims[-2]) and columns == 1 and isinstance(dims[-1], int):
        # Over a dimension that does not vary, wherever height and width are.
        return call.builder.output(call.emit(torch.mean, x, -1, True), (*dims[:-1], 1), max(x.fill, Fill.FINITE))
    _, known = call.image()
    return average_areas(call, [known[2 + i] if s is None else call.number(s) for i, s in enumerate(pair(output_size))])


def average_areas(call: Call, wanted: list[Any]) -> Value:
    """Adaptive average pooling to sizes that do not vary."""
    x, known = call.image()
    if not x.varying:
        return call.same((*known[:2], *(w if isinstance(w, int) else None for w in wanted)))
    if wanted == [1, 1]:
        return mean(call, x, (2, 3), keepdim=True)
    made: list[Any] = []
    for dim, bins in zip(known[2:], wanted):
        if bins is not dim and not isinstance(bins, int):
            call.refuse("averages over a number of areas that varies with the input")
        args = (call.builder.count(dim), call.builder.positions(dim), call.builder.positions(bins), bins)
        made.append(None if bins is dim else call.emit(matrices.pooling_matrix, call.builder.images, *args))
    node = call.emit(matrices.apply_matrices, call.builder.zeroed(x), *made)
    return call.builder.output(node, (*known[:2], *wanted))
