"""Rules for convolutions."""

from __future__ import annotations

from typing import Any

from torch import nn

from neuronkit.static.exact.call import Call
from neuronkit.static.exact.rules.padding import copy_padding
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.rules.settings import pair
from neuronkit.static.exact.sizes import Dim, step, window_count
from neuronkit.static.exact.values import Fill, Value

_PAD_MODES = {
    "constant": "constant",
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
}


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
        (x.dims[0], channels, *windows(x, kernel, stride, sides, dilation)),  # type: ignore[index]
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
    dims = (x.dims[0], channels, *windows(padded, kernel, stride, [(0, 0), (0, 0)], dilation))  # type: ignore[index]
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


def windows(x: Value, kernel: Any, stride: Any, sides: Any, dilation: Any, ceil_mode: bool = False) -> list[Dim]:
    dims = (x.dims or ())[2:]
    return [
        step(dim, window_count(k, s, p, d, ceil_mode)) for dim, k, s, p, d in zip(dims, kernel, stride, sides, dilation)
    ]
