"""Which input each output of nearest-neighbour resizing reads, in torch's own arithmetic, on the host."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def scales(sizes_in: Ints, sizes_out: Ints, factor: float | None, offset: float) -> Floats:
    """Inputs per output, so that ``floor((output + offset) * scale)`` in float32 is the input that torch reads.

    torch rounds its own scale to float32, and so may read the input before the one that it would read at an exact
    whole number. Where other scales choose the same inputs, the one in the middle of them is given: no product is near
    a whole number then, and a device that rounds in another way chooses the same.

    Args:
        sizes_in: (K,) numbers of inputs.
        sizes_out: (K,) numbers of outputs.
        factor: Outputs per input, where the caller gave it; None takes the ratio of the sizes.
        offset: 0 for torch's "nearest", 0.5 for "nearest-exact".

    Returns:
        (K,) float32.
    """
    pairs, places = np.unique(np.stack([sizes_in, sizes_out], axis=1), axis=0, return_inverse=True)
    found = [_scale(max(1, int(a)), max(1, int(b)), factor, offset) for a, b in pairs]
    return np.array(found, dtype=np.float32)[places.reshape(-1)]


def _scale(size_in: int, size_out: int, factor: float | None, offset: float) -> np.float32:
    scale = np.float32(size_in) / np.float32(size_out) if factor is None else np.float32(1.0 / factor)
    if size_in == size_out and offset == 0 and _COPIES_EQUAL_SIZES:
        scale = np.float32(1)
    positions = np.arange(size_out, dtype=np.float32) + np.float32(offset)
    chosen = np.floor(positions * scale)
    # The last input is read for everything beyond it.
    inside = (positions > 0) & (chosen < size_in)
    if not inside.any():
        return scale
    place, index = positions[inside].astype(np.float64), chosen[inside]
    bounded = index < size_in - 1
    least = (index / place).max()
    most = ((index[bounded] + 1) / place[bounded]).min() if bounded.any() else least * 1.01 + 1 / size_out
    middle = np.float32((least + most) / 2)
    same = np.minimum(np.floor(positions * middle), size_in - 1) == np.minimum(chosen, size_in - 1)
    return middle if same.all() else scale


def _copies_equal_sizes() -> bool:
    """Whether this torch leaves a map as it is when its size stays, whatever the factor is."""
    x = torch.arange(3.0).reshape(1, 1, 3, 1).expand(2, 3, 3, 4).contiguous()
    return bool((F.interpolate(x, scale_factor=(1.1, 1.0), mode="nearest") == x).all())


# At import: computed during a trace, it would become part of the graph.
_COPIES_EQUAL_SIZES = _copies_equal_sizes()
