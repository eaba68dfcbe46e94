"""compare_costs: shapes, batches, methods, precisions and instances side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from neuronkit import checks
from neuronkit.analysis.cost.report import CostReport, check_link, money, price_text
from neuronkit.errors import OptionError
from neuronkit.report import Grid, Report, number, size

# What reports are ranked by: the least of one inference.
_RANKS: Mapping[str, Callable[[CostReport], float]] = {
    "ms": lambda report: report.roofline_ms_lower_bound / report.batch_size,
    "link_bytes": lambda report: report.io_bytes / report.batch_size,
    "device_calls": lambda report: report.device_calls / report.batch_size,
}


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
        link_bytes_per_inference: Inputs and outputs of graphs that cross the host link.
        device_calls_per_inference: Executions of graphs.
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
    link_bytes_per_inference: float
    device_calls_per_inference: float
    instance: str
    price: str
    usd_per_million_lower_bound: float | None


@dataclass(frozen=True, repr=False)
class CostTable(Report):
    """Several reports in one table.

    Attributes:
        reports: Name → report.

    Examples:
        >>> report = neuronkit.estimate(torch.nn.Linear(8, 4), torch.zeros(2, 8), target="inf2")
        >>> neuronkit.analysis.compare_costs({"linear": report}).rows[0].name
        'linear'
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
            OptionError: If it is not the path of a picture, or cannot be written there.
        """
        from neuronkit.analysis.cost.plot import draw

        draw(self.reports, self.rows, path)

    def parts(self) -> Iterable[str | Grid]:
        """Tables: least time and traffic of an inference by each report; price of a million on each instance."""
        header = ["", "target", "precision", "batch", "GFLOP", "at least ms", "host link", "calls"]
        costs = [
            [
                name,
                report.target,
                str(report.precision),
                str(report.batch_size),
                number(report.flops / 1e9 / report.batch_size),
                number(_RANKS["ms"](report)),
                size(_RANKS["link_bytes"](report)),
                number(_RANKS["device_calls"](report)),
            ]
            for name, report in self.reports.items()
        ]
        prices = [[row.name, row.instance, row.price, money(row.usd_per_million_lower_bound)] for row in self.rows]
        return [
            "One inference, which is a row of a batch: the least time, bytes over the host link, and device calls",
            Grid(header, costs, frozenset(range(3, len(header)))),
            "A million inferences, every core of the instance busy: the least price",
            Grid(["", "instance", "$ an hour", "$ a million"], prices, frozenset((2, 3))),
        ]


def compare_costs(
    reports: Mapping[str, CostReport] | Iterable[CostReport],
    *,
    rank_by: str | None = None,
    link_gb_s: float | None = None,
) -> CostTable:
    """Put reports side by side: other shapes, batches, decoding methods, precisions, targets.

    Args:
        reports: What `estimate` or `CostReport.on` gave, by name; without names they are called by target and batch.
        rank_by: What the reports are sorted by, the least of an inference first: "ms", the bound of the time;
            "link_bytes", what crosses the host link; or "device_calls". None keeps their order.
        link_gb_s: 10^9 bytes a second over the host link, in each direction, for all reports; see `estimate`. None
            leaves each as it is.

    Returns:
        The table: text when printed, HTML in a notebook, a picture by `plot`. All numbers are those of one inference,
        which is one row of a batch.

    Raises:
        OptionError: If there is no report, or something else among them; or if an option has no such value.

    Examples:
        ``compare_costs({"fused": a, "fixed point": b}, rank_by="link_bytes")`` begins with the method that moves fewer
        bytes.
    """
    link_gb_s = check_link(link_gb_s)
    if rank_by is not None:
        checks.choice("rank_by", rank_by, tuple(_RANKS))
    if not isinstance(reports, Iterable):
        raise OptionError(f"reports is of type {type(reports).__name__}; expected reports by name, or a list of them")
    listed = reports if isinstance(reports, Mapping) else checks.items("reports", reports, "reports", most=10_000)
    found = list(listed.values()) if isinstance(listed, Mapping) else listed
    if not found or not all(isinstance(report, CostReport) for report in found):
        raise OptionError(
            f"got reports={checks.shown(reports)}; expected at least one CostReport; give what neuronkit.estimate gave"
        )
    named = {str(name): report for name, report in listed.items()} if isinstance(listed, Mapping) else _named(listed)
    if link_gb_s is not None:
        named = {name: replace(report, link_gb_s=link_gb_s) for name, report in named.items()}
    if rank_by is not None:
        named = dict(sorted(named.items(), key=lambda item: _RANKS[rank_by](item[1])))
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
            ms_per_inference_lower_bound=_RANKS["ms"](report),
            link_bytes_per_inference=_RANKS["link_bytes"](report),
            device_calls_per_inference=_RANKS["device_calls"](report),
            instance=instance,
            price=price,
            usd_per_million_lower_bound=usd,
        )
        for instance, price, usd in found or [("", "no instance listed", None)]
    ]
