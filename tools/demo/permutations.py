"""Permutation language modelling, the training task of PARSeq (Bautista and Atienza, arXiv 2207.06966, section 3.2).

The model learns to read a word in any order. Each order is a mask that says which characters each position sees. All
orders of a step are stacked along the query axis, so that the decoder runs once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sample_orders(rng: np.random.Generator, length: int, count: int) -> NDArray[np.int64]:
    """Draw reading orders in mirrored pairs, the usual one first.

    Args:
        rng: Source of the random orders.
        length: Number of positions to predict: the longest word's characters and its EOS.
        count: Number of orders, even.

    Returns:
        (count, length) int64: the positions 0..length-1 in the order in which each row reads them. Row 0 reads
        forward, row 1 backward, each later odd row mirrors the one before it.
    """
    forward = np.arange(length)
    pairs = [(forward, forward[::-1])]
    for _ in range(count // 2 - 1):
        order = rng.permutation(length)
        pairs.append((order, order[::-1]))
    return np.concatenate([np.stack(pair) for pair in pairs])


def order_masks(orders: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Turn reading orders into query masks, and add one that hides all context.

    The context holds BOS and then the characters, so context column j + 1 is the character at position j. The last
    row's mask leaves BOS alone: what decoding without context, and the first guess of fixed-point decoding, see.

    Args:
        orders: (K, L) int64, as from `sample_orders`.

    Returns:
        (K + 1, L, L) bool; True hides the context column from the query. Column 0 (BOS) is never hidden.
    """
    count, length = orders.shape
    rank = np.argsort(orders, axis=1)
    masks = np.ones((count + 1, length, length), dtype=np.bool_)
    masks[:, :, 0] = False
    # A character may be seen by the positions that are read after it.
    masks[:count, :, 1:] = rank[:, None, :-1] >= rank[:, :, None]
    return masks


def mask_targets(tokens: NDArray[np.int64], count: int, *, eos_id: int, ignore: int) -> NDArray[np.int64]:
    """Repeat the targets for every mask, and keep EOS where its position is not given away.

    In a random order, a position sees characters behind it, which show where the word ends. EOS is learned from
    reading forward, backward (where it comes first) and without context.

    Args:
        tokens: (N, L) int64 target ids, `ignore` where there is nothing to predict.
        count: Number of masks, the one without context last.
        eos_id: Id of EOS.
        ignore: Id that the loss leaves out.

    Returns:
        (N, count, L) int64.
    """
    targets = np.repeat(tokens[:, None, :], count, axis=1)
    inner = targets[:, 2:-1]
    inner[inner == eos_id] = ignore
    return targets
