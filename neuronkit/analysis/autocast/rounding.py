"""Rounding float32 to the types of Neuron's matrix engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

# float32 keeps 23 bits behind the leading one, TF32 keeps 10.
_DROPPED = 13


def to_bf16(x: Tensor) -> Tensor:
    """float32 rounded to bfloat16, to nearest, ties to even; as float32."""
    return x.to(torch.bfloat16).to(torch.float32)


def to_fp16(x: Tensor) -> Tensor:
    """float32 rounded to float16, to nearest, ties to even; from 65520 on infinite; as float32."""
    return x.to(torch.float16).to(torch.float32)


def to_tf32(x: Tensor) -> Tensor:
    """float32 rounded to 10 explicit mantissa bits, to nearest, ties to even; range and layout of float32."""
    bits = x.view(torch.int32)
    odd = (bits >> _DROPPED) & 1
    # A carry out of the mantissa moves the exponent on, which is what rounding up means.
    rounded = (bits + ((1 << (_DROPPED - 1)) - 1 + odd)) & ~((1 << _DROPPED) - 1)
    # Infinities and NaNs would be carried into other numbers.
    return torch.where(torch.isfinite(x), rounded.view(torch.float32), x)


ROUNDINGS: Mapping[str, Callable[[Tensor], Tensor]] = {"bf16": to_bf16, "fp16": to_fp16, "tf32": to_tf32}
