"""Where a model meets a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.compile.comparison import compare_models as compare_models
    from neuronkit.compile.inferentia import compile_for_inferentia as compile_for_inferentia

_HOMES = {"compare_models": "comparison", "compile_for_inferentia": "inferentia"}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
