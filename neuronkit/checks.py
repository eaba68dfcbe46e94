"""Checks of arguments that many calls share: each returns the value in its own type, or says what is wrong."""

from __future__ import annotations

import math
from itertools import islice
from numbers import Integral, Real
from typing import Any

from neuronkit.errors import NeuronKitError, OptionError


def number(name: str, value: Any, low: float, high: float = math.inf, *, open_low: bool = False) -> float:
    """Return `value` as a float in [low, high], or in (low, high]."""
    try:
        result = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    except OverflowError:
        result = math.nan
    if math.isfinite(result) and low <= result <= high and not (open_low and result == low):
        return result
    between = f"{'above' if open_low else 'from'} {low:g}" + ("" if high == math.inf else f" to {high:g}")
    raise OptionError(f"{name}={value!r:.200} is not a number {between}; give one")


def integer(
    name: str, value: Any, low: int, high: int | None = None, *, error: type[NeuronKitError] = OptionError
) -> int:
    """Return `value` as an int in [low, high]; NumPy's integers are such, True and 2.0 are not."""
    result = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else low - 1
    if result < low or (high is not None and result > high):
        between = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise error(f"{name}={value!r:.200} is not a whole number {between}; give one")
    return result


def flag(name: str, value: Any) -> bool:
    """Return `value` when it is True or False."""
    if not isinstance(value, bool):
        raise OptionError(f"{name}={value!r:.200} is neither True nor False; give one of them")
    return value


def integers(name: str, value: Any, length: int, low: int, high: int) -> tuple[int, ...]:
    """Return `value` as a tuple of `length` ints in [low, high]."""
    items = _sequence(name, value, length)
    return tuple(integer(f"{name}[{i}]", item, low, high) for i, item in enumerate(items))


def numbers(
    name: str, value: Any, length: int, low: float, high: float, *, open_low: bool = False
) -> tuple[float, ...]:
    """Return `value` as a tuple of `length` floats in [low, high], or in (low, high]."""
    items = _sequence(name, value, length)
    return tuple(number(f"{name}[{i}]", item, low, high, open_low=open_low) for i, item in enumerate(items))


def _sequence(name: str, value: Any, length: int) -> list[Any]:
    try:
        items = [] if isinstance(value, (str, bytes)) else list(islice(value, length + 1))
    except TypeError:
        items = []
    if len(items) != length:
        raise OptionError(f"{name}={value!r:.200} does not hold {length} numbers; give a tuple of {length}")
    return items
