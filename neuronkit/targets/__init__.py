"""Compile targets, one file each. `find_target` is the only way in."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from neuronkit.errors import UnknownTargetError

if TYPE_CHECKING:
    from neuronkit.targets.base import Target

_MODULES = {
    "cpu": ("neuronkit.targets.cpu", "CpuTarget"),
}


def find_target(name: str) -> Target:
    """The target of that name.

    Raises:
        UnknownTargetError: If there is none; the message lists those that exist.
    """
    if name not in _MODULES:
        raise UnknownTargetError(f"target {name!r} is not known; choose one of {', '.join(map(repr, _MODULES))}")
    module, cls = _MODULES[name]
    target: Target = getattr(importlib.import_module(module), cls)()
    return target
