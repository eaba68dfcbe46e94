"""What torch-neuronx takes: the operators that torch-xla lowers, without those whose shapes depend on data."""

from __future__ import annotations

import functools
from typing import Any

import torch

from neuronkit import tables
from neuronkit.analysis.graphs import Operator
from neuronkit.analysis.rules import SUPPORTED, Rules, Verdict

# Lowered by torch-xla with a shape that depends on data, which neuronx-cc rejects (NCC_EMOD025).
_DYNAMIC = frozenset(
    [
        "nonzero",
        "masked_select",
        "_unique",
        "_unique2",
        "unique_dim",
        "unique_consecutive",
        "bincount",
        "histc",
        "repeat_interleave",
    ]
)
# What the CPU makes of operators that other devices compute from smaller ones.
_CPU_FORMS = frozenset(
    [
        "convolution",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_flash_attention",
        "_native_multi_head_attention",
        "_transformer_encoder_layer_fwd",
        "mkldnn_rnn_layer",
        "mkldnn_max_pool2d",
        "_weight_norm_interface",
        "_local_scalar_dense",
        "_reshape_alias",
    ]
)
_COMPOSITE_KEYS = (
    "CompositeImplicitAutograd",
    "CompositeExplicitAutograd",
    "CompositeExplicitAutogradNonFunctional",
)
_BOOLEAN_MASK = (
    "a boolean mask as index has a shape that depends on data; as a target of assignment it is compiled wrongly"
)


class TorchXla(Rules):
    """torch-neuronx: the table of torch-xla's lowerings."""

    needs_parts = True

    def __init__(self) -> None:
        self.basis = "torch-xla's table of lowered ATen operators"

    def verdict(self, operator: Operator) -> Verdict:
        if operator.kind in ("prim::If", "prim::Loop"):
            return Verdict("unsupported", "control flow is fixed when torch-neuronx compiles")
        if operator.kind.startswith("aten::index") and _has_boolean_index(operator.node):
            return Verdict("unsupported", _BOOLEAN_MASK)
        parts = operator.parts or (operator.kind.partition("::")[2],)
        dynamic = [part for part in parts if _base(part) in _DYNAMIC]
        if dynamic:
            return Verdict("unsupported", f"the shape of {dynamic[0]} depends on data")
        missing = sorted({part for part in parts if not _lowered(part)})
        if missing:
            return Verdict("unsupported", f"torch-xla does not lower {', '.join(missing)}")
        return SUPPORTED


def _base(part: str) -> str:
    return part.partition(".")[0]


@functools.cache
def _lowered_bases() -> frozenset[str]:
    return frozenset(_base(name) for name in tables.xla_operators().lowered)


@functools.cache
def _lowered(part: str) -> bool:
    """Whether torch-xla lowers an ATen operator, directly, after functionalisation, or through a composite kernel."""
    base = _base(part)
    # Views and in-place operators are functionalised before they are lowered.
    forms = {base, f"{base}_copy", base.rstrip("_")}
    if forms & (_lowered_bases() | _CPU_FORMS):
        return True
    names = {f"aten::{part}", f"aten::{base}"}
    return any(_has_kernel(name, key) for name in names for key in _COMPOSITE_KEYS)


def _has_kernel(name: str, key: str) -> bool:
    try:
        return torch._C._dispatch_has_kernel_for_dispatch_key(name, key)
    except RuntimeError:  # No such operator in this release.
        return False


def _has_boolean_index(node: Any) -> bool:
    if node.kind() not in ("aten::index", "aten::index_put_", "aten::index_put"):
        return False
    indices = node.inputsAt(1).node()
    if indices.kind() != "prim::ListConstruct":
        return False
    types = [value.type() for value in indices.inputs()]
    return any(t.kind() == "TensorType" and t.dtype() in (torch.bool, torch.uint8) for t in types)
