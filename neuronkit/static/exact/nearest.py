"""Which input each output of nearest-neighbour resizing reads, as whole numbers that the host finds.

torch reads input ``floor((output + offset) * scale)``, in float32, at most the last. With ``place = output``, or
``2 * output + 1`` where the offset is a half, this is ``floor(place * rise / run)`` for two whole numbers, with one
exception. A scale that float32 rounded down makes less of products that should be whole. Rounding the product lifts
small mantissas to the whole number again, large ones not: inputs whose mantissa is at least `late` are read one place
later.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

Ints = npt.NDArray[np.int64]

_TOP = 17
_NEVER = (1 << _TOP) + 1


class Steps(NamedTuple):
    """How resizing by nearest neighbours proceeds, for each of K pairs of sizes.

    Attributes:
        rise: (K,) inputs, for `run` places.
        run: (K,) places, for `rise` inputs.
        late: (K,) mantissa from which inputs are read one place later.
        exact: (K,) whether these numbers, in int32, give the inputs that torch reads.
    """

    rise: npt.NDArray[np.int32]
    run: npt.NDArray[np.int32]
    late: npt.NDArray[np.int32]
    exact: npt.NDArray[np.bool_]


def steps(sizes_in: Ints, sizes_out: Ints, factor: float | None, offset: float) -> Steps:
    """The steps by which torch resizes.

    Args:
        sizes_in: (K,) numbers of inputs.
        sizes_out: (K,) numbers of outputs.
        factor: Outputs per input, where the caller gave it; None takes the ratio of the sizes.
        offset: 0 for torch's "nearest", 0.5 for "nearest-exact".
    """
    counts_in, counts_out = (np.maximum(sizes, 1) for sizes in (sizes_in, sizes_out))
    scales = counts_in.astype(np.float32) / counts_out.astype(np.float32)
    if factor is not None:
        scales = np.full_like(scales, 1.0 / factor)
    if offset == 0 and _COPIES_EQUAL_SIZES:
        scales[counts_out == counts_in] = 1
        scales[counts_out == 2 * counts_in] = 0.5
    found = [_steps(scale, count, offset) for scale, count in zip(scales.tolist(), counts_out.tolist())]
    rise, run, late, exact = np.array(found, dtype=np.int32).reshape(-1, 4).T.copy()
    return Steps(rise, run, late, exact.astype(np.bool_))


def mantissas(count: int) -> npt.NDArray[np.int32]:
    """Of 0, 1, 2, ..., each times the power of two that brings it above 2^16 and up to 2^17; 0 stays 0."""
    entries = np.arange(count)
    # A power of two counts with the numbers below it, which lie as densely as those that are rounded to it.
    _, exponents = np.frexp(np.maximum(entries - 1, 0).astype(np.float64))
    return (entries << (_TOP - exponents)).astype(np.int32)


@lru_cache(1 << 16)
def _steps(scale: float, count: int, offset: float) -> tuple[int, int, int, bool]:
    """Rise, run, late, exact of a float32 scale, for so many outputs."""
    outputs = np.arange(count)
    chosen = np.floor((outputs.astype(np.float32) + np.float32(offset)) * np.float32(scale)).astype(np.int64)
    places = 2 * outputs + 1 if offset else outputs
    if places[-1] == 0:
        return 0, 1, _NEVER, True
    later = places[places > 0]
    # The least slope that reaches every input in time.
    slopes = chosen[-len(later) :] / later
    steepest = int(slopes.argmax())
    rise, run = int(chosen[-len(later) :][steepest]), int(later[steepest])
    divisor = np.gcd(rise, run)
    rise, run = rise // int(divisor), run // int(divisor)
    read = places * rise // run
    weights = mantissas(int(read[-1]) + 2)
    late = int(weights[read[read > chosen]].min(initial=_NEVER))
    begin = run * np.arange(len(weights)) + (weights >= late)
    same = np.array_equal(np.searchsorted(begin, places * rise, side="right") - 1, chosen)
    return rise, run, late, same and int(places[-1]) * rise < 2**31 and int(begin[-1]) < 2**31


def _copies_equal_sizes() -> bool:
    """Whether this torch copies a map whose size stays, and repeats one whose size doubles, whatever the factor is."""
    x = torch.arange(3.0).reshape(1, 1, 3, 1).expand(2, 3, 3, 4).contiguous()
    return bool((F.interpolate(x, scale_factor=(1.1, 1.0), mode="nearest") == x).all())


# At import: computed during a trace, it would become part of the graph.
_COPIES_EQUAL_SIZES = _copies_equal_sizes()
