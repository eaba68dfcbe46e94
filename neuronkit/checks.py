"""Checks of arguments that many calls share."""

from __future__ import annotations

import operator
from typing import Any

from neuronkit.errors import NeuronKitError, SpecError


def whole_number(name: str, value: Any, *, least: int = 1, error: type[NeuronKitError] = SpecError) -> int:
    """Give an argument as an int; NumPy's integers are such, True and 2.0 are not.

    Raises:
        SpecError: If it is no whole number, or less than `least`; or the error given.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise error(f"{name}={value!r}: expected a whole number, at least {least}")
    return number
