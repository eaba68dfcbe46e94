"""What an exact graph computes besides the network's own operators: masks and masked statistics.

Plain functions of tensors, without a branch on a value, made of operators that every target takes. `valid` is a
(N, L) bool tensor: which of the L entries along a dimension are valid, for each row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neuronkit.static import ops
from neuronkit.static.ops import length
from neuronkit.static.sentinels import sentinel

# Inputs of a period, and which of them each of its outputs reads.
Period = tuple[int, tuple[int, ...]]


def valid(valid_size: Tensor, source: int, thresholds: Tensor) -> Tensor:
    """Compare sizes (N, 2) with the thresholds (L,) of a dimension: (N, L) bool."""
    return valid_size[:, source : source + 1] >= thresholds


def look_up(valid_size: Tensor, source: int, sizes: Tensor, values: Tensor) -> Tensor:
    """The entry of `values` (K,) where `sizes` (K,) has each row's height or width: (N, 1), without gathering."""
    found = (valid_size[:, source : source + 1] == sizes).to(values.dtype)
    return (found * values).sum(1, keepdim=True, dtype=values.dtype)


def mask(images: Tensor, rank: int, dims: Sequence[int], valids: Sequence[Tensor], batch: int = 0) -> Tensor:
    """1 where every given dimension is valid, 0 elsewhere: of the images' dtype, to broadcast against a tensor."""
    product: Tensor | None = None
    for dim, entries in zip(dims, valids):
        factor = _along(entries.to(float_dtype(images)), rank, dim, batch)
        product = factor if product is None else product * factor
    if product is None:
        raise ValueError("a mask has at least one dimension")
    return product


def zero_outside(x: Tensor, inside: Tensor) -> Tensor:
    """Zero what a mask excludes. Several times faster than `where` on the CPU, and needs finite values there."""
    return x * inside.to(x.dtype)


def replace_outside(x: Tensor, inside: Tensor) -> Tensor:
    """Zero what a mask excludes, infinities and NaN included, in any dtype."""
    return torch.where(inside > 0, x, torch.zeros_like(x))


def lowest(inside: Tensor, sign: float = 1.0) -> Tensor:
    """What to add to a tensor that is zero outside, so that no maximum (with sign -1: minimum) lies there."""
    return outside(inside, -sign * sentinel(inside.dtype))


def outside(inside: Tensor, value: float) -> Tensor:
    """A value where a mask excludes, 0 elsewhere."""
    return (1 - inside) * value


def fill_outside(x: Tensor, inside: Tensor, value: float) -> Tensor:
    """A tensor that is zero outside, with a value there instead, which may be infinite."""
    return torch.where(inside > 0, x, torch.full_like(x, value))


def size(valid: Tensor, like: Tensor) -> Tensor:
    """Number of valid entries, at least one: (N, 1) float."""
    return valid.to(working_dtype(like)).sum(1, keepdim=True).clamp(min=1.0)


def count(valid: Tensor) -> Tensor:
    """Number of valid entries: (N, 1) int32, which no auto-cast rounds."""
    return valid.sum(1, keepdim=True, dtype=torch.int32)


def working_dtype(x: Tensor) -> torch.dtype:
    """The dtype to compute coordinates and statistics in."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def pad(x: Tensor, padding: Sequence[int], value: float) -> Tensor:
    """Pad with a constant; `torch.nn.functional.pad` traces to an operator that Inf1 lacks."""
    return torch.constant_pad_nd(x, list(padding), value)


def max_pool(
    x: Tensor,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    ceil_mode: bool,
    nonnegative: bool,
) -> Tensor:
    """Max pooling as torch defines it, without its operator."""
    after = list(padding)
    if ceil_mode:
        for i, dim in enumerate((2, 3)):
            span = dilation[i] * (kernel[i] - 1)
            room = length(x, dim) + 2 * padding[i] - span - 1
            rounded = -(-room // stride[i])
            if rounded * stride[i] >= length(x, dim) + padding[i]:
                rounded -= 1
            after[i] += max(0, rounded * stride[i] - room)
    if any(after) or any(padding):
        x = pad(x, [padding[1], after[1], padding[0], after[0]], 0.0 if nonnegative else -sentinel(x.dtype))
    return ops.max_pool(x, kernel, stride, dilation)


def pooling_correction(
    images: Tensor, valid: Tensor, outputs: Tensor, kernel: int, stride: int, padding: int
) -> Tensor:
    """Ratio of an average's divisor on the canvas to that on the image alone, where a window runs over the end.

    Args:
        images: Gives the dtype.
        valid: (N, L) which inputs are valid.
        outputs: (Lout,) int32, 0, 1, 2, ...
        kernel: Of the pooling, along this dimension.
        stride: Of the pooling.
        padding: Of the pooling.

    Returns:
        (N, Lout), of the images' dtype.
    """
    dtype = working_dtype(images)
    # Places in integers, which no auto-cast rounds.
    start = outputs * stride - padding
    on_canvas = (length(valid, 1) + padding - start).clamp(max=kernel)
    alone = (count(valid) + padding - start).clamp(1, kernel)
    return (on_canvas.to(dtype) / alone.to(dtype)).to(float_dtype(images))


def scale_along(x: Tensor, factor: Tensor, dim: int) -> Tensor:
    """Multiply along one dimension by a factor (N, L)."""
    return x * _along(factor, x.dim(), dim)


def mean(x: Tensor, dims: Sequence[int], keepdim: bool, sizes: Sequence[Tensor]) -> Tensor:
    """Mean over valid entries of a tensor that is zero elsewhere.

    Args:
        x: (N, ...), zero outside the valid area.
        dims: What to average over.
        keepdim: As in torch.
        sizes: (N, 1) number of valid entries of each of `dims`.
    """
    total = x.to(working_dtype(x)).sum(tuple(dims), keepdim=keepdim)
    return (total / _product(sizes, total.dim())).to(x.dtype)


def normalize(
    x: Tensor,
    inside: Tensor,
    sizes: Sequence[Tensor],
    groups: int | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    """Normalise (N, C, H, W) with the statistics of the valid entries of each group of channels.

    Args:
        x: Zero outside the valid area.
        inside: Its mask.
        sizes: (N, 1) valid entries along H and along W.
        groups: Number of groups; None for one for each channel.
        weight: (C,) or None.
        bias: (C,) or None.
        eps: Added to the variance.
    """
    n, c, h, w = (length(x, dim) for dim in range(4))
    groups = c if groups is None else groups
    per_group = c // groups
    count = _product(sizes, 5) * per_group
    grouped = x.to(working_dtype(x)).reshape(n, groups, per_group, h, w)
    inside = inside.to(grouped.dtype).unsqueeze(1)
    average = grouped.sum((2, 3, 4), keepdim=True) / count
    centred = (grouped - average) * inside
    variance = (centred * centred).sum((2, 3, 4), keepdim=True) / count
    out = (centred * torch.rsqrt(variance + eps)).reshape(n, c, h, w).to(x.dtype)
    if weight is not None:
        out = out * weight.reshape(1, c, 1, 1)
    return out if bias is None else out + bias.reshape(1, c, 1, 1)


def constant_size(like: Tensor, number: int) -> Tensor:
    """A size that does not vary, as (1, 1) float."""
    return torch.full((1, 1), float(number), dtype=working_dtype(like), device=like.device)


def constant_count(like: Tensor, number: int) -> Tensor:
    """A size that does not vary, as (1, 1) int32."""
    return torch.full((1, 1), number, dtype=torch.int32, device=like.device)


def repeat_entries(x: Tensor, rows: int, columns: int) -> Tensor:
    """Nearest-neighbour upsampling by whole factors."""
    n, c, h, w = (length(x, dim) for dim in range(4))
    x = x.reshape(n, c, h, 1, w, 1).expand(n, c, h, rows, w, columns)
    return x.reshape(n, c, h * rows, w * columns)


def periodic_entries(x: Tensor, rows: Period, columns: Period) -> Tensor:
    """Nearest-neighbour resizing by ratios: along H and W, which of so many inputs each output of a period reads."""
    for dim, (inputs, read) in ((2, rows), (3, columns)):
        if read == (0,) and inputs == 1:
            continue
        count = length(x, dim)
        if count % inputs:
            x = pad(x, [0, 0] * (3 - dim) + [0, -count % inputs], 0.0)
        sizes = [length(x, d) for d in range(4)]
        grouped = x.reshape(*sizes[:dim], sizes[dim] // inputs, inputs, *sizes[dim + 1 :])
        before = (slice(None),) * (dim + 1)
        parts = [grouped[(*before, slice(place, place + 1))] for place in read]
        x = torch.cat(parts, dim + 1).flatten(dim, dim + 1)
        x = x[(*before[:dim], slice(0, count * len(read) // inputs))]
    return x


def fit(x: Tensor, dim: int, like: Tensor, value: float = 0.0, before: int = 0) -> Tensor:
    """Put some entries before a dimension, and cut or extend it to the number of entries of `like` (N, L)."""
    after = length(like, 1) - length(x, dim) - before
    if before == after == 0:
        return x
    return pad(x, [0, 0] * (x.dim() - 1 - dim) + [before, after], value)


def place(x: Tensor, dim: int, like: Tensor, value: float, amount: Tensor, amounts: Sequence[int]) -> Tensor:
    """Put a number of entries before a dimension of each row, and cut it to the number of entries of `like`.

    Args:
        x: (N, ...), `value` outside its valid area.
        dim: The dimension.
        like: (N, L).
        value: Of the new entries.
        amount: (N, 1) int32, for each row one of `amounts`.
        amounts: All amounts there are.
    """
    amount = amount.reshape(length(amount, 0), *(1 for _ in range(1, x.dim())))
    placed = fit(x, dim, like, value, amounts[0])
    for before in amounts[1:]:
        placed = torch.where(amount == before, fit(x, dim, like, value, before), placed)
    return placed


def float_dtype(x: Tensor) -> torch.dtype:
    """The dtype of results: that of images, or float32 where those are integers."""
    return x.dtype if x.is_floating_point() else torch.float32


def _along(entries: Tensor, rank: int, dim: int, batch: int = 0) -> Tensor:
    """Lay (N, L) along one dimension of a tensor of this rank, the batch along another."""
    sizes = {batch: length(entries, 0), dim: length(entries, 1)}
    entries = entries if batch < dim else entries.transpose(0, 1)
    return entries.reshape([sizes.get(d, 1) for d in range(rank)])


def _product(sizes: Sequence[Tensor], rank: int) -> Tensor:
    """Product of sizes (N, 1), to broadcast against a tensor of this rank."""
    product = sizes[0]
    for other in sizes[1:]:
        product = product * other
    return product.reshape(length(product, 0), *(1 for _ in range(1, rank)))
