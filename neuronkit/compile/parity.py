"""assert_parity: do two computations agree, and by how much."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuronkit import checks, tensors
from neuronkit.errors import NeuronKitError, OptionError, ParityError, SpecError
from neuronkit.report import Grid, Report
from neuronkit.shown import shown


@dataclass(frozen=True)
class OutputParity:
    """How one output of two computations compares, over all inputs.

    Attributes:
        name: Which output.
        shape: Its shape, of the first input.
        max_abs, mean_abs: Absolute error.
        max_rel, mean_rel: Error relative to the expected output's largest magnitude on the same input.
        sqnr_db: Signal to quantisation noise, 10 log10(signal power / error power), in dB; infinite when equal.
        argmax_agreement: Share of positions where the largest entry of the last dimension is the same one.
        worst_input: Index of the input with the largest excess over the tolerance.
        worst_position: Where in that output.
        finite: Whether every entry of the actual output is finite.
        within: Whether every entry is finite and within atol + rtol * |expected|, or the SQNR is high enough.
    """

    name: str
    shape: tuple[int, ...]
    max_abs: float
    mean_abs: float
    max_rel: float
    mean_rel: float
    sqnr_db: float
    argmax_agreement: float
    worst_input: int
    worst_position: tuple[int, ...]
    finite: bool
    within: bool


@dataclass(frozen=True, repr=False)
class ParityReport(Report):
    """The comparison of every output, and the tolerance.

    Attributes:
        outputs: One entry per output tensor.
        num_inputs: How many inputs were compared.
        rtol, atol: An entry passes when its error is at most atol + rtol * |expected|.
        task_agreement: Mean agreement of the decoded results, 0..1; None when no task was given.
        min_task_agreement: The least that passes.
        min_sqnr_db: SQNR from which an output passes whatever its largest error is; None where errors decide alone.

    Examples:
        >>> neuronkit.assert_parity(torch.sin, lambda x: x.sin(), torch.ones(3)).outputs[0].max_abs
        0.0
    """

    outputs: tuple[OutputParity, ...]
    num_inputs: int
    rtol: float
    atol: float
    task_agreement: float | None = None
    min_task_agreement: float = 1.0
    min_sqnr_db: float | None = None

    @property
    def passed(self) -> bool:
        """Whether every output is within tolerance, and the decoded results agree enough."""
        decoded = self.task_agreement is None or self.task_agreement >= self.min_task_agreement
        return all(output.within for output in self.outputs) and decoded

    def to_dict(self) -> dict[str, Any]:
        """All numbers, ready for JSON; an infinite ratio reads "inf"."""
        fields = asdict(self)
        for output in fields["outputs"]:
            output.update({k: str(v) for k, v in output.items() if isinstance(v, float) and not math.isfinite(v)})
        return {**fields, "passed": self.passed}

    def parts(self) -> list[str | Grid]:
        """The lines and grids that are shown."""
        verdict = "agree" if self.passed else "DISAGREE"
        header = ["output", "shape", "max abs", "mean abs", "max rel", "SQNR dB", "argmax", "worst at", "verdict"]
        task = [] if self.task_agreement is None else [f"decoded results agree by {self.task_agreement:.2%}"]
        return [
            f"{self.num_inputs} input{'s' * (self.num_inputs != 1)}, rtol {self.rtol:g}, atol {self.atol:g}: {verdict}",
            Grid(
                header,
                [_cells(output) for output in self.outputs],
                numbers=frozenset(range(2, 7)),
                marked=frozenset(i for i, output in enumerate(self.outputs) if not output.within),
            ),
            *task,
        ]


def _cells(output: OutputParity) -> list[str]:
    numbers = (f"{x:.3g}" for x in (output.max_abs, output.mean_abs, output.max_rel))
    position = ", ".join(map(str, output.worst_position))
    verdict = "within" if output.within else "out of tolerance" if output.finite else "NOT FINITE"
    return [
        output.name,
        " x ".join(map(str, output.shape)),
        *numbers,
        f"{output.sqnr_db:.1f}",
        f"{output.argmax_agreement:.2%}",
        f"input {output.worst_input} [{position}]",
        verdict,
    ]


def assert_parity(
    actual: Callable[..., Any],
    expected: Callable[..., Any],
    inputs: Iterable[Sequence[Tensor]],
    *,
    rtol: float = 1e-4,
    atol: float = 1e-5,
    task: Callable[[Any], Any] | None = None,
    agreement: Callable[[Any, Any], float] = operator.eq,
    min_task_agreement: float = 1.0,
    min_sqnr_db: float | None = None,
) -> ParityReport:
    """Call both on every input and compare what they give.

    Args:
        actual: The computation under test.
        expected: The one it must agree with.
        inputs: The argument tuples to call both with; the tensors of a single call may be given as they are.
        rtol: Tolerance relative to each expected entry.
        atol: Absolute tolerance.
        task: Turns outputs into decoded results, such as texts or boxes.
        agreement: How far two decoded results agree, 0..1: equality, or `neuronkit.ocr.metrics.box_f1` and
            `text_accuracy`.
        min_task_agreement: Mean agreement from which the decoded results pass.
        min_sqnr_db: Let an output also pass when it is finite and its SQNR over all inputs is at least this many dB:
            for computations in narrow types, where one decision between near equals changes everything after it.

    Returns:
        The report, when every output agrees.

    Raises:
        ParityError: If an output is not finite or out of tolerance, or decoded results disagree; carries the report.
        SpecError: If there are no inputs, or no outputs, or empty ones, or outputs of different number or shape.
        OptionError: If something to call cannot be called, or a tolerance is not a finite number of at least 0; or if
            `agreement` fails, or gives no number from 0 to 1.

    Examples:
        >>> neuronkit.assert_parity(torch.sin, torch.cos, torch.ones(3))
        Traceback (most recent call last):
        neuronkit.errors.ParityError: the results do not agree with the reference...
    """
    for name, function in {"actual": actual, "expected": expected, "agreement": agreement}.items():
        checks.callable_(name, function)
    if task is not None:
        checks.callable_("task", task)
    rtol, atol = checks.number("rtol", rtol, 0), checks.number("atol", atol, 0)
    min_task_agreement = checks.number("min_task_agreement", min_task_agreement, 0, 1)
    if min_sqnr_db is not None:
        min_sqnr_db = checks.number("min_sqnr_db", min_sqnr_db)
    calls = _argument_tuples(inputs)
    comparisons: list[list[_Comparison]] = []
    agreements: list[float] = []
    with torch.no_grad():
        for arguments in calls:
            got, wanted = actual(*arguments), expected(*arguments)
            comparisons.append(_compare(got, wanted, rtol, atol))
            if task is not None:
                agreements.append(_agreement(agreement, task(got), task(wanted)))
    if len({len(found) for found in comparisons}) > 1:
        counts = sorted({len(found) for found in comparisons})
        raise SpecError(
            f"got {counts} outputs for different inputs; expected as many for each; compare them separately"
        )
    columns = enumerate(zip(*comparisons))
    outputs = tuple(_summarise(f"output {i}", column, min_sqnr_db) for i, column in columns)
    mean_agreement = sum(agreements) / len(agreements) if agreements else None
    report = ParityReport(outputs, len(calls), rtol, atol, mean_agreement, min_task_agreement, min_sqnr_db)
    if not report.passed:
        raise ParityError(
            f"the results do not agree with the reference. {report}\n"
            "Look at the worst input first: a wrong rewrite, lost precision and non-finite values look different there",
            report,
        )
    return report


def _agreement(agreement: Callable[[Any, Any], Any], got: Any, wanted: Any) -> float:
    """How far two decoded results agree, 0..1."""
    try:
        given = agreement(got, wanted)
    except NeuronKitError:
        raise
    except Exception as error:
        raise OptionError(
            f"got agreement={shown(agreement)}, which fails on {shown(got)} and {shown(wanted)} ({shown(error)}); "
            "expected a function of two decoded results; give one that compares what `task` returns"
        ) from error
    share = math.nan
    # Arrays of several entries and whatever is not a number: refused below.
    with contextlib.suppress(Exception):
        share = math.nan if issubclass(type(given), (str, bytes, bytearray)) else float(given)
    # Sums of rounded shares may lie a little above 1.
    if not 0 <= share <= 1 + 1e-6:
        raise OptionError(
            f"got {shown(given)} from agreement; expected one number from 0 to 1, or True or False; give an agreement "
            "that compares the decoded results as a whole, such as neuronkit.ocr.metrics.text_accuracy"
        )
    return min(share, 1.0)


@dataclass(frozen=True)
class _Comparison:
    """One output tensor of one input: sums, so that inputs can be joined."""

    shape: tuple[int, ...]
    count: int
    max_abs: float
    sum_abs: float
    max_rel: float
    sum_rel: float
    signal: float
    noise: float
    same_argmax: int
    argmax_count: int
    excess: float
    position: tuple[int, ...]
    finite: bool


def _compare(got: Any, wanted: Any, rtol: float, atol: float) -> list[_Comparison]:
    actual, expected = _tensors(got), _tensors(wanted)
    shapes = [tuple(t.shape) for t in actual], [tuple(t.shape) for t in expected]
    if shapes[0] != shapes[1] or not expected:
        raise SpecError(
            f"outputs of shapes {shapes[0]} cannot be compared with {shapes[1]}; the two must match one to one"
        )
    return [_compare_tensor(a, e, rtol, atol) for a, e in zip(actual, expected)]


def _compare_tensor(actual: Tensor, expected: Tensor, rtol: float, atol: float) -> _Comparison:
    a, e = _dense(actual), _dense(expected)
    shape, finite = tuple(a.shape), bool(torch.isfinite(a).all() and torch.isfinite(e).all())
    if a.numel() == 0:
        raise SpecError(f"got an output of shape {shape}; expected one with entries; an empty one cannot be compared")
    error = (a - e).abs().nan_to_num(nan=math.inf)
    excess = (error - (atol + rtol * e.abs())).nan_to_num(nan=math.inf)
    worst = int(excess.argmax())
    scale = max(float(e.abs().nan_to_num(nan=math.inf).max()), 1e-30)
    a_rows, e_rows = (t.reshape(-1, t.shape[-1] if t.dim() else 1) for t in (a, e))
    return _Comparison(
        shape=shape,
        count=a.numel(),
        max_abs=float(error.max()),
        sum_abs=float(error.sum()),
        max_rel=float(error.max()) / scale,
        sum_rel=float(error.sum()) / scale,
        signal=float(e.square().sum()),
        noise=float(error.square().sum()),
        same_argmax=int((a_rows.argmax(-1) == e_rows.argmax(-1)).sum()),
        argmax_count=len(a_rows),
        excess=float(excess.max()),
        position=tuple(map(int, np.unravel_index(worst, shape))),
        finite=finite,
    )


def _summarise(name: str, column: Sequence[_Comparison], min_sqnr_db: float | None) -> OutputParity:
    worst = max(range(len(column)), key=lambda i: column[i].excess)
    count = max(1, sum(c.count for c in column))
    signal, noise = sum(c.signal for c in column), sum(c.noise for c in column)
    finite = all(c.finite for c in column)
    ratio = math.inf if noise == 0 else -math.inf
    if 0 < noise < math.inf:
        ratio = 10 * math.log10(max(signal, 1e-300) / noise)
    return OutputParity(
        name=name,
        shape=column[0].shape,
        max_abs=max(c.max_abs for c in column),
        mean_abs=sum(c.sum_abs for c in column) / count,
        max_rel=max(c.max_rel for c in column),
        mean_rel=sum(c.sum_rel for c in column) / count,
        sqnr_db=ratio,
        argmax_agreement=sum(c.same_argmax for c in column) / max(1, sum(c.argmax_count for c in column)),
        worst_input=worst,
        worst_position=column[worst].position,
        finite=finite,
        within=finite and (column[worst].excess <= 0 or (min_sqnr_db is not None and ratio >= min_sqnr_db)),
    )


def _argument_tuples(inputs: Iterable[Any]) -> list[tuple[Tensor, ...]]:
    calls = (
        [inputs] if isinstance(inputs, Tensor) else checks.items("inputs", inputs, "tuples of tensors", error=SpecError)
    )
    if calls and all(isinstance(item, Tensor) for item in calls):
        return [tuple(calls)]
    if not calls:
        raise SpecError("got no inputs; expected at least one tuple of tensors; give one for each call to compare")
    listed = [tuple(checks.items(f"inputs[{i}]", call, "tensors", error=SpecError)) for i, call in enumerate(calls)]
    if () in listed:
        raise SpecError(
            f"got inputs[{listed.index(())}]=(), without a tensor; expected what to call both with; give one tensor at "
            "least"
        )
    return listed


def _dense(output: Tensor) -> Tensor:
    dense = tensors.tensor("an output", output).detach().cpu()
    return (torch.view_as_real(dense) if dense.is_complex() else dense).double()


def _tensors(outputs: Any) -> list[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs]
    if isinstance(outputs, dict):
        return [t for value in outputs.values() for t in _tensors(value)]
    if isinstance(outputs, (list, tuple)):
        return [t for value in outputs for t in _tensors(value)]
    raise SpecError(
        f"output of type {type(outputs).__name__} cannot be compared; give tensors, or tuples, lists or dicts of them"
    )
