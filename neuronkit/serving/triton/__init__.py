"""Artifacts served by NVIDIA's Triton. Names are resolved on first use, so that importing costs nothing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuronkit.serving.triton.repository import export_repository as export_repository
    from neuronkit.serving.triton.server import Server as Server
    from neuronkit.serving.triton.server import serve as serve

_HOMES = {"export_repository": "repository", "Server": "server", "serve": "server"}

__all__ = ["Server", "export_repository", "serve"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
