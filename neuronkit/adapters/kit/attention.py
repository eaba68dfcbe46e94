"""Attention spelled out, and the masks of a permuted language model's passes."""

from __future__ import annotations

import torch
from torch import Tensor

from neuronkit.static.decoding.loops import GUESS, REFINE
from neuronkit.static.ops import cumsum
from neuronkit.static.sentinels import sentinel


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention without scaled_dot_product_attention, which is not in Inf1's operator list.

    Args:
        q: (N, heads, T, D), already scaled.
        k: (N, heads, S, D).
        v: (N, heads, S, D).
        mask: Added to the scores, broadcast to (N, heads, T, S); `hiding` makes one.

    Returns:
        (N, heads, T, D).
    """
    return attend_transposed(q, k.transpose(-2, -1), v, mask)


def attend_transposed(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """`attend` with keys (N, heads, D, S), as several passes share them."""
    scores = q @ k
    return (scores if mask is None else scores + mask).softmax(-1) @ v


def causal(steps: int, like: Tensor) -> Tensor:
    """(T, T) of the dtype and device of `like`, 1 where a query (row) attends to a key (column), up to its own."""
    return torch.ones(steps, steps, dtype=like.dtype, device=like.device).tril()


def hiding(seen: Tensor) -> Tensor:
    """A mask to add to attention scores, of the dtype of `seen`: 0 where that is 1, and far below any score where 0."""
    return torch.where(seen > 0, torch.zeros_like(seen), torch.full_like(seen, -sentinel(seen.dtype)))


Masks = tuple[Tensor, Tensor, Tensor, Tensor]


def pass_masks(steps: int, like: Tensor) -> Masks:
    """Masks (T, T) to add to attention scores: of a guess, of a causal pass and of a refinement; and a triangle.

    A query sees BOS alone, the tokens up to the one before its own, or every token but its own, which stands one place
    to the right of it, behind BOS.
    """
    seen = causal(steps, like)
    first = torch.zeros_like(seen)
    first[:, 0] = 1
    return hiding(first), hiding(seen), hiding(1 - torch.diag(torch.ones_like(seen[0, 1:]), 1)), seen.t().contiguous()


def pass_mask(masks: Masks, kind: Tensor | int, tokens: Tensor, eos_id: int) -> Tensor:
    """The mask of a pass, (1 or N, 1, T, T), to add to attention scores.

    Args:
        masks: As `pass_masks` gives them.
        kind: Of the pass: a number, or (1,) int32 where one graph serves every kind.
        tokens: (N, T) int32, BOS first. A refinement sees none from the first EOS on.
        eos_id: The id that ends a row.
    """
    if isinstance(kind, int) and kind != REFINE:
        return masks[kind]
    guess, decode, refine, triangle = masks
    ended = cumsum((tokens == eos_id).to(refine.dtype), triangle).unsqueeze(1)
    # Once for each EOS before, which hides no less. Not masked_fill: XLA gets its number as a float64.
    refine = refine - ended * sentinel(refine.dtype)
    if not isinstance(kind, int):
        refine = torch.where(kind == GUESS, guess, torch.where(kind == REFINE, refine, decode))
    return refine.unsqueeze(1)
