"""Inputs of any size and number on graphs of fixed shapes: what runs on the host, around any callable.

`FixedShape` pads and splits for one shape, `Buckets` routes between several, which `plan_buckets` chooses; `Tiled` cuts
up what fits none of them, and `Replicas` spreads rows over copies of one graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.static.shapes.buckets import Buckets as Buckets
    from neuronkit.static.shapes.fixed import FixedShape as FixedShape
    from neuronkit.static.shapes.plan import BucketPlan as BucketPlan
    from neuronkit.static.shapes.plan import plan_buckets as plan_buckets
    from neuronkit.static.shapes.replicas import Replicas as Replicas
    from neuronkit.static.shapes.tiled import Tiled as Tiled

_HOMES = {
    "BucketPlan": "plan", "Buckets": "buckets", "FixedShape": "fixed", "Replicas": "replicas", "Tiled": "tiled",
    "plan_buckets": "plan",
}  # fmt: skip
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
