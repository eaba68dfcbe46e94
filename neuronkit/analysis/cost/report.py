"""CostReport: the least time and money that a model takes on a chip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from neuronkit import checks
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
from neuronkit.report import Grid, Report, number, size

NO_PRICE = "no public price"


@dataclass(frozen=True)
class GraphCost:
    """One execution of a graph on one core.

    Attributes:
        count: What it computes and moves.
        executions: How often a call of the model runs it; on average, where that is not a whole number.
        compute_ms: Its products at the core's peak.
        memory_ms: Weights, inputs and outputs, each moved once, at the core's share of the bandwidth.
        link_ms: Its inputs, or its outputs where they are more, over the host link; None where no bandwidth was given.
    """

    count: GraphCount
    executions: float
    compute_ms: float
    memory_ms: float
    link_ms: float | None

    @property
    def roofline_ms_lower_bound(self) -> float:
        """The longest of these: one execution takes no less."""
        return max(self.compute_ms, self.memory_ms, self.link_ms or 0.0)


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


@dataclass(frozen=True, repr=False)
class CostReport(Report):
    """A lower bound of what a call of a model takes on a chip.

    It is not a prediction: a roofline takes the chip's peak and its memory into account, and neither utilisation, nor
    activations that do not fit on the chip, nor launches, nor the host.

    Attributes:
        target: Name of the compile target.
        chip: Its figures.
        precision: What the cores multiply in.
        workload: What is computed, on whatever chip.
        link_gb_s: 10^9 bytes a second over the host link, in each direction, as the caller gave it; or None.

    Examples:
        >>> report = neuronkit.estimate(torch.nn.Linear(8, 4), torch.zeros(2, 8), target="inf2")
        >>> report.flops, report.device_calls
        (128, 1)
    """

    target: str
    chip: Chip
    precision: Precision
    workload: Workload
    link_gb_s: float | None = None

    @property
    def flops(self) -> int:
        """FLOPs of a call: matrix products and convolutions, 2 for each multiplication and addition."""
        return self._total(lambda graph: graph.flops)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights and constants of all graphs, in the model's own dtypes."""
        return sum(graph.weight_bytes for graph in self.workload.graphs.values())

    @property
    def input_bytes(self) -> int:
        """Bytes that the host sends to the graphs in a call."""
        return self._total(lambda graph: graph.input_bytes)

    @property
    def output_bytes(self) -> int:
        """Bytes that the graphs send to the host in a call."""
        return self._total(lambda graph: graph.output_bytes)

    @property
    def io_bytes(self) -> int:
        """Bytes of the graphs' inputs and outputs in a call: all of them cross the host link."""
        return self._total(lambda graph: graph.io_bytes)

    @property
    def device_calls(self) -> float:
        """Executions of graphs in a call: each is a launch, with its inputs sent and its outputs awaited."""
        return sum(self.executions.values())

    @property
    def activation_bytes(self) -> int:
        """Bytes that the operators of a call read and write besides weights, if nothing is fused.

        No bound uses it: a compiler that fuses moves far less.
        """
        return self._total(lambda graph: graph.activation_bytes)

    @property
    def batch_size(self) -> int:
        """Inferences of a call: its rows."""
        return self.workload.batch_size

    @property
    def executions(self) -> Mapping[str, float]:
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
        return self._sum("roofline_ms_lower_bound")

    @property
    def compute_ms(self) -> float:
        """Time of a call's products at one core's peak, in milliseconds."""
        return self._sum("compute_ms")

    @property
    def memory_ms(self) -> float:
        """Time to move weights, inputs and outputs of a call at one core's share of the bandwidth, in milliseconds."""
        return self._sum("memory_ms")

    @property
    def link_ms(self) -> float | None:
        """Time of a call's transfers over the host link, in milliseconds; None where no bandwidth was given."""
        return None if self.link_gb_s is None else self._sum("link_ms")

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

    def on(
        self,
        target: str,
        *,
        auto_cast: str | None = None,
        auto_cast_type: str | None = None,
        link_gb_s: float | None = None,
    ) -> CostReport:
        """The same call on another target, in another precision or over another link, without running the model again.

        Raises:
            UnknownTargetError: If there is no such target.
            OptionError: If the target has no published figures, or an option does not fit it.
        """
        return cost_on(target, self.workload, Precision(auto_cast, auto_cast_type), link_gb_s)

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        names = (
            "target", "case", "batch_size", "flops", "weight_bytes", "input_bytes", "output_bytes", "io_bytes",
            "activation_bytes", "device_calls", "compute_ms", "memory_ms", "link_gb_s", "link_ms",
            "roofline_ms_lower_bound", "inferences_per_second_upper_bound",
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

    def parts(self) -> Iterable[str | Grid]:
        """The case, the graphs, what crosses the host link, the bound, and the instances where any is listed."""
        instances = _instances(self)
        return [_headline(self), _graphs(self), _link(self), _bound(self), *([instances] if instances.rows else [])]

    def _total(self, value: Any) -> int:
        return round(sum(self.executions[name] * value(graph) for name, graph in self.workload.graphs.items()))

    def _sum(self, name: str) -> float:
        return float(sum(graph.executions * getattr(graph, name) for graph in self.graphs.values()))

    def _graph_cost(self, name: str, count: GraphCount) -> GraphCost:
        compute = sum(
            flops / self.chip.core_flops(dtype, self.precision) for dtype, flops in count.flops_by_dtype.items()
        )
        weights = sum(stored_bytes(dtype, size, self.precision) for dtype, size in count.weight_bytes_by_dtype.items())
        memory = (weights + count.io_bytes) / self.chip.core_bytes_per_second
        link = None if self.link_gb_s is None else max(count.input_bytes, count.output_bytes) / self.link_gb_s / 1e6
        return GraphCost(count, self.executions[name], 1e3 * compute, 1e3 * memory, link)

    def _usd_per_million(self, instance: Instance, usd_per_hour: float | None) -> float | None:
        if usd_per_hour is None:
            return None
        per_hour = 3600 * instance.cores * self.inferences_per_second_upper_bound
        return usd_per_hour / per_hour * 1e6


def cost_on(target: str, workload: Workload, precision: Precision, link_gb_s: float | None) -> CostReport:
    """Estimate time and memory of a workload on a target.

    Raises:
        OptionError: If the bandwidth is not a positive number, or the target has no such figures.
    """
    chip = find_chip(target)
    return CostReport(target, chip, precision_on(chip, precision), workload, check_link(link_gb_s))


def check_link(link_gb_s: Any) -> float | None:
    """The bandwidth of the host link, or None.

    Raises:
        OptionError: If it is not a positive number.
    """
    return None if link_gb_s is None else checks.number("link_gb_s", link_gb_s, 0, 1e6, open_low=True)


def _headline(report: CostReport) -> str:
    return (
        f"target {report.target!r}: one of the {report.chip.cores} cores of {report.chip.name}, {report.precision}; "
        f"batch {report.batch_size}; {report.case}"
    )


def _graphs(report: CostReport) -> Grid:
    header = ["graph", "runs", "GFLOP", "weights", "in", "out", "unfused", "at least ms"]
    rows = [
        _graph_row(name, number(cost.executions), cost.count, cost.roofline_ms_lower_bound)
        for name, cost in report.graphs.items()
    ]
    total = _graph_row("a call", number(report.device_calls), report, report.roofline_ms_lower_bound)
    return Grid(header, [*rows, total], frozenset(range(1, len(header))))


def _graph_row(name: str, runs: str, count: GraphCount | CostReport, ms: float) -> list[str]:
    sizes = (count.weight_bytes, count.input_bytes, count.output_bytes, count.activation_bytes)
    return [name, runs, number(count.flops / 1e9), *map(size, sizes), number(ms)]


def _link(report: CostReport) -> str:
    calls = report.device_calls
    text = (
        f"Over the host link: {size(report.input_bytes)} in and {size(report.output_bytes)} out, in {number(calls)} "
        f"device call{'s' if calls != 1 else ''}; {size(report.io_bytes / report.batch_size)} an inference"
    )
    if report.link_ms is None:
        return text
    return (
        f"{text}; at {number(float(report.link_gb_s or 0))} GB/s in each direction at least {number(report.link_ms)} ms"
    )


def _bound(report: CostReport) -> str:
    times = {
        "its products": report.compute_ms,
        "the chip's memory": report.memory_ms,
        "the host link": report.link_ms or 0.0,
    }
    return (
        f"Lower bound, not a prediction: a call takes at least {number(report.roofline_ms_lower_bound)} ms on a core, "
        f"for {max(times, key=lambda name: times[name])}; that is at most "
        f"{number(report.inferences_per_second_upper_bound)} inferences a second and core"
    )


def _instances(report: CostReport) -> Grid:
    header = ["instance", "cores", "$ an hour", "$ a million, at least", "reserved: $ an hour", "$ a million"]
    rows = [
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
    return Grid(header, rows, frozenset(range(1, len(header))))


def price_text(instance: Instance) -> str:
    """An hourly price, and whether it is the vendor's own."""
    if instance.usd_per_hour is None:
        return NO_PRICE
    return f"{instance.usd_per_hour:.4g}{'' if instance.official else ' (unofficial)'}"


def money(usd: float | None) -> str:
    """An amount to three digits, or that none is known."""
    return NO_PRICE if usd is None else number(usd)
