"""OperatorReport: which of a model's operators a target takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from neuronkit import checks
from neuronkit.options import check_operator_kinds
from neuronkit.report import Grid, Report, number

Status = Literal["supported", "limited", "unsupported", "whitelisted", "cpu"]
# An operator can be vouched for or left on the CPU; a dtype or a value that Python reads cannot.
Nature = Literal["operator", "dtype", "value"]


@dataclass(frozen=True)
class Problem:
    """Something in a graph that the target does not take.

    Attributes:
        kind: Operator kind (``"aten::embedding"``), dtype (``"complex64"``) or call (``"Tensor.item"``).
        nature: "operator", "dtype", or "value" where Python reads a value computed from the inputs.
        count: How often it occurs at this place.
        graph: Name of the graph that holds it.
        module: Path of the submodule, as in ``named_modules()``; empty for the graph's own module.
        location: ``file:line`` of the model's code, empty where it is not known.
        reason: Why the target does not take it.
        rewrite: What to write instead, empty where nothing is known.

    Examples:
        >>> report = neuronkit.analyze(torch.nn.Embedding(4, 2), torch.zeros(1, dtype=torch.int32), target="inf1")
        >>> report.problems[0].kind
        'aten::embedding'
    """

    kind: str
    nature: Nature
    count: int
    graph: str
    module: str
    location: str
    reason: str
    rewrite: str = ""

    def __str__(self) -> str:
        place = f"in {self.module or 'the top module'} of graph {self.graph!r}"
        line = f", {self.location}" if self.location else ""
        rewrite = f". Instead: {self.rewrite}" if self.rewrite else ""
        return f"{self.kind} × {self.count} {place}{line}: {self.reason}{rewrite}"


@dataclass(frozen=True, repr=False)
class OperatorReport(Report):
    """Operators of a model, and which of them a target takes.

    Attributes:
        target: Name of the target.
        basis: What the verdicts rest on, such as the SDK's own list or the packaged table.
        counts: Operator kind → count, summed over graphs and nested blocks; the graph's bookkeeping is not counted.
        statuses: Operator kind → "supported", "limited", "unsupported", "whitelisted" or "cpu".
        problems: Everything that the target does not take and the caller did not let through.
        conditions: Kind → the condition of a limited operator.
        instructions: HLO instructions by kind, summed over the graphs; empty where nothing was lowered.
        notes: What is worth knowing and no reason to refuse.
        advice: What to look at instead, where the model is of a family of `make_static`.

    Examples:
        >>> neuronkit.analyze(torch.nn.ReLU(), torch.zeros(2), target="inf1").supported_fraction
        1.0
    """

    target: str
    basis: str
    counts: Mapping[str, int]
    statuses: Mapping[str, Status]
    problems: tuple[Problem, ...]
    conditions: Mapping[str, str]
    instructions: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    advice: str = ""

    @property
    def total(self) -> int:
        """Number of operators."""
        return sum(self.counts.values())

    @property
    def unsupported(self) -> dict[str, int]:
        """Operator kind → count of the calls that the target does not take and the caller did not let through."""
        found: Counter[str] = Counter()
        for problem in self.problems:
            if problem.nature == "operator":
                found[problem.kind] += problem.count
        return dict(sorted(found.items()))

    @property
    def supported_fraction(self) -> float:
        """Share of the operators that the target computes, 0..1; those that the caller vouches for included."""
        refused = sum(count for kind, count in self.unsupported.items() if kind in self.counts)
        on_device = self.total - refused - sum(self.having("cpu").values())
        return on_device / self.total if self.total else 1.0

    def having(self, status: Status) -> dict[str, int]:
        """Operator kind → count of the kinds of that status; one unsupported call makes a kind unsupported.

        Raises:
            OptionError: If there is no such status.
        """
        status = checks.choice("status", status, get_args(Status))
        return {kind: count for kind, count in self.counts.items() if self.statuses[kind] == status}

    def allowing(self, op_whitelist: tuple[str, ...] = (), cpu_operators: tuple[str, ...] = ()) -> OperatorReport:
        """The same report, with further operator kinds vouched for or left on the CPU.

        Raises:
            OptionError: If an operator kind is not written as one.
        """
        op_whitelist = check_operator_kinds("op_whitelist", op_whitelist)
        cpu_operators = check_operator_kinds("cpu_operators", cpu_operators)
        allowed: dict[str, Status] = {
            **dict.fromkeys(op_whitelist, "whitelisted"),
            **dict.fromkeys(cpu_operators, "cpu"),
        }
        statuses = {kind: self._status(kind, allowed) for kind in self.counts}
        problems = tuple(p for p in self.problems if p.nature != "operator" or p.kind not in allowed)
        return replace(self, statuses=statuses, problems=problems)

    def _status(self, kind: str, allowed: Mapping[str, Status]) -> Status:
        status = self.statuses[kind]
        choice = allowed.get(kind, status)
        # Vouching for what is supported anyway changes nothing; sending it to the CPU does.
        return status if choice == "whitelisted" and status == "supported" else choice

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "advice": self.advice,
            "target": self.target,
            "basis": self.basis,
            "total": self.total,
            "supported_fraction": self.supported_fraction,
            "counts": dict(self.counts),
            "statuses": dict(self.statuses),
            "unsupported": self.unsupported,
            "conditions": dict(self.conditions),
            "instructions": dict(self.instructions),
            "notes": list(self.notes),
            "problems": [asdict(problem) for problem in self.problems],
        }

    def parts(self) -> list[str | Grid]:
        """The lines and grids that are shown; calls that the target does not take are marked."""
        unsupported = self.unsupported
        rows = [[kind, number(count), self._remark(kind)] for kind, count in self.counts.items()]
        return [
            *([self.advice] if self.advice else []),
            self._headline(),
            Grid(
                ["operator", "count", "verdict"],
                rows,
                numbers=frozenset([1]),
                marked=frozenset(i for i, kind in enumerate(self.counts) if kind in unsupported),
            ),
            *(f"Problem: {problem}" for problem in self.problems),
            *(f"Note: {note}" for note in self.notes),
        ]

    def _headline(self) -> str:
        return (
            f"{self.total} operators of {len(self.counts)} kinds, {100 * self.supported_fraction:.2f} % supported by "
            f"target {self.target!r}, according to {self.basis}"
        )

    def _remark(self, kind: str) -> str:
        condition = self.conditions.get(kind)
        return f"{self.statuses[kind]}: {condition}" if condition else self.statuses[kind]
