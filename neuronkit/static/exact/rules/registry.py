"""Which rule is for which function, method and module."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from neuronkit.static.exact.call import Call

Rule = Callable[[Call], Any]
RULES: dict[str, Rule] = {}
MODULES: dict[type[nn.Module], str] = {}
_NAMESPACES = (torch, F, operator, torch.Tensor)


def rule(*names: str, modules: Sequence[type[nn.Module]] = ()) -> Callable[[Rule], Rule]:
    """Register a rule for functions and methods of these names, and for modules of these classes."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        MODULES.update(dict.fromkeys(modules, names[0]))
        return function

    return register


def name_of(function: Any) -> str | None:
    """The name under which torch or the operator module holds a function; None for any other function."""
    name = getattr(function, "__name__", "")
    held = any(getattr(namespace, name, None) is function for namespace in _NAMESPACES)
    return name if held else None


def module_rule(module: nn.Module) -> str | None:
    """The rule of a module's class, or of the closest class it derives from."""
    return next((MODULES[cls] for cls in type(module).__mro__ if cls in MODULES), None)
