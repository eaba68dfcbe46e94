"""Options of a family, given as a whole or one by one, and the checks that they share."""

from __future__ import annotations

from typing import Any, TypeVar

from neuronkit import checks
from neuronkit.errors import OptionError, SpecError
from neuronkit.shown import shown
from neuronkit.static.decoding.methods import AUTO

Options = TypeVar("Options")


def either(wanted: type[Options], whole: Any, **single: Any) -> Options:
    """The options of a static model that takes them as single keywords too.

    Args:
        wanted: Their class.
        whole: The argument `options`, or None.
        **single: What the keywords say.

    Raises:
        OptionError: If `whole` is of another class, or both say something.
    """
    if whole is None:
        return wanted(**single)
    if not isinstance(whole, wanted):
        raise OptionError(f"got options={shown(whole)}; expected {wanted.__name__}; make one, or leave it out")
    given = [f"{name}={shown(value)}" for name, value in single.items() if value not in (None, AUTO)]
    if given:
        raise OptionError(f"got options={shown(whole)} and {', '.join(given)}; expected one of the two; leave one out")
    return whole


def check_sizes(options: Any, *names: str) -> None:
    """Check the fields of a frozen dataclass that are whole numbers of at least 1, or None to follow the model.

    Raises:
        SpecError: If one is something else.
    """
    for name in names:
        value = getattr(options, name)
        if value is not None:
            object.__setattr__(options, name, checks.integer(name, value, 1, error=SpecError))
