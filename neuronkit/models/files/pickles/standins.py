"""What stands for the classes and functions that a file names: their names, and nothing else of them.

Objects of configuration classes keep their plain attributes, dictionaries and lists of any class their items: from them
come a model's architecture and characters.
"""

from __future__ import annotations

from typing import Any

from neuronkit.models.files.source import Damaged

_LONGEST_NAME = 1000
# The hashes of larger integers can be chosen to be the same, and a dictionary of a million such keys takes hours.
_LARGEST_KEY = 1 << 60
_CONFIGURATIONS = {"argparse.Namespace", "types.SimpleNamespace"}
_CONFIGURATION_PACKAGES = ("omegaconf.",)


class Name:
    """A class or a function by name. It is never looked up."""

    __slots__ = ("full", "module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name
        self.full = f"{module}.{name}"
        if len(self.full) > _LONGEST_NAME:
            raise Damaged("it names something by a very long name")


class StandIn:
    """An object of such a class, or the result of such a function."""

    __slots__ = ("attributes", "elements", "items", "kind")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.attributes: dict[Any, Any] | None = None
        self.items: dict[Any, Any] | None = None
        self.elements: list[Any] | None = None

    def build(self, state: Any) -> None:
        """Keep the attributes of a configuration; forget those of everything else."""
        if self.kind in _CONFIGURATIONS or self.kind.startswith(_CONFIGURATION_PACKAGES):
            states = state if isinstance(state, tuple) else (state,)
            self.attributes = {key: value for part in states if isinstance(part, dict) for key, value in part.items()}


def data_of(value: Any) -> Any:
    """Return the dictionary, list or value that a stand-in holds, one level deep, and anything else as it is.

    OmegaConf keeps the data of a container in ``_content``, that of a leaf in ``_val``.
    """
    for _ in range(4):
        if not isinstance(value, StandIn):
            break
        attributes = value.attributes
        if attributes is not None:
            value = attributes.get("_content", attributes.get("_val", attributes))
        elif value.items is not None:
            value = value.items
        elif value.elements is not None:
            value = value.elements
    return value


def as_key(value: Any) -> Any:
    """Return a value as a dictionary key, or a stand-in where its hash is slow or could be chosen to collide."""
    plain = value is None or isinstance(value, (str, bytes, bool, float, Name, StandIn))
    return value if plain or (type(value) is int and abs(value) < _LARGEST_KEY) else StandIn(type(value).__name__)
