"""Which operators a compiler takes: one class per compiler."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from neuronkit import tables
from neuronkit.capture.graphs import Operator, TracedGraph
from neuronkit.targets.sdk.packages import within

REJECTED_IO_DTYPES = ("int64", "float64")
_COMPLEX_DTYPES = ("complex32", "complex64", "complex128")


@dataclass(frozen=True)
class Verdict:
    """Whether a compiler takes an operator, and why not.

    Attributes:
        status: "supported", "limited" where a condition is met, or "unsupported".
        reason: The condition, or why not.
    """

    status: Literal["supported", "limited", "unsupported"]
    reason: str = ""


SUPPORTED = Verdict("supported")


@dataclass(frozen=True)
class Judgement:
    """Which operators of a graph a compiler takes.

    Attributes:
        verdicts: One for each of the graph's operators, in their order.
        strays: (Kind, reason) of what it rejects without a trace of which operator it comes from.
        instructions: The compiler's own instructions by kind, where the graph was lowered to them.
        notes: What is worth knowing and no reason to refuse.
    """

    verdicts: tuple[Verdict, ...]
    strays: tuple[tuple[str, str], ...] = ()
    instructions: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Rules(ABC):
    """A compiler's operators.

    Attributes:
        basis: Where the verdicts come from, in a few words.
        needs_parts: Whether verdicts rest on what an operator is composed of.
    """

    basis: str
    needs_parts: bool = False
    rejected_io_dtypes: tuple[str, ...] = REJECTED_IO_DTYPES

    @abstractmethod
    def verdict(self, operator: Operator) -> Verdict:
        """Whether the compiler takes this operator."""

    def judge(self, graph: TracedGraph) -> Judgement:
        """Check a whole graph against what the compiler takes."""
        return Judgement(tuple(self.verdict(operator) for operator in graph.operators))

    def rejected_dtypes(self, graph: TracedGraph) -> Iterator[tuple[str, str, Operator | None]]:
        """(dtype, reason, operator it comes from) of the inputs and outputs that the compiler does not take."""
        for spec in graph.inputs:
            if spec.dtype in self.rejected_io_dtypes:
                yield spec.dtype, f"input {spec.name!r} is {spec.dtype}, which Neuron graphs do not take", None
        for i, (dtype, operator) in enumerate(zip(graph.output_dtypes, graph.output_operators)):
            if dtype in (*self.rejected_io_dtypes, *_COMPLEX_DTYPES):
                yield dtype, f"output {i} is {dtype}, which Neuron graphs do not give", operator

    def rejected_value(self, operator: Operator) -> str | None:
        """The dtype of an intermediate value that the compiler does not take, if it has one."""
        if operator.kind.startswith("aten::fft_"):
            return None  # The complex result of an FFT is part of what is wrong with the FFT.
        return next((dtype for dtype in operator.dtypes if dtype in _COMPLEX_DTYPES), None)


class AnyOperator(Rules):
    """Plain TorchScript: every operator and every dtype."""

    basis = "TorchScript takes every operator"
    rejected_io_dtypes = ()

    def verdict(self, operator: Operator) -> Verdict:
        return SUPPORTED

    def rejected_dtypes(self, graph: TracedGraph) -> Iterator[tuple[str, str, Operator | None]]:
        return iter(())

    def rejected_value(self, operator: Operator) -> str | None:
        return None


class TorchNeuron(Rules):
    """Inf1's torch-neuron: the SDK's own list where it is installed, the packaged table elsewhere."""

    def __init__(self) -> None:
        self.table = tables.inf1_operators()
        listed = _sdk_list()
        self.supported = set(self.table.supported) if listed is None else listed
        self.basis = "torch-neuron's list page" if listed is None else "torch_neuron.get_supported_operations()"

    def judge(self, graph: TracedGraph) -> Judgement:
        judgement = super().judge(graph)
        if within(torch.__version__, "1.13"):
            return judgement
        note = f"traced with torch {torch.__version__}; Inf1's SDK traces with 1.13.1, where some operators differ"
        return replace(judgement, notes=(note,))

    def verdict(self, operator: Operator) -> Verdict:
        kind = operator.kind
        if kind in self.supported:
            return SUPPORTED
        if kind in self.table.limited:
            condition = self.table.limited[kind].condition
            met = _CONDITIONS.get(kind, _unknown)(operator.node)
            return Verdict("unsupported" if met is False else "limited", condition)
        if kind in ("prim::If", "prim::Loop"):
            return Verdict("unsupported", "control flow is fixed when torch-neuron compiles")
        why = self.table.removed.get(kind) or self.table.unlisted.get(kind)
        if why is None and kind.endswith("_") and kind.rstrip("_") in self.supported:
            why = f"{kind.rstrip('_')}, its form that does not write in place, is"
        return Verdict("unsupported", f"not among torch-neuron's operators{f' ({why})' if why else ''}")


def _sdk_list() -> set[str] | None:
    # Not imported for this: a compile for Inf1 has it loaded, and elsewhere the table says the same.
    sdk = sys.modules.get("torch_neuron")
    query: Callable[[], Any] | None = getattr(sdk, "get_supported_operations", None)
    return None if query is None else set(query())


def _unknown(node: Any) -> bool | None:
    return None


def _one_hot_size_known(node: Any) -> bool | None:
    size = node.inputsAt(1).toIValue()
    return None if size is None else size != -1


def _norm_order_listed(node: Any) -> bool | None:
    order = node.inputsAt(1).toIValue()
    return None if order is None else order in (1, 2, float("inf"), float("-inf"))


_CONDITIONS: dict[str, Callable[[Any], bool | None]] = {
    "aten::where": lambda node: node.inputsSize() == 3,
    "aten::one_hot": _one_hot_size_known,
    "aten::norm": _norm_order_listed,
    "aten::max_pool3d_with_indices": lambda node: not node.outputsAt(1).uses(),
}

# Operator kind, dtype → what to write in its place.
_REWRITES = {
    "aten::embedding": "a one-hot matrix product (neuronkit.static.ops)",
    "aten::index_put_": "torch.where with a mask (neuronkit.static.ops)",
    "aten::index_put": "torch.where with a mask (neuronkit.static.ops)",
    "aten::copy_": "torch.where or torch.cat in place of writing into a slice (neuronkit.static.ops)",
    "aten::masked_select": "torch.where, keeping the full shape",
    "aten::index": "torch.where for a boolean mask, a one-hot matrix product for indices",
    "aten::gather": "a one-hot matrix product",
    "aten::scatter": "torch.where against a comparison with arange",
    "aten::scatter_": "torch.where against a comparison with arange",
    "aten::nonzero": "a mask of the full shape",
    "aten::upsample_bilinear2d": "two matrix products (neuronkit.static.ops)",
    "aten::grid_sampler": "a matrix product with the interpolation weights",
    "aten::pad": "torch.constant_pad_nd, for padding with a constant",
    "aten::hardswish_": "the module with inplace=False",
    "aten::dropout_": "the module with inplace=False",
    "aten::silu_": "the module with inplace=False",
    "aten::leaky_relu_": "the module with inplace=False",
    "aten::scaled_dot_product_attention": "the matrix products and softmax that it stands for",
    "aten::cumsum": "a product with a triangular matrix (neuronkit.static.ops)",
    "aten::one_hot": "a comparison with an int32 arange",
    "int64": "int32, cast inside the graph",
    "float64": "float32",
    "complex64": "real and imaginary parts as two real tensors",
    "complex128": "real and imaginary parts as two real tensors",
    "complex32": "real and imaginary parts as two real tensors",
}


def rewrite_of(kind: str) -> str:
    """What to write instead, empty where nothing is known."""
    if kind.startswith("aten::fft_"):
        return "the transform in pre-processing on the host"
    if kind.startswith("Tensor."):
        return "torch.where or a mask in place of the branch"
    return _REWRITES.get(kind, "")
