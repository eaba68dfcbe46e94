"""What one call of a model amounts to: its graphs, and how often each runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from neuronkit import checks
from neuronkit.analysis.cost.counts import GraphCount, OperatorCount, count_graph
from neuronkit.errors import OptionError, SpecError
from neuronkit.report import number
from neuronkit.static.decoding.decoding import Decoding
from neuronkit.static.decoding.methods import find_method
from neuronkit.static.model import Graphs, StaticModel

# More than any loop of a model runs.
_MOST = 1_000_000
Passes = float | str | Mapping[str, float] | None


@dataclass(frozen=True)
class Workload:
    """One call of a model, on no machine in particular.

    Attributes:
        graphs: Name → one execution of each graph.
        executions: Name → how often a call runs it; on average, where that is not a whole number.
        case: Where the numbers of executions come from, in words.
        batch_size: Rows of a call, each of which counts as an inference.
    """

    graphs: Mapping[str, GraphCount]
    executions: Mapping[str, float]
    case: str
    batch_size: int

    @property
    def operators(self) -> dict[str, OperatorCount]:
        """Operator kind → all its calls in one call of the model."""
        total: dict[str, OperatorCount] = {}
        for name, graph in self.graphs.items():
            for kind, count in graph.operators.items():
                total[kind] = total.get(kind, OperatorCount()) + count.times(self.executions[name])
        return dict(sorted(total.items(), key=lambda item: (-item[1].flops, item[0])))


def measure(model: StaticModel, passes: Passes) -> Workload:
    """Run a model once, and count.

    Raises:
        SpecError: If the model fails on its inputs.
        OptionError: If `passes` does not fit the model.
    """
    graphs = model.graphs()
    with model.failures_named():
        counts, runs = _run(model, graphs)
    batch_size = model.specs[0].shape[0] if model.specs and model.specs[0].shape else 1
    if batch_size == 0:
        raise SpecError("the first input has no rows, and each row is an inference; give at least one")
    once = list(runs.values()) == [1]
    case = "one graph, run once" if once else "as on the example inputs"
    executions: Mapping[str, float] = runs
    if passes is not None:
        executions, case = _with_passes(model, graphs, runs, passes)
    return Workload(counts, executions, case, batch_size)


def _run(model: StaticModel, graphs: Graphs) -> tuple[dict[str, GraphCount], dict[str, int]]:
    """Run the joined graphs on the example inputs; count each graph's first execution."""
    counts: dict[str, GraphCount] = {}
    executions: Counter[str] = Counter(dict.fromkeys(graphs, 0))

    def watched(name: str, module: nn.Module) -> Callable[..., Any]:
        def call(*inputs: Tensor) -> Any:
            executions[name] += 1
            if name in counts:
                return module(*inputs)
            outputs, counts[name] = count_graph(module, inputs)
            return outputs

        return call

    with torch.no_grad():
        inputs = [x.detach().cpu() for x in model.example_inputs()]
        model.join({name: watched(name, module) for name, (module, _) in graphs.items()})(*inputs)
    for name, (module, specs) in graphs.items():
        if name not in counts:
            _, counts[name] = count_graph(module, tuple(spec.example(i) for i, spec in enumerate(specs)))
    return {name: counts[name] for name in graphs}, dict(executions)


def _with_passes(
    model: StaticModel, graphs: Graphs, executions: Mapping[str, float], passes: Passes
) -> tuple[Mapping[str, float], str]:
    if isinstance(passes, str):
        checks.choice("passes", passes, ["worst"])
        return worst_case(model, graphs), "worst case"
    if isinstance(passes, Mapping):
        chosen = {n: _whole(checks.number(f"passes[{checks.shown(n)}]", x, 0, _MOST)) for n, x in passes.items()}
    else:
        count = checks.number("passes", passes, 1, _MOST)
        chosen = {_repeated(model, graphs, count): _whole(max(1.0, count / _passes_each(model)))}
    executions = {**executions, **chosen}
    if set(executions) - set(graphs) or not any(executions.values()):
        raise OptionError(
            f"got passes={checks.shown(passes)}; expected executions of some of {', '.join(map(repr, graphs))}, at "
            "least one in all; give a number, {graph: number}, 'worst' or None"
        )
    given = ", ".join(f"{name} × {number(count)}" for name, count in chosen.items())
    return executions, f"as given: {given}"


def _whole(count: float) -> float:
    return int(count) if count == int(count) else count


def _passes_each(model: StaticModel) -> int:
    """Decoder passes in one execution of the graph that the model's loop repeats."""
    joining = model.joining
    fused = isinstance(joining, Decoding) and find_method(joining.method).carry(joining) is not None
    return joining.passes_in_call if fused else 1


def _repeated(model: StaticModel, graphs: Graphs, passes: float) -> str:
    """The graph that the model's loop repeats."""
    most = worst_case(model, graphs)
    name = max(reversed(most), key=lambda name: most[name])
    if most[name] == 1 and passes != 1:
        raise OptionError(
            f"passes={passes:g}: the model runs every graph once ({', '.join(graphs)}) "
            "and loops inside; leave passes out"
        )
    return name


def worst_case(model: StaticModel, graphs: Graphs) -> dict[str, int]:
    """Executions of each graph if no row ever ends and no token ever settles.

    The model's own loops are run, on graphs that answer with another token at each call and never with EOS.
    """
    if len(graphs) == 1 and model.joining is None:
        return dict.fromkeys(graphs, 1)
    executions: Counter[str] = Counter(dict.fromkeys(graphs, 0))
    names, ends = model.graph_outputs(), getattr(model.joining, "ends", (getattr(model, "eos_id", 0),))
    answers: dict[str, Any] = {}

    def restless(name: str) -> Callable[..., Any]:
        module, specs = graphs[name]

        def call(*inputs: Tensor) -> Any:
            if name not in answers:
                # Made-up tokens are run on no graph.
                answers[name] = module(*(spec.example(i) for i, spec in enumerate(specs)))
            executions[name] += 1
            outputs, structure = tree_flatten(answers[name])
            known = names.get(name, ())
            kinds = known if len(known) == len(outputs) else ("",) * len(outputs)
            number = sum(executions.values())
            return tree_unflatten([_another(kind, x, number, ends) for kind, x in zip(kinds, outputs)], structure)

        return call

    with torch.no_grad():
        model.join({name: restless(name) for name in graphs})(*model.example_inputs())
    return dict(executions)


def _another(kind: str, output: Any, call: int, ends: Sequence[int]) -> Any:
    """An output of a graph that predicts what it did not predict for as long as there are classes, and no end."""
    if not isinstance(output, Tensor):
        return output
    if kind == "settled":
        return torch.zeros_like(output)
    if kind in ("token", "tokens"):
        return torch.full_like(output, max(ends) + call)
    if kind not in ("", "logits") or not output.is_floating_point() or output.dim() < 2:
        return output
    classes = [index for index in range(output.shape[-1]) if index not in ends] or [0]
    answer = torch.zeros_like(output)
    answer[..., classes[call % len(classes)]] = 1
    return answer
