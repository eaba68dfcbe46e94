"""Rules for convolutions."""

from __future__ import annotations

from typing import Any

from torch import nn

from neuronkit.static.exact.builder import Call
from neuronkit.static.exact.rules.padding import copy_padding
from neuronkit.static.exact.rules.registry import pair, rule
from neuronkit.static.exact.sizes import Dim, step, window_count
from neuronkit.static.exact.values import Fill, Value


@rule("conv2d", modules=[nn.Conv2d])
def conv2d(
    call: Call, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: Any = 1,
    padding_mode: str = "zeros",
) -> Value:  # fmt: skip
    x, known = call.image()
    channels, _, *kernel = _kernel(call, weight, 2)
    stride, dilation = pair(stride), pair(dilation)
    sides = _sides(kernel, padding if isinstance(padding, str) else pair(padding), dilation)
    if padding_mode != "zeros" and x.varying:
        # Pad by copying entries of the valid area, then convolve without padding.
        padded = copy_padding(call, x, sides, padding_mode)
        target = call.builder.adopt(call.path, call.module, padding=(0, 0), padding_mode="zeros")  # type: ignore[arg-type]
        dims = windows((padded.dims or ())[2:], kernel, stride, [(0, 0)] * 2, dilation)
        return call.builder.output(call.builder.graph.call_module(target, (padded.node,)), (known[0], channels, *dims))
    dims = windows(known[2:], kernel, stride, sides, dilation)
    return _convolved(call, x, (known[0], channels, *dims), sides)


@rule("conv1d", modules=[nn.Conv1d])
def conv1d(
    call: Call, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: Any = 1,
    padding_mode: str = "zeros",
) -> Value:  # fmt: skip
    """Along a line, (N, C, L)."""
    x, known = call.input, call.input.dims
    if known is None or len(known) != 3 or 1 in x.varying:
        call.refuse("needs a batch of lines (N, C, L), the length last")
    if padding_mode != "zeros" and x.varying:
        call.refuse(f"pads with {padding_mode!r} along one dimension, which is not known here")
    channels, _, *kernel = _kernel(call, weight, 1)
    stride, dilation = pair(stride)[:1], pair(dilation)[:1]
    sides = _sides(kernel, padding if isinstance(padding, str) else pair(padding)[:1], dilation)
    return _convolved(call, x, (known[0], channels, *windows(known[2:], kernel, stride, sides, dilation)), sides)


def _sides(kernel: Any, padding: Any, dilation: Any) -> list[tuple[int, int]]:
    """What is padded before and after, in each dimension of a kernel."""
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(p, p) for p in ([0] * len(kernel) if padding == "valid" else padding)]


def _convolved(call: Call, x: Value, dims: tuple[Dim, ...], sides: Any) -> Value:
    padded_after = any(after for _, after in sides)
    zeroed = call.builder.zeroed(x) if padded_after else None
    return call.same(dims, Fill.FINITE if padded_after else None, given=zeroed)


@rule("conv_transpose2d", modules=[nn.ConvTranspose2d])
def conv_transpose2d(
    call: Call, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: Any = 1, dilation: Any = 1,
) -> Value:  # fmt: skip
    x, known = call.image()
    if call.module is not None and (len(call.args) > 1 or call.kwargs):
        call.refuse("is given an output size")
    _, channels, *kernel = _kernel(call, weight, 2)
    settings = list(zip(kernel, pair(stride), pair(padding), pair(dilation), pair(output_padding)))
    dims = [
        step(dim, lambda n, k=k, s=s, p=p, d=d, e=e: (n - 1) * s - 2 * p + d * (k - 1) + e + 1)  # type: ignore[misc]
        for dim, (k, s, p, d, e) in zip(known[2:], settings)
    ]
    # Where windows overlap, the last valid outputs also get a share of the first padding.
    overlaps = any(s + p <= d * (k - 1) + e for k, s, p, d, e in settings)
    out = (known[0], channels * groups, *dims)
    return call.same(out, Fill.FINITE if overlaps else None, given=call.builder.zeroed(x) if overlaps else None)


def _kernel(call: Call, weight: Any, rank: int) -> tuple[int, ...]:
    """The sizes of a kernel, as torch orders them."""
    dims = weight.dims if isinstance(weight, Value) else None
    if dims is None or len(dims) != 2 + rank or not all(isinstance(k, int) for k in dims):
        call.refuse("has a kernel whose size is not known here")
    return dims  # type: ignore[return-value]


def windows(
    dims: tuple[Dim, ...], kernel: Any, stride: Any, sides: Any, dilation: Any, ceil_mode: bool = False
) -> list[Dim]:
    """Height and width after a sliding window."""
    return [
        step(dim, window_count(k, s, p, d, ceil_mode)) for dim, k, s, p, d in zip(dims, kernel, stride, sides, dilation)
    ]
