from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from neuronkit.static.exact.sizes import HEIGHT, WIDTH, Extent, step, window_count


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2), st.integers(1, 2), st.booleans(), st.integers(12, 60))
def test_window_counts_are_those_of_torch(
    kernel: int, stride: int, padding: int, dilation: int, ceil: bool, size: int
) -> None:
    padding = min(padding, kernel // 2)
    pooled = F.max_pool1d(torch.zeros(1, 1, size), kernel, stride, padding, dilation, ceil_mode=ceil)
    count = window_count(kernel, stride, (padding, padding), dilation, ceil)
    assert step(size, count) == pooled.shape[-1]
    assert Extent(WIDTH).then(count).at(size) == pooled.shape[-1]


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=5), st.integers(60, 200))
def test_thresholds_tell_the_valid_entries_without_dividing(layers: list[tuple[int, int]], canvas: int) -> None:
    extent = Extent(HEIGHT)
    for kernel, stride in layers:
        extent = extent.then(window_count(kernel, stride, (kernel // 2, kernel // 2), 1))
    thresholds = extent.thresholds(canvas)
    assert len(thresholds) == extent.at(canvas)
    for size in range(1, canvas + 1):
        assert (size >= thresholds).sum() == extent.at(size)


def test_steps_that_change_nothing_give_the_same_extent() -> None:
    extent = Extent(HEIGHT)
    assert extent.then(window_count(3, 1, (1, 1), 1)) is extent
    assert extent.then(lambda n: n + 1).then(lambda n: n - 1).key == extent.key
    assert Extent(WIDTH).key != extent.key


def test_sizes_that_shrink_are_noticed() -> None:
    everything = np.ones_like(Extent(HEIGHT).values, dtype=bool)
    assert Extent(HEIGHT).then(lambda n: n // 3).is_monotone(everything)
    assert not Extent(HEIGHT).then(lambda n: 100 - n).is_monotone(everything)
