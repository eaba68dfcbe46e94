"""Outputs of models as NumPy arrays, without importing the library that made them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronkit import checks
from neuronkit.errors import SpecError

# A gigabyte of float32. The score maps of the largest canvas, 32768 x 32768 pixels, have as many.
_MOST_NUMBERS = 1 << 28
_MOST_ITEMS = 1 << 22


def to_numpy(value: Any) -> NDArray[Any]:
    """Take a NumPy array or a tensor of any device and dtype as an array; half precision comes back as float32."""
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        try:
            tensor = value.detach().cpu()
            # NumPy has no bfloat16, so half precisions leave torch as float32.
            value = (tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor).numpy()
        except (AttributeError, RuntimeError, TypeError) as error:
            # Sparse, quantized and meta tensors, among others.
            raise SpecError(
                f"got {checks.shown(value)}, which gives no array ({checks.shown(str(error))}); expected a dense "
                "tensor; convert it"
            ) from error
    if not isinstance(value, np.ndarray):
        raise SpecError(f"got {checks.shown(value)}; expected a NumPy array or a tensor; convert it to one of them")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise SpecError(
            "got an array with masked entries; expected numbers everywhere; fill them, such as array.filled(0)"
        )
    # Subclasses behave differently: a matrix stays two-dimensional whatever is done to it.
    return np.asarray(value)


def to_float(value: Any, name: str) -> NDArray[np.floating[Any]]:
    """Take numbers as float32, or as float64 where they are given so."""
    array = to_numpy(value)
    if array.dtype.kind not in "fiu":
        raise SpecError(f"got {name} of dtype {array.dtype}; expected real numbers; give float32")
    if array.size > _MOST_NUMBERS:
        raise SpecError(
            f"got {name} of shape {array.shape}; expected at most {_MOST_NUMBERS} numbers; give them in parts"
        )
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def real_numbers(value: Any) -> NDArray[Any] | None:
    """Take an array, a tensor or nested lists of real numbers as float32 or float64; None where it is none of them."""
    try:
        if not isinstance(value, np.ndarray) and hasattr(value, "__len__") and len(value) > _MOST_ITEMS:
            return None
        array = to_numpy(value) if hasattr(value, "detach") else np.asarray(value)
    except (TypeError, ValueError, OverflowError, MemoryError):
        return None
    if array.dtype.kind not in "fiu":
        return None
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
