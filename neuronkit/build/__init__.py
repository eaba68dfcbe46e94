"""Several models, shapes and targets compiled side by side, as a build file in Python describes them.

A build file defines ``recipes``; ``python -m neuronkit.build FILE OUTPUT`` or `build` compiles them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.build.recipe import Recipe as Recipe
    from neuronkit.build.report import BuildReport as BuildReport
    from neuronkit.build.report import BuiltArtifact as BuiltArtifact
    from neuronkit.build.run import build as build

_HOMES = {
    "BuildReport": "report",
    "BuiltArtifact": "report",
    "Recipe": "recipe",
    "build": "run",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
