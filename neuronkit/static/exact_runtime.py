"""What an exact graph computes beside the network's own operators: masks, masked statistics, resizing matrices.

Plain functions of tensors, without a branch on a value, made of operators that every target takes. `valid` is a
(N, L) bool tensor: which of the L entries along a dimension are valid, for each row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neuronkit.static import ops
from neuronkit.static.ops import length


def valid(valid_size: Tensor, source: int, thresholds: Tensor) -> Tensor:
    """Compare sizes (N, 2) with the thresholds (L,) of a dimension: (N, L) bool."""
    return valid_size[:, source : source + 1] >= thresholds


def mask(images: Tensor, rank: int, dims: Sequence[int], valids: Sequence[Tensor]) -> Tensor:
    """1 where every given dimension is valid, 0 elsewhere: of the images' dtype, to broadcast against a tensor."""
    product: Tensor | None = None
    for dim, entries in zip(dims, valids):
        factor = _along(entries.to(_float(images)), rank, dim)
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
    """Added to a tensor that is zero outside, this makes the outside lose every maximum (or minimum, with sign -1)."""
    return outside(inside, -sign * bound(inside.dtype))


def outside(inside: Tensor, value: float) -> Tensor:
    """A value where a mask excludes, 0 elsewhere."""
    return (1 - inside) * value


def bound(dtype: torch.dtype) -> float:
    """Larger than any activation, and finite: a product with a mask makes it zero again."""
    return 6e4 if dtype == torch.float16 else 1e30


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
        x = pad(x, [padding[1], after[1], padding[0], after[0]], -bound(x.dtype))
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
    start = outputs.to(dtype) * stride - padding
    on_canvas = (length(valid, 1) + padding - start).clamp(max=kernel)
    alone = (size(valid, images) + padding - start).clamp(1, kernel)
    return (on_canvas / alone).to(_float(images))


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
    groups: int,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    """Normalise (N, C, H, W) with the statistics of the valid entries of each group of channels.

    Args:
        x: Zero outside the valid area.
        inside: Its mask.
        sizes: (N, 1) valid entries along H and along W.
        groups: Number of groups.
        weight: (C,) or None.
        bias: (C,) or None.
        eps: Added to the variance.
    """
    n, c, h, w = (length(x, dim) for dim in range(4))
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


def linear_matrix(
    like: Tensor,
    size_in: Tensor,
    size_out: Tensor,
    valid_out: Tensor | None,
    inputs: Tensor,
    outputs: Tensor,
    scale: float | None,
    align_corners: bool,
) -> Tensor:
    """Matrix of linear interpolation along one dimension, by torch's coordinates.

    Args:
        like: Gives the dtype.
        size_in: (N, 1) or (1, 1) valid inputs.
        size_out: (N, 1) or (1, 1) valid outputs.
        valid_out: (N, Lout) which outputs are valid; rows of the others are zero. None for all of them.
        inputs: (Lin,) int32, 0, 1, 2, ...
        outputs: (Lout,) int32, 0, 1, 2, ...
        scale: Input entries per output entry where the caller fixed it, None to take the ratio of the sizes.
        align_corners: As in torch.

    Returns:
        (N, Lout, Lin).
    """
    source = _source(like, size_in, size_out, outputs, scale, align_corners)
    matrix = ops.bilinear_matrix(source, size_in, inputs.to(source.dtype))
    return _finish(matrix, valid_out, like)


def doubling_matrix(
    like: Tensor,
    count_in: Tensor,
    count_out: Tensor,
    valid_out: Tensor,
    inputs: Tensor,
    outputs: Tensor,
    factor: int,
    otherwise: Tensor,
) -> Tensor:
    """Matrix of linear interpolation where the outputs are `factor` times the inputs, a power of two.

    Coordinates are then multiples of 1 / (2 * factor), and are computed as such in integers: the positions of a large
    map do not fit into bf16, to which an auto-cast of all operators would round them.

    Args:
        like: Gives the dtype.
        count_in: (N, 1) int32 valid inputs.
        count_out: (N, 1) int32 valid outputs.
        valid_out: (N, Lout) which outputs are valid; rows of the others are zero.
        inputs: (Lin,) int32, 0, 1, 2, ...
        outputs: (Lout,) int32, 0, 1, 2, ...
        factor: The outputs' number by that of the inputs.
        otherwise: (N, Lout, Lin) taken for rows of the batch whose sizes have another ratio.

    Returns:
        (N, Lout, Lin).
    """
    unit = 2 * factor
    source = torch.min((2 * outputs + (1 - factor)).clamp(min=0), unit * (count_in - 1))
    distance = (source.unsqueeze(-1) - unit * inputs).abs()
    matrix = (unit - distance).clamp(min=0).to(working_dtype(like)) / unit
    whole = (count_out == factor * count_in).unsqueeze(-1)
    return torch.where(whole, _finish(matrix, valid_out, like), otherwise)


def nearest_matrix(
    like: Tensor,
    size_in: Tensor,
    size_out: Tensor,
    valid_out: Tensor | None,
    inputs: Tensor,
    outputs: Tensor,
    scale: float | None,
    offset: float,
) -> Tensor:
    """Matrix of nearest-neighbour interpolation; `offset` is 0 for torch's "nearest", 0.5 for "nearest-exact"."""
    dtype = working_dtype(like)
    ratio = size_in / size_out if scale is None else scale
    source = torch.min((outputs.to(dtype) + offset) * ratio, size_in - 1).unsqueeze(-1)
    positions = inputs.to(dtype)
    return _finish(((positions <= source) & (source < positions + 1)).to(dtype), valid_out, like)


def cubic_matrix(
    like: Tensor,
    size_in: Tensor,
    size_out: Tensor,
    valid_out: Tensor | None,
    inputs: Tensor,
    outputs: Tensor,
    scale: float | None,
    align_corners: bool,
) -> Tensor:
    """Matrix of cubic convolution interpolation (a = -0.75) along one dimension."""
    source = _source(like, size_in, size_out, outputs, scale, align_corners)
    first = torch.floor(source)
    matrix = torch.zeros_like(source.unsqueeze(-1) * inputs.to(source.dtype))
    for tap in (-1, 0, 1, 2):
        index = torch.min((first + tap).clamp(min=0.0), size_in - 1)
        weight = _cubic((source - first - tap).abs())
        matrix = matrix + (index.unsqueeze(-1) == inputs.to(source.dtype)).to(source.dtype) * weight.unsqueeze(-1)
    return _finish(matrix, valid_out, like)


def pooling_matrix(like: Tensor, size_in: Tensor, inputs: Tensor, outputs: Tensor, bins: int) -> Tensor:
    """Matrix (N, bins, L) of adaptive average pooling along one dimension.

    Bin b averages entries floor(b * n / bins) up to ceil((b + 1) * n / bins); without the divisions, i belongs to it
    if b * n < (i + 1) * bins and i * bins < (b + 1) * n.
    """
    dtype = working_dtype(like)
    i, b, n = inputs.to(dtype), outputs.to(dtype).unsqueeze(1), size_in.unsqueeze(-1)
    members = ((b * n < (i + 1) * bins) & (i * bins < (b + 1) * n)).to(dtype)
    return (members / members.sum(-1, keepdim=True)).to(_float(like))


def padding_matrix(like: Tensor, size_in: Tensor, inputs: Tensor, outputs: Tensor, before: int, mode: str) -> Tensor:
    """Matrix (N, Lout, L) that copies entries as reflection, replication or circular padding does."""
    dtype = working_dtype(like)
    index, last = outputs.to(dtype) - before, size_in - 1
    if mode == "reflect":
        index = last - (last - index.abs()).abs()
    elif mode == "replicate":
        index = torch.min(index.clamp(min=0.0), last)
    else:
        index = index + size_in * (index < 0).to(dtype) - size_in * (index > last).to(dtype)
    return (index.unsqueeze(-1) == inputs.to(dtype)).to(_float(like))


def constant_size(like: Tensor, number: int) -> Tensor:
    """A size that does not vary, as (1, 1) float."""
    return torch.full((1, 1), float(number), dtype=working_dtype(like), device=like.device)


def apply_matrices(x: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    """Resize H, W or both of (N, C, H, W) with a matrix for each row of the batch."""
    n = length(x, 0)
    expanded = [m if m is None else m.to(x.dtype).expand(n, *(length(m, d) for d in (1, 2))) for m in (rows, columns)]
    return ops.resize(x, expanded[0], expanded[1])


def repeat_entries(x: Tensor, rows: int, columns: int) -> Tensor:
    """Nearest-neighbour upsampling by whole factors."""
    n, c, h, w = (length(x, dim) for dim in range(4))
    x = x.reshape(n, c, h, 1, w, 1).expand(n, c, h, rows, w, columns)
    return x.reshape(n, c, h * rows, w * columns)


def fit(x: Tensor, dim: int, like: Tensor) -> Tensor:
    """Cut or zero-extend one dimension to the number of entries of `like` (N, L)."""
    have, want = length(x, dim), length(like, 1)
    if have >= want:
        return x if have == want else x.narrow(dim, 0, want)
    return pad(x, [0, 0] * (x.dim() - 1 - dim) + [0, want - have], 0.0)


def _source(
    like: Tensor, size_in: Tensor, size_out: Tensor, outputs: Tensor, scale: float | None, align_corners: bool
) -> Tensor:
    """The coordinate that each output reads, in input entries: (N, Lout)."""
    positions = outputs.to(working_dtype(like))
    if align_corners:
        # Where there is one output, its position is 0, and so the divisor does not matter.
        return positions * ((size_in - 1) / (size_out - 1).clamp(min=1.0))
    ratio = size_in / size_out if scale is None else scale
    return (positions + 0.5) * ratio - 0.5


def _cubic(distance: Tensor) -> Tensor:
    a = -0.75
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return torch.where(distance <= 1, near, far)


def _finish(matrix: Tensor, valid_out: Tensor | None, like: Tensor) -> Tensor:
    if valid_out is not None:
        matrix = matrix * valid_out.to(matrix.dtype).unsqueeze(-1)
    return matrix.to(_float(like))


def _float(x: Tensor) -> torch.dtype:
    return x.dtype if x.is_floating_point() else torch.float32


def _along(entries: Tensor, rank: int, dim: int) -> Tensor:
    """Lay (N, L) along one dimension of a tensor of this rank, the batch along the first."""
    return entries.reshape(length(entries, 0), *(length(entries, 1) if d == dim else 1 for d in range(1, rank)))


def _product(sizes: Sequence[Tensor], rank: int) -> Tensor:
    """Product of sizes (N, 1), to broadcast against a tensor of this rank."""
    product = sizes[0]
    for other in sizes[1:]:
        product = product * other
    return product.reshape(length(product, 0), *(1 for _ in range(1, rank)))
