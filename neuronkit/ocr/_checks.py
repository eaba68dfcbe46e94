"""Checks of options, shared by the processors: each returns the value in its own type or says what is wrong."""

from __future__ import annotations

import dataclasses
import math
from itertools import islice
from numbers import Integral, Real
from typing import Any

from neuronkit.errors import OptionError


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


def integer(name: str, value: Any, low: int, high: int) -> int:
    """Return `value` as an int in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= int(value) <= high:
        raise OptionError(f"{name}={value!r:.200} is not a whole number from {low} to {high}; give one")
    return int(value)


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


def settings(cls: type[Any], given: Any) -> dict[str, Any]:
    """Return the settings of a processor's `to_dict` as arguments of its class."""
    kind = getattr(cls, "kind", None)
    if not isinstance(given, dict) or given.get("kind", kind) != kind:
        raise OptionError(f"{given!r:.200} are not settings of a {kind!r} processor; give what its to_dict() returned")
    names = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(str(name) for name in given if name not in names | {"kind"})
    if unknown:
        raise OptionError(
            f"{kind!r} settings {unknown} are unknown; expected some of {sorted(names)}. "
            "A newer release of neuronkit may have written them: update it"
        )
    return {name: value for name, value in given.items() if name != "kind"}
