"""Compile targets, one file each. `find_target` is the only way in."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from neuronkit.errors import UnknownTargetError

if TYPE_CHECKING:
    from neuronkit.targets.base import Target

_MODULES = {
    "cpu": ("neuronkit.targets.cpu", "CpuTarget"),
    "xla": ("neuronkit.targets.xla", "XlaTarget"),
    "inf1": ("neuronkit.targets.inf1", "Inf1Target"),
    "inf2": ("neuronkit.targets.neuronx", "Inf2Target"),
    "trn1": ("neuronkit.targets.neuronx", "Trn1Target"),
    "trn2": ("neuronkit.targets.neuronx", "Trn2Target"),
    "trn2-native": ("neuronkit.targets.native", "Trn2NativeTarget"),
    "trn3": ("neuronkit.targets.native", "Trn3Target"),
}


def target_names() -> tuple[str, ...]:
    """Every target's name."""
    return tuple(_MODULES)


def find_target(name: str) -> Target:
    """The target of that name.

    Raises:
        UnknownTargetError: If there is none; the message lists those that exist.
    """
    if not isinstance(name, str) or name not in _MODULES:
        raise UnknownTargetError(f"target {name!r} is not known; choose one of {', '.join(map(repr, target_names()))}")
    module, cls = _MODULES[name]
    target: Target = getattr(importlib.import_module(module), cls)()
    return target
