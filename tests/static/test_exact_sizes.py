from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from torch.nn import functional as F

from neuronkit.static.exact.nearest import Steps, mantissas, steps
from neuronkit.static.exact.rules.resizing import _period
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


def _read(size: int, target: int, found: Steps, offset: float) -> npt.NDArray[np.int64]:
    """Which input each output reads, by these steps."""
    places = 2 * np.arange(target) + 1 if offset else np.arange(target)
    begin = found.run[0] * np.arange(size) + (mantissas(size) >= found.late[0])
    return np.searchsorted(begin, places * found.rise[0], side="right") - 1


def _read_by_torch(count: int, mode: str, dtype: torch.dtype = torch.float32, **settings: Any) -> npt.NDArray[np.int64]:
    """The same of torch, whose kernels differ in float64 and for "nearest-exact": that for channels-last is meant."""
    x = torch.arange(count, dtype=dtype).reshape(1, 1, count, 1).expand(1, 4, count, 5)
    x = x.contiguous(memory_format=torch.channels_last)
    return F.interpolate(x, mode=mode, **settings)[0, 0, :, 0].numpy().astype(np.int64)


_OFFSETS = {"nearest": 0.0, "nearest-exact": 0.5}
_SIDES, _MODES = st.integers(1, 2048), st.sampled_from(sorted(_OFFSETS))


@given(_SIDES, _SIDES, _MODES, st.sampled_from([torch.float32, torch.float64]))
@example(4, 82, "nearest", torch.float32)
@example(20, 205, "nearest", torch.float64)
@example(1025, 3075, "nearest-exact", torch.float32)
@example(2, 41, "nearest-exact", torch.float64)
def test_nearest_steps_choose_the_inputs_that_torch_reads(size: int, target: int, mode: str, dtype: Any) -> None:
    found = steps(np.array([size]), np.array([target]), None, _OFFSETS[mode])
    assert found.exact.all()
    read = _read(size, target, found, _OFFSETS[mode])
    assert (read == _read_by_torch(size, mode, dtype, size=(target, 6))).all()
    if mode == "nearest" and dtype == torch.float32:
        x = torch.arange(float(size)).reshape(1, 1, size, 1)
        assert (read == F.interpolate(x, size=(target, 129))[0, 0, :, 0].numpy()).all()


@pytest.mark.parametrize("mode", sorted(_OFFSETS))
def test_nearest_steps_hold_for_every_pair_of_small_sizes(mode: str) -> None:
    late, offset = 0, _OFFSETS[mode]
    for size, target in itertools.product(range(1, 26), range(1, 190)):
        found = steps(np.array([size]), np.array([target]), None, offset)
        expected = _read_by_torch(size, mode, size=(target, 6))
        assert (_read(size, target, found, offset) == expected).all()
        late += int(found.late[0] <= 1 << 17)
    # In these torch reads the input before a whole number.
    assert late > 5


@given(st.floats(0.3, 4.0), st.integers(4, 2048))
@example(1.7, 39)
@example(41.0, 20)
@example(2 / 3, 1500)
def test_nearest_factors_choose_the_inputs_that_torch_reads(factor: float, size: int) -> None:
    expected = _read_by_torch(size, "nearest", scale_factor=(factor, 2.0))
    assume(len(expected) not in (size, 2 * size))
    found = steps(np.array([size]), np.array([len(expected)]), factor, 0.0)
    assert found.exact.all()
    assert (_read(size, len(expected), found, 0.0) == expected).all()


@pytest.mark.parametrize("size", [3, 9, 19])
@pytest.mark.parametrize("times", [1, 2])
def test_small_maps_that_keep_or_double_their_size_are_read_as_torch_reads_them(size: int, times: int) -> None:
    factor = times + 0.9 / size
    x = torch.arange(float(size)).reshape(1, 1, size, 1).expand(1, 3, size, 5).contiguous()
    expected = F.interpolate(x, scale_factor=(factor, 2.0))[0, 0, :, 0].numpy()
    assert len(expected) == times * size
    found = steps(np.array([size]), np.array([times * size]), factor, 0.0)
    assert (_read(size, times * size, found, 0.0) == expected).all()


def test_steps_that_whole_numbers_do_not_give_are_said_to_be_so() -> None:
    found = steps(np.array([5338, 5338]), np.array([15175, 15176]), None, 0.5)
    assert found.exact.tolist() == [False, True]
    assert (_read(5338, 15175, found, 0.5) != _read_by_torch(5338, "nearest-exact", size=(15175, 6))).any()


@pytest.mark.parametrize("mode", sorted(_OFFSETS))
@pytest.mark.parametrize("factor", [0.5, 0.75, 1.5, 1.6, 2.5, 8.0])
def test_reading_recurs_by_factors_of_small_ratios(factor: float, mode: str) -> None:
    inputs, read = _period(factor, _OFFSETS[mode]) or (1, ())
    assert len(read) == factor * inputs
    for size in (1, 2, 3, 16, 901):
        if int(size * factor):
            expected = _read_by_torch(size, mode, scale_factor=(factor, 2.0))
            periods = np.add.outer(np.arange(0, size, inputs), read).flatten()
            assert (periods[: len(expected)] == expected).all()


@pytest.mark.parametrize("factor", [1.7, 1.25, 0.7, 4.1, 0.1, 7 / 3, 2**0.5])
def test_reading_does_not_recur_by_other_factors(factor: float) -> None:
    assert _period(factor, 0.0) is None
