"""The operators of a traced graph, each with its submodule, source line, dtypes and what it is composed of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from neuronkit.capture.kernels import find_kernels
from neuronkit.capture.shapes import with_shapes_alone
from neuronkit.capture.tracing import Escape, line_of_range, module_path, nodes_of, trace_watched
from neuronkit.specs import TensorSpec


@dataclass(frozen=True)
class Operator:
    """One node of a traced graph.

    Attributes:
        kind: Such as ``"aten::relu"``.
        module: Path of the submodule that called it.
        location: ``file:line`` of the model's code.
        dtypes: Dtypes of its tensor outputs, as far as the trace has them.
        node: The node itself, for conditions on arguments.
        parts: ATen names with overload that it is composed of (``"convolution"``, ``"add.Tensor"``); None if unknown.
    """

    kind: str
    module: str
    location: str
    dtypes: tuple[str, ...]
    node: Any
    parts: tuple[str, ...] | None = None


@dataclass(frozen=True)
class TracedGraph:
    """A traced graph and what was seen while tracing.

    Attributes:
        name: The graph's name.
        operators: Its operators in the order of execution, those of nested blocks included.
        escapes: Values computed from the inputs that Python reads.
        inputs: Specs of the inputs.
        outputs: Name and dtype of each output in the trace.
        module: What was traced.
        traced: The trace.
    """

    name: str
    operators: tuple[Operator, ...]
    escapes: tuple[Escape, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[tuple[str, str], ...]
    module: nn.Module
    traced: torch.jit.ScriptModule = field(repr=False)

    @property
    def output_dtypes(self) -> tuple[str, ...]:
        """Dtype of each output, those in tuples, lists and dictionaries one by one."""
        return tuple(dtype for _, dtype in self.outputs)

    @property
    def output_operators(self) -> tuple[Operator | None, ...]:
        """The operator that each output comes from; None for an input or a constant."""
        makers = {value.debugName(): op for op in self.operators for value in op.node.outputs()}
        return tuple(makers.get(name) for name, _ in self.outputs)

    def detailed(self) -> TracedGraph:
        """The same graph with every operator's exact source line and parts, at the price of another run."""
        if isinstance(self.module, torch.jit.ScriptModule):
            return self
        examples = tuple(spec.example() for spec in self.inputs)
        known = with_shapes_alone(find_kernels, self.module, examples, records=False)
        operators = []
        for operator in self.operators:
            queue = known[operator.kind, operator.module]
            if queue:
                calls = queue.pop(0)
                location = calls.location or operator.location
                operator = replace(operator, location=location, parts=tuple(calls.parts))
            operators.append(operator)
        return replace(self, operators=tuple(operators))


def trace_graph(name: str, module: nn.Module, specs: Sequence[TensorSpec]) -> TracedGraph:
    """Trace a graph and list its operators as an SDK that takes TorchScript would see them: inlined."""
    examples = tuple(spec.example() for spec in specs)
    traced, escapes = with_shapes_alone(trace_watched, module, examples, records=True)
    graph = traced.inlined_graph
    operators = tuple(_operator(node) for node in nodes_of(graph) if not _is_bookkeeping(node.kind()))
    outputs = tuple(leaf for output in graph.outputs() for leaf in _output_leaves(output))
    return TracedGraph(name, operators, escapes, tuple(specs), outputs, module, traced)


def _is_bookkeeping(kind: str) -> bool:
    # Control flow is not bookkeeping: no target compiles it.
    return kind.startswith("prim::") and kind not in {"prim::If", "prim::Loop"}


def _operator(node: Any) -> Operator:
    dtypes = tuple(dtype for output in node.outputs() for dtype in _dtypes(output))
    return Operator(node.kind(), module_path(node.scopeName()), line_of_range(node.sourceRange()), dtypes, node)


def _dtypes(value: Any) -> Iterator[str]:
    kind = value.type()
    if kind.kind() == "TensorType" and kind.dtype() is not None:
        yield str(kind.dtype()).rsplit(".", 1)[-1]


def _output_leaves(value: Any) -> Iterator[tuple[str, str]]:
    """(Name, dtype) of the tensors in a graph output, looking into tuples, lists and dictionaries."""
    if value.node().kind() in {"prim::TupleConstruct", "prim::ListConstruct", "prim::DictConstruct"}:
        for item in value.node().inputs():
            yield from _output_leaves(item)
    else:
        for dtype in _dtypes(value):
            yield value.debugName(), dtype
