"""NumPy's numbers and arrays, as pickles store them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neuronkit.models.files.pickles.standins import StandIn
from neuronkit.models.files.source import Budget, Damaged

_NUMPY_KINDS = "biufc"


class NumpyType:
    """A NumPy dtype: its code, as ``f4``, and its byte order. Others than numbers are not `known`."""

    def __init__(self, code: Any) -> None:
        text = code if isinstance(code, str) else ""
        self.order = "="
        self.code = text if text[:1] in _NUMPY_KINDS and text[1:] in ("1", "2", "4", "8", "16") else ""

    def build(self, state: Any) -> None:
        self.order = state[1] if state[1] in ("<", ">", "=", "|") else "="

    def dtype(self) -> np.dtype[Any] | None:
        try:
            return np.dtype(self.order.replace("|", "=") + self.code) if self.code else None
        except TypeError:  # b4 and the like
            return None


class NumpyArray:
    """A NumPy array: what it holds comes after it. `values` is None where its elements are not numbers."""

    def __init__(self) -> None:
        self.values: np.ndarray[Any, Any] | None = None

    def build(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        self.values = _array(data, kind, shape, "F" if fortran else "C")


def _array(data: Any, kind: Any, shape: Any, order: str) -> np.ndarray[Any, Any] | None:
    dtype = kind.dtype() if isinstance(kind, NumpyType) else None
    if dtype is None:
        return None
    if not isinstance(data, bytes) or not isinstance(shape, tuple) or any(type(n) is not int or n < 0 for n in shape):
        raise Damaged("it holds a NumPy array without bytes or shape")
    if len(shape) > 32 or math.prod(shape) * dtype.itemsize != len(data):
        raise Damaged("it holds a NumPy array of another size than its bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


def numpy_scalar(budget: Budget, kind: Any, data: Any = None) -> Any:
    values = _array(data, kind, (1,), "C")
    return StandIn("numpy.dtype") if values is None else values[0]


def numpy_frombuffer(budget: Budget, data: Any, kind: Any, shape: Any, order: Any) -> NumpyArray:
    array = NumpyArray()
    array.values = _array(data, kind, shape, order)
    return array
