"""Models of one origin on the same inputs: how far they agree, and how long each of them takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from typing import Any

import torch

from neuronkit import checks
from neuronkit.artifact.model import CompiledModel
from neuronkit.compile.candidates import (
    Candidate,
    Outputs,
    candidate,
    check_same_origin,
    examples,
    named_models,
    same_results,
    sorted_inputs,
)
from neuronkit.compile.parity import ParityReport, assert_parity
from neuronkit.errors import ParityError, SpecError
from neuronkit.report import Grid, Report, number
from neuronkit.static.model import StaticModel

Model = CompiledModel | StaticModel | str | PathLike[str]


@dataclass(frozen=True)
class ComparedModel:
    """One of the models.

    Attributes:
        name: Its name.
        target: What it was compiled for; "original" for the original of a checkpoint or of a static model.
        parity: How its outputs and its results agree with the first model's; None for the first model. Without outputs
            where these have another form or size, so that results alone are compared.
        argmax_agreement: Share of places where the largest entry of the last dimension is the same one, or the token;
            None where outputs are not compared.
        seconds: Median time for all inputs.
        time_ratio: Median over the rounds of its time by the first model's.
    """

    name: str
    target: str
    parity: ParityReport | None
    argmax_agreement: float | None
    seconds: float
    time_ratio: float


@dataclass(frozen=True, repr=False)
class ModelComparison(Report):
    """The models, the first of which the others are compared with.

    Attributes:
        models: In the order in which they were given.
        num_inputs: How many inputs each ran on.
        rounds: How often the time was taken, all models in turns.
    """

    models: tuple[ComparedModel, ...]
    num_inputs: int
    rounds: int

    @property
    def passed(self) -> bool:
        """Whether every model agrees with the first."""
        return all(model.parity is None or model.parity.passed for model in self.models)

    def to_dict(self) -> dict[str, Any]:
        """All numbers, ready for JSON."""
        rows = [
            {**asdict(model), "parity": model.parity.to_dict() if model.parity else None, "passed": _passed(model)}
            for model in self.models
        ]
        return {**asdict(self), "models": rows, "passed": self.passed}

    def parts(self) -> list[str | Grid]:
        """The lines and grids that are shown."""
        verdict = "agree" if self.passed else "DISAGREE"
        header = ["model", "target", "max abs", "argmax", "results", "time", "verdict"]
        return [
            f"{len(self.models)} models, {self.num_inputs} input{'s' * (self.num_inputs != 1)}: {verdict}",
            Grid(
                header,
                [_cells(model) for model in self.models],
                numbers=frozenset(range(2, 6)),
                marked=frozenset(i for i, model in enumerate(self.models) if not _passed(model)),
            ),
        ]


def _passed(model: ComparedModel) -> bool:
    return model.parity is None or model.parity.passed


def _cells(model: ComparedModel) -> list[str]:
    ratio = number(model.time_ratio)
    if model.parity is None:
        return [model.name, model.target, "", "", "", ratio, "the first"]
    parity = model.parity
    worst = f"{max(o.max_abs for o in parity.outputs):.3g}" if parity.outputs else "-"
    argmax = "-" if model.argmax_agreement is None else f"{model.argmax_agreement:.2%}"
    results = "-" if parity.task_agreement is None else f"{parity.task_agreement:.2%}"
    return [model.name, model.target, worst, argmax, results, ratio, "agrees" if parity.passed else "DISAGREES"]


def compare_models(
    models: Mapping[str, Model] | Iterable[Model],
    inputs: Iterable[Any] | None = None,
    *,
    charset: str | None = None,
    rtol: float = 1e-4,
    atol: float = 1e-4,
    rounds: int = 3,
) -> ModelComparison:
    """Run models of one origin on the same inputs, and compare each with the first.

    They may differ in target, method, batch size and in what crosses their border: images as floats or bytes, logits or
    tokens, with features or without. Outputs that all of them have are compared; logits are compared with tokens as
    tokens. What has no meaning, behind the end of a word or beside the valid area of a canvas, is left out.

    Args:
        models: Artifacts (their paths, or compiled models), static models, for which their originals run, and paths of
            checkpoints of CRAFT or PARSeq; by name or one after the other. The first is not a checkpoint.
        inputs: Pictures, which each model's own processor prepares (pages for a detector, words for a recogniser);
            tensors, one or a tuple of them for a call; or paths of ``.npy`` files with the first input. None: three
            random ones.
        charset: For a checkpoint of PARSeq that does not state its characters.
        rtol: See `assert_parity`.
        atol: See `assert_parity`.
        rounds: How often the time is taken, all models in turns.

    Returns:
        The report, when every model agrees with the first.

    Raises:
        ParityError: If one does not; the message shows all of them, and `report` has the numbers of the first that
            does not.
        ArtifactError: If an artifact cannot be read.
        CheckpointError: If a file is neither an artifact nor a checkpoint.
        SpecError: If there are fewer than two models, they have other roles or characters, the inputs do not fit, or
            there is nothing to compare.
        OptionError: If a tolerance or `rounds` is no such number.

    Examples:
        >>> static = neuronkit.make_static(parseq, batch_size=2)
        >>> compiled = neuronkit.compile_for_inferentia(static, target="cpu")
        >>> neuronkit.compare_models([compiled, static]).models[1].parity.task_agreement
        1.0
    """
    rounds = checks.integer("rounds", rounds, 1, 1000)
    candidates, manifest = _candidates(models, charset)
    given = _inputs(inputs, candidates[0], manifest)
    calls = sorted_inputs(given)
    runs = [_Run(c, [c.prepare(x) for x in calls]) for c in candidates]
    with torch.no_grad():
        for run in runs:
            run.compute()
        for _ in range(rounds):
            for run in runs:
                run.time()
    rows = [ComparedModel(runs[0].name, candidates[0].target, None, None, statistics.median(runs[0].seconds), 1.0)]
    rows += [_compared(run, runs[0], rtol, atol) for run in runs[1:]]
    comparison = ModelComparison(tuple(rows), len(given), rounds)
    for row in rows:
        if row.parity is not None and not row.parity.passed:
            raise ParityError(f"{row.name} does not agree with {rows[0].name}. {comparison}", row.parity)
    return comparison


def _candidates(models: Any, charset: str | None) -> tuple[list[Candidate], Mapping[str, Any]]:
    """The models as they are compared, and the manifest of the first one, where it has any."""
    listed = named_models(models)
    candidates: list[Candidate] = []
    for name, model in listed:
        candidates.append(candidate(name, model, candidates[0] if candidates else None, charset))
    for other in candidates[1:]:
        check_same_origin(other, candidates[0])
    return candidates, getattr(listed[0][1], "manifest", {})


def _inputs(inputs: Iterable[Any] | None, first: Candidate, manifest: Mapping[str, Any]) -> list[Any]:
    """What was given, or three random examples of the first model's inputs."""
    if inputs is None:
        return [examples(first, manifest, seed) for seed in range(0, 30, 10)]
    given = checks.items("inputs", inputs, "pictures, tensors or paths", error=SpecError)
    if not given:
        raise SpecError("got no inputs; expected at least one; give pictures, tensors or paths of .npy files")
    return given


class _Run:
    """A model on all inputs.

    Args:
        model: The model.
        cases: The inputs as it takes them, each with what its processor needs to read the results.

    Attributes:
        outputs: For each input what it gave, by name.
        results: For each input what was read of it; None where it cannot be.
        seconds: What all inputs took, for each round.
    """

    def __init__(self, model: Candidate, cases: Sequence[tuple[Any, Any]]) -> None:
        self.model, self.cases, self.name = model, cases, model.name
        self.outputs: list[Outputs] = []
        self.results: list[list[Any] | None] = []
        self.seconds: list[float] = []

    def compute(self) -> None:
        """Run every input once."""
        for x, boxes in self.cases:
            self.outputs.append(self.model.outputs(self.model.call(x), x))
            self.results.append(self.model.read(self.outputs[-1], boxes))

    def time(self) -> None:
        """Run every input once more, and note the time."""
        begin = time.perf_counter()
        for x, _ in self.cases:
            self.model.call(x)
        self.seconds.append(time.perf_counter() - begin)


def _compared(ours: _Run, first: _Run, rtol: float, atol: float) -> ComparedModel:
    """A model's row: its outputs, its results and its time beside the first one's."""
    report, argmax = _parity(ours, first, rtol, atol)
    if None not in (*ours.results, *first.results):
        role = first.model.interface.role
        shares = [same_results(a, b, role) for a, b in zip(ours.results, first.results)]  # type: ignore[arg-type]
        report = replace(report, task_agreement=sum(shares) / len(shares))
    if not report.outputs and report.task_agreement is None:
        raise SpecError(
            f"got {ours.name}, which gives {', '.join(ours.outputs[0])}, to compare with "
            f"{', '.join(first.outputs[0])} of {first.name}; expected an output in common, of the same size; give "
            "pictures, whose results can be compared"
        )
    ratio = statistics.median(a / b for a, b in zip(ours.seconds, first.seconds))
    return ComparedModel(ours.name, ours.model.target, report, argmax, statistics.median(ours.seconds), ratio)


def _parity(ours: _Run, first: _Run, rtol: float, atol: float) -> tuple[ParityReport, float | None]:
    """How the outputs agree, of those that both have, in the same size; and their largest entries or tokens."""
    outputs, others = ours.outputs, first.outputs
    tokens = any("tokens" in found[0] for found in (outputs, others))
    if tokens:
        outputs, others = ([run.model.as_tokens(o) for o in run.outputs] for run in (ours, first))
    shared = [
        name
        for name, tensor in outputs[0].items()
        if name in others[0] and all(o[name].shape == t[name].shape for o, t in zip(outputs, others))
    ]
    if not shared:
        return ParityReport((), len(outputs), rtol, atol), None
    pairs = [tuple({n: o[n] for n in shared} for o in pair) for pair in zip(outputs, others)]
    calls = [(torch.tensor(i),) for i in range(len(pairs))]
    try:
        report = assert_parity(lambda i: pairs[i][0], lambda i: pairs[i][1], calls, rtol=rtol, atol=atol)
    except ParityError as error:
        # The caller raises it, once all models are compared.
        report = error.report
    named = tuple(replace(output, name=name) for output, name in zip(report.outputs, shared))
    argmax = min(output.argmax_agreement for output in named)
    if tokens and "tokens" in shared:
        argmax = sum(float((a["tokens"] == b["tokens"]).float().mean()) for a, b in pairs) / len(pairs)
    return replace(report, outputs=named), argmax
