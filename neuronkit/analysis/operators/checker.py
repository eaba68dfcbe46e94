"""analyze(): which of a model's operators a target takes, before any compiler starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from torch import Tensor, nn

from neuronkit import checks
from neuronkit.analysis.operators.report import OperatorReport, Problem, Status
from neuronkit.analysis.operators.rules import AnyOperator, Judgement, Rules, TorchNeuron, rewrite_of
from neuronkit.analysis.operators.xla_rules import TorchNeuronNative, TorchXla
from neuronkit.capture.graphs import TracedGraph, trace_graph
from neuronkit.errors import OptionError, SpecError, UnsupportedOperatorError
from neuronkit.options import check_operator_kinds
from neuronkit.shown import shown
from neuronkit.specs import TensorSpec
from neuronkit.static.families import way_in
from neuronkit.static.model import as_static
from neuronkit.targets import find_target

_RULES: dict[str, type[Rules]] = {
    "any": AnyOperator,
    "torch-neuron": TorchNeuron,
    "torch-xla": TorchXla,
    "torch-neuron-native": TorchNeuronNative,
}
_MOST_PLACES = 20
_WORST: tuple[Status, ...] = ("supported", "limited", "unsupported")


def analyze(
    model: nn.Module,
    example_inputs: Tensor | TensorSpec | Iterable[Tensor | TensorSpec] | None = None,
    *,
    target: str,
    op_whitelist: Sequence[str] = (),
    cpu_operators: Sequence[str] = (),
) -> OperatorReport:
    """Count a model's operators and say which of them a target takes.

    The counts are those of the traced and inlined graph, as the SDK's own compile log prints them. The model is
    copied, never changed; its modes stay as they are.

    Args:
        model: Any module, or a `StaticModel`, over whose graphs the counts are summed.
        example_inputs: Tensors or specs, in the order of `forward`; None for a `StaticModel`, which has its own.
        target: Name of a compile target.
        op_whitelist: Operator kinds that the caller vouches for.
        cpu_operators: Operator kinds that stay on the host's CPU.

    Returns:
        The report: counts, verdicts and problems, with module and source line of each problem.

    Raises:
        UnknownTargetError: If there is no such target.
        UnknownModelError: If the model is not a module.
        SpecError: If inputs are missing, or the model fails on them.
        OptionError: If an operator kind is not written as one.

    Examples:
        >>> report = neuronkit.analyze(torch.nn.Embedding(4, 2), torch.zeros(1, dtype=torch.int32), target="inf1")
        >>> report.unsupported
        {'aten::embedding': 1}
    """
    op_whitelist = check_operator_kinds("op_whitelist", op_whitelist)
    cpu_operators = check_operator_kinds("cpu_operators", cpu_operators)
    found = find_target(target)
    static = as_static(model, example_inputs).for_target(is_neuron=found.is_neuron)
    advice = way_in(model)
    traced = [_trace(name, *graph, advice) for name, graph in static.graphs(found.rules).items()]
    report = _report(target, _RULES[found.rules](), traced).allowing(op_whitelist, cpu_operators)
    return replace(report, advice=f"{advice}: analyze that. This report is on the model as it is" if advice else "")


def check_operators(
    report: OperatorReport,
    op_whitelist: Sequence[str] = (),
    cpu_operators: Sequence[str] = (),
    *,
    cpu_fallback: bool = False,
) -> None:
    """Raise unless everything in the report is supported, vouched for, or left on the CPU.

    Args:
        report: What `analyze` gave.
        op_whitelist: Operator kinds that the caller vouches for.
        cpu_operators: Operator kinds that stay on the host's CPU.
        cpu_fallback: Every operator may stay on the host's CPU. Dtypes and values that Python reads may not.

    Raises:
        OptionError: If `report` is none, or an operator kind is not written as one.
        UnsupportedOperatorError: Naming each operator with its count, module and source line.

    Examples:
        >>> report = neuronkit.analyze(torch.nn.ReLU(), torch.zeros(2), target="inf1")
        >>> neuronkit.analysis.check_operators(report)
    """
    if not isinstance(report, OperatorReport):
        raise OptionError(f"got report={shown(report)}; expected what neuronkit.analyze gave; give that")
    op_whitelist = check_operator_kinds("op_whitelist", op_whitelist)
    cpu_operators = check_operator_kinds("cpu_operators", cpu_operators)
    cpu_fallback = checks.flag("cpu_fallback", cpu_fallback)
    problems = report.allowing(op_whitelist, cpu_operators).problems
    if cpu_fallback:
        problems = tuple(problem for problem in problems if problem.nature != "operator")
    if not problems:
        return
    lines = "\n".join(f"  {problem}" for problem in problems[:_MOST_PLACES])
    if len(problems) > _MOST_PLACES:
        lines += f"\n  ... and {len(problems) - _MOST_PLACES} more places; neuronkit.analyze lists them all"
    kinds = sorted({p.kind for p in problems if p.nature == "operator"})
    advice = "rewrite these places"
    if kinds:
        advice += (
            f", or let operators through: op_whitelist={kinds!r} if the compiler takes them after all, "
            f"CompileOptions(cpu_operators={kinds!r}) to leave them on the host"
        )
    raise UnsupportedOperatorError(
        f"target {report.target!r} does not take this model in {len(problems)} place(s) "
        f"(according to {report.basis}):\n{lines}\nNext: {advice}"
    )


def _trace(name: str, module: nn.Module, specs: tuple[TensorSpec, ...], advice: str) -> TracedGraph:
    try:
        return trace_graph(name, module, specs)
    except Exception as error:
        given = ", ".join(map(str, specs))
        raise SpecError(
            f"graph {name!r} cannot be traced on {given}: {error}{f'. Instead: {advice}' if advice else ''}"
        ) from error


def _report(target: str, rules: Rules, graphs: Iterable[TracedGraph]) -> OperatorReport:
    counts: Counter[str] = Counter()
    instructions: Counter[str] = Counter()
    statuses: dict[str, Status] = {}
    conditions: dict[str, str] = {}
    problems: Counter[Problem] = Counter()
    notes: list[str] = []
    for graph in graphs:
        graph, judgement = _judge(rules, graph)
        for operator, verdict in zip(graph.operators, judgement.verdicts):
            counts[operator.kind] += 1
            statuses[operator.kind] = max(verdict.status, statuses.get(operator.kind, "supported"), key=_WORST.index)
            if verdict.status == "limited":
                conditions[operator.kind] = verdict.reason
        problems.update(_problems(rules, graph, judgement))
        instructions.update(judgement.instructions)
        notes += [f"graph {graph.name!r}: {note}" for note in judgement.notes]
    return OperatorReport(
        target=target,
        basis=rules.basis,
        counts=dict(sorted(counts.items())),
        statuses=statuses,
        problems=tuple(replace(problem, count=count) for problem, count in problems.items()),
        conditions=conditions,
        instructions=dict(instructions.most_common()),
        notes=tuple(notes),
    )


def _judge(rules: Rules, graph: TracedGraph) -> tuple[TracedGraph, Judgement]:
    """The judgement, on a graph with exact source lines where there is anything to point at."""
    if rules.needs_parts:
        graph = graph.detailed()
    judgement = rules.judge(graph)
    pointed = any(v.status == "unsupported" for v in judgement.verdicts) or any(
        map(rules.rejected_value, graph.operators)
    )
    if (pointed or any(rules.rejected_dtypes(graph))) and not rules.needs_parts:
        graph = graph.detailed()
    return graph, judgement


def _problems(rules: Rules, graph: TracedGraph, judgement: Judgement) -> Iterator[Problem]:
    """Every problem once per occurrence, with a count of 1."""
    for dtype, reason, operator in rules.rejected_dtypes(graph):
        place = (graph.name, operator.module, operator.location) if operator else (graph.name, "", "")
        yield Problem(dtype, "dtype", 1, *place, reason, rewrite_of(dtype))
    for operator, verdict in zip(graph.operators, judgement.verdicts):
        place = (graph.name, operator.module, operator.location)
        if verdict.status == "unsupported":
            yield Problem(operator.kind, "operator", 1, *place, verdict.reason, rewrite_of(operator.kind))
        rejected = rules.rejected_value(operator)
        if rejected is not None:
            yield Problem(rejected, "dtype", 1, *place, f"{operator.kind} gives {rejected}", rewrite_of(rejected))
    for kind, reason in judgement.strays:
        yield Problem(kind, "operator", 1, graph.name, "", "", reason, rewrite_of(kind))
    for escape in graph.escapes:
        reason = "a value computed from the inputs decides what Python does next; a fixed graph cannot follow"
        place = (graph.name, escape.module, escape.location)
        yield Problem(escape.call, "value", 1, *place, reason, rewrite_of(escape.call))
