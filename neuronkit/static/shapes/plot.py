"""Drawing a plan of buckets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from neuronkit.errors import MissingDependencyError

if TYPE_CHECKING:
    from neuronkit.static.shapes.plan import BucketPlan


def draw(plan: BucketPlan, path: str | Path, observed: npt.NDArray[Any]) -> None:
    """Write a picture of the shapes, the observed sizes and the waste before and after."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle
    except ImportError as error:
        raise MissingDependencyError(
            f"drawing a plan needs matplotlib ({error}); pip install 'neuronkit[plot]'"
        ) from error
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    if len(observed):
        left.scatter(observed[:, 1], observed[:, 0], s=4, alpha=0.3, color="tab:gray", linewidths=0, label="inputs")
    for index, ((height, width), count) in enumerate(zip(plan.shapes, plan.counts)):
        color = f"C{index}"
        left.add_patch(Rectangle((0, 0), width, height, fill=False, edgecolor=color, linewidth=1.5))
        left.annotate(f"{height}×{width}: {count}", (width, height), ha="right", va="bottom", color=color, fontsize=8)
    height, width = plan.single_shape
    left.set(xlim=(0, width * 1.05), ylim=(0, height * 1.1), xlabel="width, pixels", ylabel="height, pixels")
    left.set_title(f"{len(plan.shapes)} shapes for {sum(plan.counts)} inputs")
    names = [f"one shape\n{height}×{width}", f"{len(plan.shapes)} shapes"]
    wastes = [100 * plan.waste_before, 100 * plan.waste]
    bars = right.bar(names, wastes, color=["tab:gray", "C0"])
    right.bar_label(bars, fmt="%.1f %%")
    right.set(ylim=(0, 100), ylabel="padding, % of the pixels computed", title="Waste before and after")
    figure.savefig(path, dpi=120)
