"""Compile targets. `find_target` is the only way in, `register` the way to add one from outside the package."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from neuronkit import checks
from neuronkit.errors import OptionError, UnknownTargetError

if TYPE_CHECKING:
    from neuronkit.targets.base import Target

_HOMES = {
    "cpu": ("neuronkit.targets.cpu", "CpuTarget"),
    "onnx": ("neuronkit.targets.onnx", "OnnxTarget"),
    "openvino": ("neuronkit.targets.openvino", "OpenVinoTarget"),
    "xla": ("neuronkit.targets.xla", "XlaTarget"),
    "inf1": ("neuronkit.targets.inf1", "Inf1Target"),
    "inf2": ("neuronkit.targets.neuronx", "Inf2Target"),
    "trn1": ("neuronkit.targets.neuronx", "Trn1Target"),
    "trn2": ("neuronkit.targets.neuronx", "Trn2Target"),
    "trn2-native": ("neuronkit.targets.native", "Trn2NativeTarget"),
    "inf2-native": ("neuronkit.targets.native", "Inf2NativeTarget"),
    "trn3": ("neuronkit.targets.native", "Trn3Target"),
}
_registered: dict[str, type[Target]] = {}


def target_names() -> tuple[str, ...]:
    """Every target's name, those of registered targets last.

    Returns:
        Names that `compile_for_inferentia` takes.

    Examples:
        >>> {"cpu", "inf1", "inf2"} <= set(neuronkit.targets.target_names())
        True
    """
    return (*_HOMES, *_registered)


def find_target(name: str) -> Target:
    """The target of that name.

    Args:
        name: Such as "cpu".

    Returns:
        The target, which compiles graphs and says what it takes.

    Raises:
        UnknownTargetError: If there is none; the message lists those that exist.

    Examples:
        >>> neuronkit.targets.find_target("cpu").name
        'cpu'
    """
    name = checks.choice("target", name, target_names(), error=UnknownTargetError)
    if name in _registered:
        return _registered[name]()
    module, cls = _HOMES[name]
    target: Target = getattr(importlib.import_module(module), cls)()
    return target


def register(target: type[Target]) -> None:
    """Register your own target for as long as the process runs: to compile, and to load its artifacts.

    A target registered again under its name takes the earlier one's place. docs/adding-a-target.md shows how to write
    one.

    Args:
        target: A subclass of `neuronkit.targets.base.Target`. One that compiles in a child process must be importable
            there: a class of a module, not of ``__main__``.

    Raises:
        OptionError: If it is not such a class, or neuronkit itself has a target of that name.

    Examples:
        ```python
        class MyTarget(Target):
            name = "mine"
            ...

        register(MyTarget)
        ```
    """
    from neuronkit.targets.base import Target

    if not isinstance(target, type) or not issubclass(target, Target):
        raise OptionError(f"got target={checks.shown(target)}; expected a subclass of Target; give the class itself")
    name = checks.text("name", getattr(target, "name", None))
    if name in _HOMES:
        raise OptionError(f"got name={name!r}, a target of neuronkit itself; expected a new name; choose another")
    _registered[name] = target
