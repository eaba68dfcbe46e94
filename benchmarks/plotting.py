"""Figures of the benchmarks, which need no display."""

from __future__ import annotations

from typing import Any


def subplots(rows: int = 1, columns: int = 1, *, size: tuple[float, float], **others: Any) -> tuple[Any, Any]:
    """Make a figure of `size` inches and its axes, as `pyplot.subplots` does, which would keep the figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **others)
