"""Which rule is for which function, method and module."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from neuronkit.static.exact.builder import Call

Rule = Callable[[Call], Any]
RULES: dict[str, Rule] = {}
MODULES: dict[type[nn.Module], str] = {}
FUNCTIONS: dict[Callable[..., Any], str] = {}
# The rules that take any dimension as the batch, or check it themselves.
BATCH_ANYWHERE: set[str] = set()
_NAMESPACES = (torch, F, operator, torch.Tensor)


def rule(
    *names: str,
    modules: Sequence[type[nn.Module]] = (),
    functions: Sequence[Callable[..., Any]] = (),
    batch_anywhere: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a rule, a function of a `Call` and of the settings that it names, with the defaults of torch's function.

    Args:
        names: Of torch's functions and of methods that it is for; the first names the rule.
        modules: Classes of modules that it is for. Their attributes are the settings.
        functions: Others that it is for, than torch's own.
        batch_anywhere: Whether it takes tensors whose first dimension is not the batch.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        parameters = list(inspect.signature(function).parameters.values())[1:]

        def apply(call: Call) -> Any:
            return function(call, **call.settings(parameters))

        RULES.update(dict.fromkeys(names, apply))
        BATCH_ANYWHERE.update(names if batch_anywhere else ())
        MODULES.update(dict.fromkeys(modules, names[0]))
        FUNCTIONS.update(dict.fromkeys(functions, names[0]))
        return function

    return register


def name_of(function: Any) -> str | None:
    """The rule's name for a function, which is that under which torch or the operator module holds it; None if none."""
    name = getattr(function, "__name__", "")
    held = any(getattr(namespace, name, None) is function for namespace in _NAMESPACES)
    return name if held else FUNCTIONS.get(function)


def module_rule(module: nn.Module) -> str | None:
    """The rule of a module's class, or of the closest class it derives from."""
    return next((MODULES[cls] for cls in type(module).__mro__ if cls in MODULES), None)


def pair(value: Any) -> tuple[Any, Any]:
    """(height, width) from one number for both, or two."""
    if isinstance(value, (tuple, list)):
        return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])
    return value, value
