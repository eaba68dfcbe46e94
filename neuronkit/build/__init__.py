"""Several models, shapes and targets compiled side by side, as a build file in Python describes them.

A build file defines ``recipes``; ``python -m neuronkit.build FILE OUTPUT`` or `build` compiles them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuronkit.build.recipe import Recipe as Recipe
    from neuronkit.build.report import BuildReport as BuildReport
    from neuronkit.build.report import BuiltArtifact as BuiltArtifact
    from neuronkit.build.run import build as build

_HOMES = {"Recipe": "recipe", "BuildReport": "report", "BuiltArtifact": "report", "build": "run"}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
