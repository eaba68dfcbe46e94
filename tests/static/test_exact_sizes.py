from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.nn import functional as F

from neuronkit.static.exact.nearest import scales
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


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(["nearest", "nearest-exact"]))
@example(4, 82, "nearest")
@example(20, 205, "nearest")
def test_nearest_scales_choose_the_inputs_that_torch_reads(size: int, target: int, mode: str) -> None:
    x = torch.arange(float(size)).reshape(1, 1, size, 1).expand(1, 3, size, 5).contiguous()
    expected = F.interpolate(x, size=(target, 6), mode=mode)[0, 0, :, 0].numpy()
    offset = 0.5 if mode == "nearest-exact" else 0.0
    (scale,) = scales(np.array([size]), np.array([target]), None, offset)
    assert scale.dtype == np.float32
    found = np.minimum(np.floor((np.arange(target, dtype=np.float32) + np.float32(offset)) * scale), size - 1)
    assert (found == expected).all()


@pytest.mark.parametrize("factor", [1.7, 0.3, 3.0, 1.1, 41.0, 2 / 3])
def test_nearest_factors_choose_the_inputs_that_torch_reads(factor: float) -> None:
    for size in range(4, 40):
        x = torch.arange(float(size)).reshape(1, 1, size, 1).expand(1, 3, size, 5).contiguous()
        expected = F.interpolate(x, scale_factor=(factor, 2.0), mode="nearest")[0, 0, :, 0].numpy()
        (scale,) = scales(np.array([size]), np.array([len(expected)]), factor, 0.0)
        assert (np.minimum(np.floor(np.arange(len(expected), dtype=np.float32) * scale), size - 1) == expected).all()


def test_no_nearest_output_lies_at_a_whole_number_of_inputs() -> None:
    # Where a device rounds a product in its own way, it must not come out on the other side of a whole number.
    sizes = np.arange(1, 200)
    for scale, target in zip(scales(sizes, sizes * 3 // 2, None, 0.0), sizes * 3 // 2):
        places = np.arange(1, target) * np.float64(scale)
        assert (np.abs(places - np.round(places)) > 1e-4).all()
