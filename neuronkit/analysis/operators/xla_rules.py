"""What torch-neuronx takes: the operators that torch-xla lowers, without those whose shapes depend on data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from neuronkit.analysis.operators.hlo import Hlo, parse, rejected
from neuronkit.analysis.operators.rules import SUPPORTED, Judgement, Rules, Verdict
from neuronkit.analysis.operators.xla_table import base_of, is_lowered
from neuronkit.capture.graphs import Operator, TracedGraph
from neuronkit.errors import CompileError, MissingSDKError
from neuronkit.targets.xla import XlaTarget, lower

# Worth a warning: several times what PARSeq lowers to with 25 steps unrolled.
MANY_INSTRUCTIONS = 20_000

# Lowered by torch-xla with a shape that depends on data, which neuronx-cc rejects (NCC_EMOD025).
_DYNAMIC = frozenset(
    {
        "nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive", "bincount", "histc",
        "repeat_interleave",
    }
)  # fmt: skip
_BOOLEAN_MASK = (
    "a boolean mask as index takes its shape from the data; assigning through one is known to be compiled wrongly"
)


class TorchXla(Rules):
    """torch-neuronx: its own first stage, the lowering to HLO, where torch-xla is installed; a table elsewhere."""

    needs_parts = True

    def __init__(self) -> None:
        versions = _xla_versions()
        self.lowers = versions is not None
        self.basis = (
            f"lowering to HLO through torch-xla {versions['torch-xla']}"
            if versions
            else "the table of what torch-xla lowers (torch-xla is not installed)"
        )

    def judge(self, graph: TracedGraph) -> Judgement:
        by_table = super().judge(graph)
        # What has no fixed shape has no fixed HLO.
        if not self.lowers or graph.escapes:
            return by_table
        try:
            lowered = lower(graph.module, graph.inputs)
        except CompileError as error:
            note = f"judged by the table, since it could not be lowered: {error}"
            if any(verdict.status == "unsupported" for verdict in by_table.verdicts):
                return replace(by_table, notes=(note,))
            return replace(by_table, strays=(("lowering", str(error)),), notes=(note,))
        return judge_lowered(graph, lowered.fallbacks, parse(lowered.hlo))

    def verdict(self, operator: Operator) -> Verdict:
        shape = _shape_verdict(operator)
        if shape is not None:
            return shape
        missing = sorted({part for part in _parts(operator) if not is_lowered(part)})
        if missing:
            return Verdict("unsupported", f"torch-xla does not lower {', '.join(missing)}")
        return SUPPORTED


class TorchNeuronNative(TorchXla):
    """TorchNeuron: what torch-xla lowers stands in for its list, docs/torch_api_compatibility.md of torch-neuronx."""

    def __init__(self) -> None:
        self.lowers = False
        self.basis = "the table of what torch-xla lowers (TorchNeuron's own list is not part of neuronkit)"


def judge_lowered(graph: TracedGraph, fallbacks: Mapping[str, int], hlo: Hlo) -> Judgement:
    """The judgement from a lowering that has happened.

    Args:
        graph: What was lowered.
        fallbacks: ATen operators that torch-xla left to the CPU.
        hlo: What came out.
    """
    left = {name.partition("::")[2] for name in fallbacks}
    refused = list(rejected(hlo))
    verdicts = tuple(_verdict_after_lowering(operator, left, refused) for operator in graph.operators)
    blamed = [operator for operator, verdict in zip(graph.operators, verdicts) if verdict.status == "unsupported"]
    explained = {base_of(part) for operator in blamed for part in _parts(operator)}
    if any(_has_boolean_index(operator.node) for operator in blamed):
        explained.add("nonzero")  # What a boolean mask becomes.
    strays = [(f"aten::{name}", "torch-xla leaves it to the CPU") for name in sorted(left - explained)]
    strays += [(code, why) for code, why in refused if not any(_may_have_made(operator, code) for operator in blamed)]
    return Judgement(verdicts, tuple(strays), hlo.counts, tuple(_notes(hlo)))


def _verdict_after_lowering(operator: Operator, left: set[str], refused: list[tuple[str, str]]) -> Verdict:
    shape = _shape_verdict(operator)
    if shape is not None:
        return shape
    on_cpu = sorted({base_of(part) for part in _parts(operator)} & left)
    if on_cpu:
        return Verdict("unsupported", f"torch-xla leaves {', '.join(on_cpu)} to the CPU")
    for opcode, reason in refused:
        if _may_have_made(operator, opcode):
            return Verdict("unsupported", f"becomes the HLO instruction {opcode}: {reason}")
    return SUPPORTED


def _shape_verdict(operator: Operator) -> Verdict | None:
    """Refuse what has no fixed shape, whether or not torch-xla lowers it."""
    if operator.kind in ("prim::If", "prim::Loop"):
        return Verdict("unsupported", "control flow is fixed when torch-neuronx compiles")
    if _has_boolean_index(operator.node):
        return Verdict("unsupported", _BOOLEAN_MASK)
    dynamic = [part for part in _parts(operator) if base_of(part) in _DYNAMIC]
    return Verdict("unsupported", f"the shape of {dynamic[0]} depends on data") if dynamic else None


# HLO instruction → the ATen operators that become one.
_MAKERS = {
    "dot": {"mm", "bmm", "addmm", "baddbmm", "dot", "mv", "einsum", "addmv", "addbmm"},
    "power": {"pow"},
    "convolution": {"convolution", "_convolution"},
    "reduce-window": {"max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d", "cumsum"},
}
_INTEGER_ONLY = {"dot", "power"}


def _may_have_made(operator: Operator, opcode: str) -> bool:
    if opcode in _INTEGER_ONLY and "int64" not in operator.dtypes:
        return False
    return bool({base_of(part) for part in _parts(operator)} & _MAKERS.get(opcode, set()))


def _notes(hlo: Hlo) -> Iterator[str]:
    total = sum(hlo.counts.values())
    if total > MANY_INSTRUCTIONS:
        yield f"{total} HLO instructions; neuronx-cc unrolls them and stops at 5,000,000 (NCC_EVRF007)"
    if "scatter" in hlo.counts:
        yield f"{hlo.counts['scatter']} scatter instructions; those that compute on integers are rejected (NCC_EVRF016)"
    if "f64" in hlo.dtypes:
        yield "float64 values inside; torch-xla turns them to float32 for Neuron"
    for target, count in hlo.custom_calls.items():
        yield f"custom call {target} × {count}"


def _xla_versions() -> dict[str, str] | None:
    try:
        return XlaTarget().check_environment()
    except MissingSDKError:
        return None


def _parts(operator: Operator) -> tuple[str, ...]:
    """What it is composed of; itself where that is unknown. One that calls no kernel is composed of nothing."""
    return (operator.kind.partition("::")[2],) if operator.parts is None else operator.parts


def _has_boolean_index(node: Any) -> bool:
    if node.kind() not in ("aten::index", "aten::index_put_", "aten::index_put"):
        return False
    indices = node.inputsAt(1).node()
    if indices.kind() != "prim::ListConstruct":
        return False
    types = [value.type() for value in indices.inputs()]
    return any(t.kind() == "TensorType" and t.dtype() in (torch.bool, torch.uint8) for t in types)
