"""Rules for resizing, as products with matrices made from the valid sizes."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from neuronkit.static.exact import matrices, nearest, runtime
from neuronkit.static.exact.bands import Interpolation, Resize
from neuronkit.static.exact.builder import Call
from neuronkit.static.exact.rules.pooling import average_areas
from neuronkit.static.exact.rules.registry import pair, rule
from neuronkit.static.exact.sizes import MIXED, Dim, Extent, Sizes, step
from neuronkit.static.exact.values import Fill, Size, Value

_OFFSETS = {"nearest": 0.0, "nearest-exact": 0.5}
_NOT_WHOLE = "resizes {} entries to {}, of which torch reads others than whole numbers give. Take a smaller image"
# Of a scale's denominator: places times it stay below what int32 holds. Small ones are tried first.
_LARGEST = 1 << 10, 1 << 14
# Of a period, in inputs or outputs.
_LONGEST = 8
_MATRICES = {"bilinear": matrices.linear_matrix, "bicubic": matrices.cubic_matrix}


@rule("interpolate", "upsample", modules=[nn.Upsample])
def interpolate(
    call: Call, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: Any = None,
    recompute_scale_factor: Any = None, antialias: bool = False,
) -> Value:  # fmt: skip
    x, (*outer, rows, columns) = call.image()
    known = rows, columns
    if not x.varying and (not all(isinstance(dim, int) for dim in known) or (_is_fixed(size) and mode == "area")):
        return call.same(None)
    if antialias:
        call.refuse("resizes with antialiasing")
    wanted, scales = _targets(call, known, size, scale_factor, bool(recompute_scale_factor))
    if mode == "area":
        return average_areas(call, wanted)
    if mode not in _OFFSETS and mode not in _MATRICES:
        call.refuse(f"resizes in mode {mode!r}")
    whole = _whole_factors(known, wanted, scales) if mode in _OFFSETS else None
    if whole is not None:
        node = call.emit(runtime.repeat_entries, x, *whole)
        return call.builder.output(node, (*outer, *wanted), x.fill)
    factors = [None if s is None else float(f) for s, f in zip(scales, pair(scale_factor))]
    if mode in _OFFSETS and None not in (periods := [f and _period(f, _OFFSETS[mode]) for f in factors]):
        node = call.emit(runtime.periodic_entries, x, *periods)
        # Outputs behind the last valid one may read a valid input.
        return call.builder.output(node, (*outer, *wanted), max(x.fill, Fill.FINITE))
    if mode in _OFFSETS:
        made = [_nearest_matrix(call, _OFFSETS[mode], *along) for along in zip(known, wanted, factors)]
    else:
        made = [_matrix(call, mode, bool(align_corners), *along) for along in zip(known, wanted, scales)]
    given = call.builder.zeroed(x) if x.fill is Fill.ANYTHING else x.node
    along = [Interpolation(*sizes, bool(align_corners), _OFFSETS.get(mode)) for sizes in zip(known, wanted, scales)]
    node = call.builder.emit_part(Resize(*along), call.builder.images, given, *made)
    clean = all(m is not None or not isinstance(dim, Extent) for m, dim in zip(made, wanted))
    fill = Fill.ZERO if x.fill is Fill.ZERO or clean else Fill.FINITE
    return call.builder.output(node, (*outer, *wanted), fill)


def _is_fixed(size: Any) -> bool:
    return all(not isinstance(s, Size) for s in pair(size))


def _targets(
    call: Call, known: tuple[Dim, ...], size: Any, factor: Any, recompute: bool
) -> tuple[list[Any], list[float | None]]:
    """The sizes after resizing, and how many inputs one output spans where that does not follow from the sizes."""
    if size is not None:
        wanted = [call.number(s) for s in pair(size)]
        dims = [s.dim if isinstance(s, Size) else s for s in wanted]
        if any(dim is None or dim is MIXED for dim in dims):
            call.refuse("resizes to a size that is not known here")
        return dims, [None, None]
    factors = pair(factor)
    if not all(isinstance(f, (int, float)) for f in factors):
        call.refuse("resizes by a factor that is not known here")
    dims = [step(dim, lambda n, f=float(f): np.floor(n * f).astype(np.int64)) for dim, f in zip(known, factors)]  # type: ignore[misc]
    return dims, [None if recompute else 1.0 / float(f) for f in factors]


def _whole_factors(known: tuple[Dim, ...], wanted: list[Any], scales: list[float | None]) -> tuple[int, int] | None:
    """By how much each entry is repeated, if by a whole number that is the same for every input."""
    factors = []
    for dim, target, scale in zip(known, wanted, scales):
        if isinstance(dim, Extent) and isinstance(target, Extent) and dim.source == target.source:
            factor = int(target.values[-1] // max(1, dim.values[-1]))
            if not np.array_equal(dim.values * factor, target.values):
                return None
        elif isinstance(dim, int) and isinstance(target, int) and target % dim == 0:
            factor = target // dim
        else:
            return None
        if factor < 1 or (scale is not None and scale != 1.0 / factor) or not _repeats(factor):
            return None
        factors.append(factor)
    return factors[0], factors[1]


@cache
def _repeats(factor: int) -> bool:
    """Whether torch's float32 scale makes of this factor a plain repetition, for all outputs that there may be."""
    places = np.arange(max(1, 16384 // factor) * factor)
    return bool((np.floor(places.astype(np.float32) * np.float32(1.0 / factor)) == places // factor).all())


@cache
def _period(factor: float, offset: float) -> runtime.Period | None:
    """How the same reading recurs, by torch's float32 scale, for all outputs that there may be; None if it does not."""
    ratio = Fraction(factor).limit_denominator(_LONGEST)
    run, rise = ratio.numerator, ratio.denominator
    # By a factor a little above 1 or 2, a small map keeps or doubles its size, for which torch has rules of its own.
    if not 0 < run <= _LONGEST or 1 < factor < 1.5 or 2 < factor < 2.5:
        return None
    sizes, outputs = np.arange(1, 16385), np.arange(16384 * run // rise)
    read = (2 * outputs + 1) * rise // (2 * run) if offset else outputs * rise // run
    places = (outputs.astype(np.float32) + np.float32(offset)) * np.float32(1.0 / factor)
    if (np.floor(sizes * factor) != sizes * run // rise).any() or (np.floor(places) != read).any():
        return None
    return rise, tuple(read[:run].tolist())


def _nearest_matrix(call: Call, offset: float, dim: Any, wanted: Any, factor: float | None) -> Any:
    """The matrix along one dimension; None if it would change nothing."""
    builder = call.builder
    keys = tuple(d.key if isinstance(d, Extent) else d for d in (dim, wanted))
    if keys[0] == keys[1] and factor in (None, 1.0):
        return None
    key = ("nearest", *keys, factor, offset)
    steps = _nearest_steps(call, offset, dim, wanted, factor, key)
    valid_out = builder.valid(wanted) if isinstance(wanted, Extent) else None
    mantissas = builder.table(
        lambda canvas: nearest.mantissas((dim.at(canvas[dim.source]) if isinstance(dim, Extent) else dim) + 1),
        ("mantissas", keys[0]),
    )
    args = builder.count(dim), *steps, valid_out, builder.positions(dim), mantissas, builder.positions(wanted), offset
    return builder.emit_once(matrices.nearest_matrix, builder.images, *args, key=key)


def _nearest_steps(
    call: Call, offset: float, dim: Any, wanted: Any, factor: float | None, key: tuple[Any, ...]
) -> list[Any]:
    """Rise, run and late of each row; see `nearest.Steps`."""
    builder = call.builder
    sources = {d.source for d in (dim, wanted) if isinstance(d, Extent)}
    if len(sources) > 1:
        call.refuse("resizes a dimension that follows the height to one that follows the width")

    def numbers(sizes: Sizes) -> list[Sizes]:
        return [d.function(sizes) if isinstance(d, Extent) else np.full_like(sizes, d) for d in (dim, wanted)]

    def steps(sizes: Sizes) -> nearest.Steps:
        sizes_in, sizes_out = numbers(sizes)
        return nearest.steps(sizes_in, sizes_out, factor, offset)

    if not sources:
        found = steps(np.array([1]))
        if not found.exact.all():
            call.refuse(_NOT_WHOLE.format(dim, wanted))
        return [builder.count(int(number[0])) for number in found[:3]]
    (source,) = sources

    def unmet(size: tuple[int, int]) -> str | None:
        sizes = np.array([size[source]])
        return None if steps(sizes).exact.all() else _NOT_WHOLE.format(*(n[0] for n in numbers(sizes)))

    def met(sizes: tuple[Sizes, Sizes]) -> Any:
        given = sizes[source]
        return steps(given.reshape(-1)).exact.reshape(given.shape)

    builder.require(unmet, met)
    functions = (lambda sizes: steps(sizes).rise), (lambda sizes: steps(sizes).run), (lambda sizes: steps(sizes).late)
    return [builder.of_size(function, source, (*key, place)) for place, function in enumerate(functions)]


def _matrix(call: Call, mode: str, align_corners: bool, dim: Any, wanted: Any, scale: float | None) -> Any:
    """The matrix along one dimension; None if it would change nothing."""
    builder = call.builder
    keys = [d.key if isinstance(d, Extent) else d for d in (dim, wanted)]
    if keys[0] == keys[1] and scale in (None, 1.0):
        return None
    valid_out = builder.valid(wanted) if isinstance(wanted, Extent) else None
    sizes = builder.images, builder.size(dim), builder.size(wanted), valid_out
    positions = builder.positions(dim), builder.positions(wanted)
    args: Any = *sizes, *positions, scale, align_corners, _whole_numbers(call, dim, wanted, scale, align_corners)
    matrix = builder.emit_once(_MATRICES[mode], *args, key=(*keys, scale, align_corners))
    factor = _power_of_two(dim, wanted, scale) if mode == "bilinear" and not align_corners else None
    if factor is None:
        return matrix
    args = builder.images, builder.count(dim), builder.count(wanted), valid_out, *positions, factor, matrix
    return builder.emit_once(matrices.power_of_two_matrix, *args, key=(*keys, scale))


def _whole_numbers(call: Call, dim: Dim, wanted: Dim, scale: float | None, align_corners: bool) -> Any:
    """What the matrices take as `whole`; None where no ratio of small numbers is near the scale."""
    count, total = call.builder.count(dim), call.builder.count(wanted)
    if align_corners:
        # Where there is one output, its position is 0, and so the divisor does not matter.
        steps = call.emit(torch.clamp, call.emit(torch.sub, total, 1), 1)
        return count, call.emit(torch.sub, count, 1), steps
    if scale is None:
        return count, count, total
    for largest in _LARGEST:
        fraction = Fraction(scale).limit_denominator(largest)
        # The matrices add what coordinates in float32 differ by, and a little more.
        if abs(float(fraction) / scale - 1) < 2.0**-24:
            return count, fraction.numerator, fraction.denominator
    return None


def _power_of_two(dim: Dim, wanted: Dim, scale: float | None) -> int | None:
    """By how much large inputs grow, if by a power of two, for which torch's float coordinates are exact."""
    if not (isinstance(dim, Extent) and isinstance(wanted, Extent)):
        return None
    factor = round(wanted.values[-1] / max(1, dim.values[-1]))
    whole = factor > 1 and factor & (factor - 1) == 0 and scale in (None, 1.0 / factor)
    return factor if whole else None
