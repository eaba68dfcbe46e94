"""CostReport: the least time and money that a model takes on a chip."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from neuronkit.analysis.cost.counts import GraphCount, OperatorCount
from neuronkit.analysis.cost.hardware import (
    Chip,
    Instance,
    find_chip,
    find_instances,
    precision_on,
    stored_bytes,
)
from neuronkit.analysis.cost.workload import Workload
from neuronkit.options import Precision

NO_PRICE = "no public price"
Table = tuple[list[str], list[list[str]]]
"""A header, and rows of as many cells."""


@dataclass(frozen=True)
class GraphCost:
    """One execution of a graph on one core.

    Attributes:
        count: What it computes and moves.
        executions: How often a call runs it.
        compute_ms: Its products at the core's peak.
        memory_ms: Weights, inputs and outputs, each moved once, at the core's share of the bandwidth.
    """

    count: GraphCount
    executions: int
    compute_ms: float
    memory_ms: float

    @property
    def roofline_ms_lower_bound(self) -> float:
        """The longer of both: one execution takes no less."""
        return max(self.compute_ms, self.memory_ms)


@dataclass(frozen=True)
class InstanceCost:
    """The least that a million inferences cost on an instance all of whose cores are busy.

    Attributes:
        instance: Name, cores and price an hour.
        usd_per_million_lower_bound: On demand; None where no price is public.
        reserved_usd_per_million_lower_bound: At the effective price of a reserved instance, or None.
    """

    instance: Instance
    usd_per_million_lower_bound: float | None
    reserved_usd_per_million_lower_bound: float | None


@dataclass(frozen=True)
class CostReport:
    """A lower bound of what a call of a model takes on a chip.

    It is not a prediction: a roofline takes the chip's peak and its memory into account, and neither utilisation, nor
    activations that do not fit on the chip, nor launches, nor the host.

    Attributes:
        target: Name of the compile target.
        chip: Its figures.
        precision: What the cores multiply in.
        workload: What is computed, on whatever chip.
    """

    target: str
    chip: Chip
    precision: Precision
    workload: Workload

    @property
    def flops(self) -> int:
        """FLOPs of a call: matrix products and convolutions, 2 for each multiplication and addition."""
        return self._total(lambda graph: graph.flops)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights and constants of all graphs, in the model's own dtypes."""
        return sum(graph.weight_bytes for graph in self.workload.graphs.values())

    @property
    def io_bytes(self) -> int:
        """Bytes of the graphs' inputs and outputs in a call."""
        return self._total(lambda graph: graph.io_bytes)

    @property
    def activation_bytes(self) -> int:
        """Bytes that the operators of a call read and write beside weights, if nothing is fused.

        No bound uses it: a compiler that fuses moves far less.
        """
        return self._total(lambda graph: graph.activation_bytes)

    @property
    def batch_size(self) -> int:
        """Inferences of a call: its rows."""
        return self.workload.batch_size

    @property
    def executions(self) -> Mapping[str, int]:
        """Graph → how often a call runs it."""
        return self.workload.executions

    @property
    def case(self) -> str:
        """Where the numbers of executions come from."""
        return self.workload.case

    @property
    def operators(self) -> dict[str, OperatorCount]:
        """Operator kind → all its calls in one call of the model, those with most FLOPs first."""
        return self.workload.operators

    @property
    def graphs(self) -> dict[str, GraphCost]:
        """Name → one execution of each graph."""
        return {name: self._graph_cost(name, count) for name, count in self.workload.graphs.items()}

    @property
    def roofline_ms_lower_bound(self) -> float:
        """Least time of a call on one core, in milliseconds, while all cores share the chip's memory."""
        return sum(graph.executions * graph.roofline_ms_lower_bound for graph in self.graphs.values())

    @property
    def compute_ms(self) -> float:
        """Time of a call's products at one core's peak, in milliseconds."""
        return sum(graph.executions * graph.compute_ms for graph in self.graphs.values())

    @property
    def memory_ms(self) -> float:
        """Time to move weights, inputs and outputs of a call at one core's share of the bandwidth, in milliseconds."""
        return sum(graph.executions * graph.memory_ms for graph in self.graphs.values())

    @property
    def inferences_per_second_upper_bound(self) -> float:
        """Most inferences a second of one core."""
        return 1e3 * self.batch_size / self.roofline_ms_lower_bound

    @property
    def instances(self) -> dict[str, InstanceCost]:
        """Name → the least that a million inferences cost there."""
        found = find_instances(self.chip)
        return {
            instance.name: InstanceCost(
                instance,
                self._usd_per_million(instance, instance.usd_per_hour),
                self._usd_per_million(instance, instance.reserved_usd_per_hour),
            )
            for instance in found
        }

    def on(self, target: str, *, auto_cast: str | None = None, auto_cast_type: str | None = None) -> CostReport:
        """The same call on another target or in another precision, without running the model again.

        Raises:
            UnknownTargetError: If there is no such target.
            OptionError: If the target has no published figures, or an option does not fit it.
        """
        return cost_on(target, self.workload, Precision(auto_cast, auto_cast_type))

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        names = (
            "target", "case", "batch_size", "flops", "weight_bytes", "io_bytes", "activation_bytes", "compute_ms",
            "memory_ms", "roofline_ms_lower_bound", "inferences_per_second_upper_bound",
        )  # fmt: skip
        return {
            **{name: getattr(self, name) for name in names},
            "chip": {**asdict(self.chip), "tflops": dict(self.chip.tflops)},
            "precision": asdict(self.precision),
            "graphs": {
                name: {**asdict(cost), "roofline_ms_lower_bound": cost.roofline_ms_lower_bound}
                for name, cost in self.graphs.items()
            },
            "operators": {kind: asdict(count) for kind, count in self.operators.items()},
            "instances": {name: asdict(cost) for name, cost in self.instances.items()},
        }

    def __str__(self) -> str:
        return "\n".join(part if isinstance(part, str) else text_table(*part) for part in _parts(self))

    def _repr_html_(self) -> str:
        return "".join(
            f"<p>{html.escape(part)}</p>" if isinstance(part, str) else html_table(*part) for part in _parts(self)
        )

    def _total(self, value: Any) -> int:
        return sum(self.executions[name] * value(graph) for name, graph in self.workload.graphs.items())

    def _graph_cost(self, name: str, count: GraphCount) -> GraphCost:
        compute = sum(
            flops / self.chip.core_flops(dtype, self.precision) for dtype, flops in count.flops_by_dtype.items()
        )
        weights = sum(stored_bytes(dtype, size, self.precision) for dtype, size in count.weight_bytes_by_dtype.items())
        memory = (weights + count.io_bytes) / self.chip.core_bytes_per_second
        return GraphCost(count, self.executions[name], 1e3 * compute, 1e3 * memory)

    def _usd_per_million(self, instance: Instance, usd_per_hour: float | None) -> float | None:
        if usd_per_hour is None:
            return None
        per_hour = 3600 * instance.cores * self.inferences_per_second_upper_bound
        return usd_per_hour / per_hour * 1e6


def cost_on(target: str, workload: Workload, precision: Precision) -> CostReport:
    """What a workload takes on a target."""
    chip = find_chip(target)
    return CostReport(target, chip, precision_on(chip, precision), workload)


def _parts(report: CostReport) -> list[str | Table]:
    """What a report shows: a line, the graphs, the bound, and the instances where any is listed."""
    instances = _instance_rows(report)
    return [_headline(report), _graph_rows(report), _bound(report), *([instances] if instances[1] else [])]


def _headline(report: CostReport) -> str:
    return (
        f"target {report.target!r}: one of the {report.chip.cores} cores of {report.chip.name}, {report.precision}; "
        f"batch {report.batch_size}; {report.case}"
    )


def _graph_rows(report: CostReport) -> Table:
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


def _instance_rows(report: CostReport) -> Table:
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


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns two blanks apart, the first to the left and the others to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
        for row in (header, *rows)
    ]
    return "\n".join(line.rstrip() for line in lines)


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same as HTML."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def price_text(instance: Instance) -> str:
    """An hourly price, and whether it is the vendor's own."""
    if instance.usd_per_hour is None:
        return NO_PRICE
    return f"{instance.usd_per_hour:.4g}{'' if instance.official else ' (unofficial)'}"


def money(usd: float | None) -> str:
    """An amount to three digits, or that none is known."""
    return NO_PRICE if usd is None else f"{usd:.3g}"
