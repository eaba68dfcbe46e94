"""Artifacts on Ray: a Serve application that reads pages, and Ray Data over millions of images."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuronkit.serving.ray.app import build_app as build_app
    from neuronkit.serving.ray.app import serve_app as serve_app
    from neuronkit.serving.ray.dataset import DatasetReport as DatasetReport
    from neuronkit.serving.ray.dataset import read_dataset as read_dataset
    from neuronkit.serving.ray.results import read_results as read_results

_HOME = {
    "DatasetReport": "dataset",
    "build_app": "app",
    "read_dataset": "dataset",
    "read_results": "results",
    "serve_app": "app",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
