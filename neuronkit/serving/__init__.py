"""Artifacts as services: a Triton model repository, a Ray application, several NeuronCores."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuronkit.serving import cores as cores
    from neuronkit.serving import ray as ray
    from neuronkit.serving import triton as triton

__all__ = ["cores", "ray", "triton"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return __all__
