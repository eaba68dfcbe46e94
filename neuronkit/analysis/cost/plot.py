"""Drawing a table of costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronkit.report import new_figure, save_figure

if TYPE_CHECKING:
    from neuronkit.analysis.cost.report import CostReport


def draw(reports: Mapping[str, CostReport], rows: Iterable[Any], path: str | Path) -> None:
    """Write a picture of the least time and the least money of an inference.

    Args:
        reports: Name → report.
        rows: The `CostRow`s of those reports.
        path: Where to write it; the suffix decides the format.
    """
    priced = [row for row in rows if row.usd_per_million_lower_bound is not None]
    height = 1.5 + 0.3 * max(2 * len(reports), len(priced))
    figure = new_figure("costs", (13, height))
    left, right = figure.subplots(1, 2)
    _draw_times(left, reports)
    _draw_prices(right, priced)
    for axes in (left, right):
        axes.locator_params(axis="x", nbins=6)
    save_figure(figure, path)


def _draw_times(axes: Any, named: Mapping[str, CostReport]) -> None:
    places = range(len(named))
    reports = list(named.values())
    for offset, (label, times) in enumerate(
        {
            "products, at the peak": [report.compute_ms / report.batch_size for report in reports],
            "weights, inputs and outputs, at the core's bandwidth": [r.memory_ms / r.batch_size for r in reports],
        }.items()
    ):
        bars = axes.barh([place + 0.4 * offset - 0.2 for place in places], times, height=0.4, label=label)
        axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=8)
    _name_rows(axes, list(named))
    axes.set_xlabel("ms an inference, on one core")
    axes.set_title("Lower bound of the time: the longer bar of each graph", fontsize=10)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    # Inside, it would cover bars.
    axes.figure.legend(fontsize=8, loc="outside lower left")


def _draw_prices(axes: Any, priced: list[Any]) -> None:
    labels = [f"{row.name}: {row.instance}" for row in priced]
    amounts = [row.usd_per_million_lower_bound for row in priced]
    colours = {name: f"C{index}" for index, name in enumerate(dict.fromkeys(row.name for row in priced))}
    bars = axes.barh(range(len(priced)), amounts, color=[colours[row.name] for row in priced])
    axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=8)
    _name_rows(axes, labels)
    axes.set_xlabel("$ a million inferences, on demand")
    axes.set_title("Lower bound of the price, every core busy", fontsize=10)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    if not priced:
        axes.text(0.5, 0.5, "no public price", ha="center", transform=axes.transAxes)


def _name_rows(axes: Any, names: list[str]) -> None:
    # Dollars in names are dollars, and no formula.
    axes.set_yticks(range(len(names)), names, parse_math=False)
