"""compare_costs: shapes, batches, methods, precisions and instances side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neuronkit import checks
from neuronkit.analysis.cost.report import CostReport, html_table, money, price_text, text_table
from neuronkit.errors import OptionError


@dataclass(frozen=True)
class CostRow:
    """One report on one instance.

    Attributes:
        name: What the caller calls the report.
        target: Its target.
        precision: What the cores multiply in.
        batch_size: Inferences of a call.
        case: Where the numbers of executions come from.
        gflop_per_inference: 10^9 FLOPs.
        ms_per_inference_lower_bound: On one core, in milliseconds.
        instance: Name of the instance; empty where none is listed for the chip.
        price: What it costs an hour, in words.
        usd_per_million_lower_bound: Of a million inferences, on demand; None where no price is public.
    """

    name: str
    target: str
    precision: str
    batch_size: int
    case: str
    gflop_per_inference: float
    ms_per_inference_lower_bound: float
    instance: str
    price: str
    usd_per_million_lower_bound: float | None


@dataclass(frozen=True)
class CostTable:
    """Several reports in one table.

    Attributes:
        reports: Name → report.
    """

    reports: Mapping[str, CostReport]

    @property
    def rows(self) -> tuple[CostRow, ...]:
        """Every report on every instance of its chip."""
        return tuple(row for name, report in self.reports.items() for row in _rows(name, report))

    def to_dict(self) -> dict[str, Any]:
        """The rows, ready for JSON."""
        return {"rows": [asdict(row) for row in self.rows]}

    def plot(self, path: str | Path) -> None:
        """Draw the bounds of time and money.

        Args:
            path: Where to write the picture; the suffix decides the format.

        Raises:
            MissingDependencyError: If matplotlib is missing.
        """
        from neuronkit.analysis.cost.plot import draw

        draw(self.reports, self.rows, path)

    def __str__(self) -> str:
        return text_table(*self._cells())

    def _repr_html_(self) -> str:
        return html_table(*self._cells())

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        header = ["", "target", "precision", "batch", "GFLOP", "ms, at least", "instance", "$ an hour", "$ a million"]
        rows: list[list[str]] = []
        last = ""
        for row in self.rows:
            first = [
                row.name,
                row.target,
                row.precision,
                str(row.batch_size),
                f"{row.gflop_per_inference:.4g}",
                f"{row.ms_per_inference_lower_bound:.4g}",
            ]
            shown = first if row.name != last else [""] * len(first)
            rows.append([*shown, row.instance, row.price, money(row.usd_per_million_lower_bound)])
            last = row.name
        return header, rows


def compare_costs(reports: Mapping[str, CostReport] | Iterable[CostReport]) -> CostTable:
    """Put reports side by side: other shapes, batches, decoding methods, precisions, targets.

    Args:
        reports: What `estimate` or `CostReport.on` gave, by name; without names they are called by target and batch.

    Returns:
        The table: text when printed, HTML in a notebook, a picture by `plot`. GFLOP and time are those of one
        inference, which is one row of a batch.

    Raises:
        OptionError: If there is no report, or something else among them.
    """
    if not isinstance(reports, Iterable):
        raise OptionError(f"reports is of type {type(reports).__name__}; expected reports by name, or a list of them")
    listed = reports if isinstance(reports, Mapping) else checks.items("reports", reports, "reports", most=10_000)
    found = list(listed.values()) if isinstance(listed, Mapping) else listed
    if not found or not all(isinstance(report, CostReport) for report in found):
        raise OptionError(
            f"got reports={checks.shown(reports)}; expected at least one CostReport; give what neuronkit.estimate gave"
        )
    named = {str(name): report for name, report in listed.items()} if isinstance(listed, Mapping) else _named(listed)
    return CostTable(named)


def _named(reports: Iterable[CostReport]) -> dict[str, CostReport]:
    return {
        f"{index}: {getattr(report, 'target', '')}, batch {getattr(report, 'batch_size', '')}": report
        for index, report in enumerate(reports, 1)
    }


def _rows(name: str, report: CostReport) -> list[CostRow]:
    found = [(i, price_text(c.instance), c.usd_per_million_lower_bound) for i, c in report.instances.items()]
    return [
        CostRow(
            name=name,
            target=report.target,
            precision=str(report.precision),
            batch_size=report.batch_size,
            case=report.case,
            gflop_per_inference=report.flops / 1e9 / report.batch_size,
            ms_per_inference_lower_bound=report.roofline_ms_lower_bound / report.batch_size,
            instance=instance,
            price=price,
            usd_per_million_lower_bound=usd,
        )
        for instance, price, usd in found or [("", "no instance listed", None)]
    ]
