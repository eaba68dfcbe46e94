"""Permutation language modelling: which characters a position may look at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.demo.permutations import mask_targets, order_masks, sample_orders

pytestmark = pytest.mark.tooling

cases = given(st.integers(0, 1000), st.integers(1, 13), st.sampled_from([2, 4, 6]))


@cases
def test_orders_are_mirrored_pairs_of_permutations(seed, length, count) -> None:
    orders = sample_orders(np.random.default_rng(seed), length, count)
    assert orders.shape == (count, length)
    assert (np.sort(orders, axis=1) == np.arange(length)).all()
    assert (orders[0] == np.arange(length)).all()
    assert (orders[1::2] == orders[::2, ::-1]).all()


@cases
def test_a_position_sees_what_was_read_before_it(seed, length, count) -> None:
    orders = sample_orders(np.random.default_rng(seed), length, count)
    masks = order_masks(orders)
    for order, mask in zip(orders, masks):
        seen: set[Any] = set()
        for position in order:
            visible = {column - 1 for column in range(1, length) if not mask[position, column]}
            # The last position's own token is no context: nothing comes after EOS.
            assert visible == seen - {length - 1}
            seen.add(position)


def test_reading_forward_is_the_causal_mask() -> None:
    masks = order_masks(sample_orders(np.random.default_rng(0), 5, 2))
    assert (masks[0] == np.triu(np.ones((5, 5), dtype=bool), 1)).all()


@cases
def test_the_beginning_is_always_seen_and_the_last_mask_shows_nothing_else(seed, length, count) -> None:
    masks = order_masks(sample_orders(np.random.default_rng(seed), length, count))
    assert not masks[:, :, 0].any()
    assert masks[-1, :, 1:].all()
    assert len(masks) == count + 1


def test_the_end_is_asked_for_where_a_reader_meets_it() -> None:
    tokens = np.array([[5, 0, 9], [5, 6, 0]])
    targets = mask_targets(tokens, 5, eos_id=0, ignore=9)
    assert targets.shape == (2, 5, 3)
    for row in (0, 1, 4):
        assert (targets[:, row] == tokens).all()
    for row in (2, 3):
        assert (targets[:, row] == [[5, 9, 9], [5, 6, 9]]).all()
