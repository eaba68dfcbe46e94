"""Artifacts on Ray: a Serve application that reads pages, and Ray Data over millions of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.serving.ray.app import build_app as build_app
    from neuronkit.serving.ray.app import serve_app as serve_app
    from neuronkit.serving.ray.dataset import DatasetReport as DatasetReport
    from neuronkit.serving.ray.dataset import read_dataset as read_dataset
    from neuronkit.serving.ray.results import read_results as read_results

_HOMES = {
    "DatasetReport": "dataset",
    "build_app": "app",
    "read_dataset": "dataset",
    "read_results": "results",
    "serve_app": "app",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
