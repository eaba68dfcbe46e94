"""Artifacts served by NVIDIA's Triton. Names are resolved on first use, so that importing costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.serving.triton.repository import export_repository as export_repository
    from neuronkit.serving.triton.server import Server as Server
    from neuronkit.serving.triton.server import serve as serve

_HOMES = {
    "Server": "server",
    "export_repository": "repository",
    "serve": "server",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
