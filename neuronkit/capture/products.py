"""Which operators multiply matrices: their operands, and how an operator that is not listed is recognised.

Shared by what rounds products (`neuronkit.emulate_autocast`) and what counts them (`neuronkit.estimate`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from neuronkit.errors import UnsupportedOperatorError

# ATen operator → names of its two factors in the schema. In-place and out= forms share the entry.
FACTORS: Mapping[str, tuple[str, str]] = {
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "mv": ("self", "vec"),
    "dot": ("self", "tensor"),
    "vdot": ("self", "other"),
    "addmm": ("mat1", "mat2"),
    "_addmm_activation": ("mat1", "mat2"),
    "addmv": ("mat", "vec"),
    "addbmm": ("batch1", "batch2"),
    "baddbmm": ("batch1", "batch2"),
    "convolution": ("input", "weight"),
    "_convolution": ("input", "weight"),
    "mkldnn_convolution": ("self", "weight"),
    "conv_tbc": ("self", "weight"),
}
# Pieces of names that say matrix product; those that only look so come first.
_HARMLESS = re.compile(r"upsample_(bi|tri)?linear|linalg_(vector_norm|cross)|_convert_")
_PRODUCT = re.compile(
    r"matmul|mm(_|$)|(^|_)(mv|dot|vdot|gru|lstm|rnn|cdist)(_|$)|conv|linear|gemm|attention|multi_head|transformer"
    r"|einsum|euclidean_dist|affine_grid|linalg|matrix_exp|(^|_)(cholesky|lu|ormqr|orgqr|geqrf|triangular_solve)(_|$)"
)


def base_name(func: Any) -> str:
    """``"addmm"`` of ``aten::addmm_`` and ``aten::addmm.out``, with the namespace unless that is aten."""
    namespace, _, name = func._schema.name.partition("::")
    name = name[:-1] if name.endswith("_") and not name.endswith("__") else name
    return name if namespace == "aten" else f"{namespace}::{name}"


def factors_of(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the arguments that an operator multiplies as matrices; empty for any other operator.

    Raises:
        UnsupportedOperatorError: If it looks like a matrix product and is not one that is known here, or if it is not
            torch's own, so that it cannot be known. Operators without floating-point operands are never products.
    """
    name = base_name(func)
    if name in FACTORS:
        return FACTORS[name]
    if _is_suspect(name) and any(tensor.is_floating_point() for tensor in tensors_in((args, dict(kwargs)))):
        raise UnsupportedOperatorError(
            f"{func._schema.name} is not known here: whether and how it multiplies matrices, and so its precision and "
            "cost, cannot be told. Expected torch's own linear layers, matrix products, convolutions, attention and "
            "recurrent layers; write it with those, and give a scripted or quantised module as the eager float32 one"
        )
    return ()


def with_factors(
    func: Any, names: tuple[str, ...], change: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call with `change` applied to those of the given names."""
    order = [argument.name for argument in func._schema.arguments]
    changed = tuple(change(value) if order[i] in names else value for i, value in enumerate(args))
    return changed, {name: change(value) if name in names else value for name, value in kwargs.items()}


def argument(func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The value of one argument of a call, its default where it was left out."""
    for index, parameter in enumerate(func._schema.arguments):
        if parameter.name == name:
            return args[index] if index < len(args) else kwargs.get(name, parameter.default_value)
    raise KeyError(name)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


@functools.cache
def _is_suspect(name: str) -> bool:
    if "::" in name:
        return not name.startswith(("prim::", "prims::"))
    return bool(_PRODUCT.search(_HARMLESS.sub("", name)))


@functools.cache
def is_view(func: Any) -> bool:
    """Whether an operator's result shares memory with an argument that it does not write to."""
    infos = [result.alias_info for result in func._schema.returns]
    return any(info is not None and not info.is_write for info in infos)


@functools.cache
def written_arguments(func: Any) -> tuple[str, ...]:
    """Names of the arguments that an operator writes to."""
    infos = [(parameter.name, parameter.alias_info) for parameter in func._schema.arguments]
    return tuple(name for name, info in infos if info is not None and info.is_write)


def is_composite(func: Any) -> bool:
    """Whether torch itself writes the operator with others."""
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"))
