"""What a report of costs looks like, as text and as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.analysis.cost.text import html_table, money, price_text, text_table

if TYPE_CHECKING:
    from neuronkit.analysis.cost.report import CostReport


def as_text(report: CostReport) -> str:
    """A line, the graphs, the bound, and the instances."""
    tables = text_table(*_graph_rows(report)), text_table(*_instance_rows(report))
    return "\n".join(filter(None, [_headline(report), tables[0], _bound(report), tables[1]]))


def as_html(report: CostReport) -> str:
    """The same as HTML."""
    tables = html_table(*_graph_rows(report)), html_table(*_instance_rows(report))
    return f"<p>{_headline(report)}</p>{tables[0]}<p>{_bound(report)}</p>{tables[1]}"


def _headline(report: CostReport) -> str:
    return (
        f"target {report.target!r}: one of the {report.chip.cores} cores of {report.chip.name}, {report.precision}; "
        f"batch {report.batch_size}; {report.case}"
    )


def _graph_rows(report: CostReport) -> tuple[list[str], list[list[str]]]:
    header = ["graph", "runs", "GFLOP", "weights MB", "in + out MB", "unfused MB", "at least ms"]
    rows = [
        [
            name,
            str(cost.executions),
            *_numbers(
                cost.count.flops / 1e9,
                cost.count.weight_bytes / 1e6,
                cost.count.io_bytes / 1e6,
                cost.count.activation_bytes / 1e6,
                cost.roofline_ms_lower_bound,
            ),
        ]
        for name, cost in report.graphs.items()
    ]
    total = (report.flops / 1e9, report.weight_bytes / 1e6, report.io_bytes / 1e6, report.activation_bytes / 1e6)
    return header, [*rows, ["a call", "", *_numbers(*total, report.roofline_ms_lower_bound)]]


def _bound(report: CostReport) -> str:
    bound = "its products" if report.compute_ms >= report.memory_ms else "memory"
    return (
        f"Lower bound, not a prediction: a call takes at least {report.roofline_ms_lower_bound:.4g} ms on a core, "
        f"for {bound}; that is at most {report.inferences_per_second_upper_bound:.4g} inferences a second and core"
    )


def _instance_rows(report: CostReport) -> tuple[list[str], list[list[str]]]:
    header = ["instance", "cores", "$ an hour", "$ a million, at least", "reserved: $ an hour", "$ a million"]
    return header, [
        [
            name,
            str(cost.instance.cores),
            price_text(cost.instance),
            money(cost.usd_per_million_lower_bound),
            money(cost.instance.reserved_usd_per_hour),
            money(cost.reserved_usd_per_million_lower_bound),
        ]
        for name, cost in report.instances.items()
    ]


def _numbers(*values: float) -> list[str]:
    return [f"{value:.4g}" for value in values]
