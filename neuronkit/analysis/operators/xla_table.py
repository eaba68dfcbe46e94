"""Which ATen operators torch-xla lowers, from its table and from what torch itself composes."""

from __future__ import annotations

import functools
from typing import Any

import torch

from neuronkit import tables

# What the CPU makes of operators that other devices compute from smaller ones.
_CPU_FORMS = frozenset(
    {
        "convolution", "mkldnn_max_pool2d", "mkldnn_rnn_layer", "_local_scalar_dense", "_reshape_alias",
        "_weight_norm_interface", "_scaled_dot_product_flash_attention", "_scaled_dot_product_flash_attention_for_cpu",
        "_native_multi_head_attention", "_transformer_encoder_layer_fwd",
    }
)  # fmt: skip
_COMPOSITE_KEYS = (
    "CompositeImplicitAutograd",
    "CompositeExplicitAutograd",
    "CompositeExplicitAutogradNonFunctional",
)


def base_of(part: str) -> str:
    """The name without its overload: ``"add.Tensor"`` → ``"add"``."""
    return part.partition(".")[0]


@functools.cache
def _lowered_bases() -> frozenset[str]:
    return frozenset(base_of(name) for name in tables.xla_operators().lowered)


@functools.cache
def is_lowered(part: str) -> bool:
    """Whether torch-xla lowers an ATen operator, directly, after functionalisation, or through a composite kernel."""
    base = base_of(part)
    # Views and in-place operators are functionalised before they are lowered.
    if {base, f"{base}_copy", base.rstrip("_")} & (_lowered_bases() | _CPU_FORMS):
        return True
    overloads = {f"aten::{part}", *(_overload(s) for s in torch._C._jit_get_schemas_for_operator(f"aten::{base}"))}
    # Every operator has an "out" form, made of the operator itself.
    forms = {name for name in overloads if not name.endswith("out")}
    return any(_has_kernel(name, key) for name in forms for key in _COMPOSITE_KEYS)


def _overload(schema: Any) -> str:
    return f"{schema.name}.{schema.overload_name}".rstrip(".")


def _has_kernel(name: str, key: str) -> bool:
    try:
        return torch._C._dispatch_has_kernel_for_dispatch_key(name, key)
    except RuntimeError:  # No such operator in this release.
        return False
