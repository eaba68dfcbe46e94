"""Artifacts as services: a Triton model repository, a Ray application, several NeuronCores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.serving import cores as cores
    from neuronkit.serving import ray as ray
    from neuronkit.serving import triton as triton

__all__ = ["cores", "ray", "triton"]
__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__))
