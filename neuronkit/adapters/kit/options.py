"""Options of a family, given as a whole or one by one, and the checks that they share."""

from __future__ import annotations

from typing import Any, TypeVar

from neuronkit import checks
from neuronkit.errors import OptionError, SpecError
from neuronkit.shown import shown

Options = TypeVar("Options")


def either(single: Options, whole: Any) -> Options:
    """The options of a static model that takes them as single keywords too.

    Args:
        single: What the keywords say.
        whole: The argument `options`, or None.

    Raises:
        OptionError: If `whole` is of another class, or both say something.
    """
    if whole is None:
        return single
    wanted = type(single)
    if not isinstance(whole, wanted):
        raise OptionError(f"got options={shown(whole)}; expected {wanted.__name__}; make one, or leave it out")
    if single != wanted():
        raise OptionError(f"got options={shown(whole)} and {shown(single)}; expected one of them; leave one out")
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
