"""Matrices that resize, pool or pad along one dimension, made from valid sizes."""

from __future__ import annotations

import torch
from torch import Tensor

from neuronkit.static import ops
from neuronkit.static.exact.runtime import float_dtype, working_dtype
from neuronkit.static.ops import Bands, length

WholeNumbers = tuple[Tensor, Tensor | int, Tensor | int]


def linear_matrix(
    like: Tensor,
    size_in: Tensor,
    size_out: Tensor,
    valid_out: Tensor | None,
    inputs: Tensor,
    outputs: Tensor,
    scale: float | None,
    align_corners: bool,
    whole: WholeNumbers | None,
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
        whole: Valid inputs, and as two whole numbers, input entries by output entries: int32 of (N, 1) or (1, 1), or
            integers. With it, coordinates are computed in integers as well.

    Returns:
        (N, Lout, Lin).
    """
    source = _source(like, size_in, size_out, outputs, scale, align_corners)
    source = torch.min(source.clamp(min=0.0), (size_in - 1.0).clamp(min=0.0))
    first, rest = _parts(source, whole, inputs, outputs, align_corners, ends=True)
    distance = (inputs - first.unsqueeze(-1)).to(source.dtype) - rest.unsqueeze(-1)
    return _finish((1.0 - distance.abs()).clamp(min=0.0), valid_out, like)


def power_of_two_matrix(
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
    count_in: Tensor,
    rise: Tensor,
    run: Tensor,
    late: Tensor,
    valid_out: Tensor | None,
    inputs: Tensor,
    mantissas: Tensor,
    outputs: Tensor,
    offset: float,
) -> Tensor:
    """Matrix of nearest-neighbour interpolation, in integers, which no auto-cast rounds.

    Args:
        like: Gives the dtype.
        count_in: (N, 1) or (1, 1) int32 valid inputs.
        rise: (N, 1) or (1, 1) int32, as `run` and `late`; see `nearest.Steps`.
        run: Places for `rise` inputs.
        late: From which mantissa inputs are read one place later.
        valid_out: (N, Lout) which outputs are valid; None for all of them.
        inputs: (Lin,) int32, 0, 1, 2, ...
        mantissas: (Lin + 1,) int32, see `nearest.mantissas`.
        outputs: (Lout,) int32, 0, 1, 2, ...
        offset: 0 for torch's "nearest", 0.5 for "nearest-exact".

    Returns:
        (N, Lout, Lin).
    """
    places = 2 * outputs + 1 if offset else outputs
    # Places beyond the last valid input read it.
    reached = torch.min(places * rise, run * count_in - 1).unsqueeze(-1)
    begin = run * inputs + (mantissas[:-1] >= late).to(torch.int32)
    end = run * (inputs + 1) + (mantissas[1:] >= late).to(torch.int32)
    matrix = ((begin.unsqueeze(-2) <= reached) & (reached < end.unsqueeze(-2))).to(working_dtype(like))
    return _finish(matrix, valid_out, like)


def cubic_matrix(
    like: Tensor,
    size_in: Tensor,
    size_out: Tensor,
    valid_out: Tensor | None,
    inputs: Tensor,
    outputs: Tensor,
    scale: float | None,
    align_corners: bool,
    whole: WholeNumbers | None,
) -> Tensor:
    """Matrix of cubic convolution interpolation (a = -0.75) along one dimension; arguments as of `linear_matrix`."""
    source = _source(like, size_in, size_out, outputs, scale, align_corners)
    first, rest = _parts(source, whole, inputs, outputs, align_corners, ends=False)
    last = size_in.to(torch.int32) - 1 if whole is None else whole[0] - 1
    matrix = torch.zeros_like(source.unsqueeze(-1) * inputs.to(source.dtype))
    for tap in (-1, 0, 1, 2):
        index = torch.min((first + tap).clamp(min=0), last)
        matrix = matrix + (index.unsqueeze(-1) == inputs).to(source.dtype) * _cubic((rest - tap).abs()).unsqueeze(-1)
    return _finish(matrix, valid_out, like)


def pooling_matrix(like: Tensor, count_in: Tensor, inputs: Tensor, outputs: Tensor, bins: int) -> Tensor:
    """Matrix (N, bins, L) of adaptive average pooling along one dimension.

    Bin b averages entries floor(b * n / bins) up to ceil((b + 1) * n / bins); without the divisions, i belongs to it
    if b * n < (i + 1) * bins and i * bins < (b + 1) * n.
    """
    i, b, n = inputs, outputs.unsqueeze(1), count_in.unsqueeze(-1)
    members = ((b * n < (i + 1) * bins) & (i * bins < (b + 1) * n)).to(working_dtype(like))
    return (members / members.sum(-1, keepdim=True)).to(float_dtype(like))


def padding_matrix(like: Tensor, count_in: Tensor, inputs: Tensor, outputs: Tensor, before: int, mode: str) -> Tensor:
    """Matrix (N, Lout, L) that copies entries as reflection, replication or circular padding does."""
    index, last = outputs - before, count_in - 1
    if mode == "reflect":
        index = last - (last - index.abs()).abs()
    elif mode == "replicate":
        index = torch.min(index.clamp(min=0), last)
    else:
        index = index + count_in * (index < 0).to(torch.int32) - count_in * (index > last).to(torch.int32)
    return (index.unsqueeze(-1) == inputs).to(float_dtype(like))


def apply_matrices(x: Tensor, rows: Tensor | None, columns: Tensor | None, *bands: Bands | None) -> Tensor:
    """Resize H, W or both of (N, C, H, W) with a matrix for each row of the batch, in the blocks of `ops.resize`."""
    n = length(x, 0)
    expanded = [m if m is None else m.to(x.dtype).expand(n, *(length(m, d) for d in (1, 2))) for m in (rows, columns)]
    return ops.resize(x, expanded[0], expanded[1], *bands)


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


def _parts(
    source: Tensor, whole: WholeNumbers | None, inputs: Tensor, outputs: Tensor, align_corners: bool, *, ends: bool
) -> tuple[Tensor, Tensor]:
    """Coordinates as the entry at or before them, int32, and the rest.

    The places of a large map do not fit into bf16, to which an auto-cast of all operators would round them. In
    integers they are exact, and the float coordinates only add what torch rounds.

    Args:
        source: (N, Lout) or (Lout,) float coordinates.
        whole: See `linear_matrix`; None takes the float coordinates alone.
        inputs: (Lin,) int32, 0, 1, 2, ...
        outputs: (Lout,) int32, 0, 1, 2, ...
        align_corners: As in torch.
        ends: Whether coordinates end at the first and last valid input.
    """
    if whole is None:
        before = torch.floor(source)
        return before.to(torch.int32), source - before
    count_in, rise, run = whole
    place, unit = (outputs * rise, run) if align_corners else ((2 * outputs + 1) * rise - run, 2 * run)
    if ends:
        place = torch.min(place.clamp(min=0), unit * (count_in - 1))
    # Not every device divides integers.
    first = ((unit * inputs).unsqueeze(-2) <= place.unsqueeze(-1)).sum(-1, dtype=torch.int32) - 1
    rest = (place - unit * first).to(source.dtype) / (unit.to(source.dtype) if isinstance(unit, Tensor) else unit)
    # Three operations in float32.
    rounding = 2.0**-22 * length(inputs, 0)
    return first, rest + (source - first.to(source.dtype) - rest).clamp(-rounding, rounding)


def _cubic(distance: Tensor) -> Tensor:
    a = -0.75
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return torch.where(distance <= 1, near, far)


def _finish(matrix: Tensor, valid_out: Tensor | None, like: Tensor) -> Tensor:
    if valid_out is not None:
        matrix = matrix * valid_out.to(matrix.dtype).unsqueeze(-1)
    return matrix.to(float_dtype(like))
