"""The magnitude that stands for infinity in a graph: hidden keys, padding before a maximum."""

from __future__ import annotations

import torch


def sentinel(dtype: torch.dtype) -> float:
    """A number far above any activation that a tensor of this dtype holds exactly, as does one of bfloat16.

    A power of two: a compiler that keeps a product or a sum with it in bfloat16 rounds nothing away, so that adding it
    and subtracting it again leaves 0. It is finite, because ``0 * inf`` is NaN.

    Args:
        dtype: A floating-point type.

    Returns:
        2 ** 100; for float16, whose largest number is 65504, 2 ** 15.
    """
    return 2.0**15 if dtype == torch.float16 else 2.0**100
