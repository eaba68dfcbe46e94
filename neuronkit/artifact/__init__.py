"""Artifacts: compiled graphs and their manifest, in one file or directory that is whole or is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.artifact.loading import load as load
    from neuronkit.artifact.loading import read_manifest as read_manifest
    from neuronkit.artifact.model import CompiledModel as CompiledModel

_HOMES = {"CompiledModel": "model", "load": "loading", "read_manifest": "loading"}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
