from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronkit.errors import OptionError, SpecError
from neuronkit.static.shapes.plan import plan_buckets

Sizes = list[tuple[int, int]]


def computed(shapes: Sizes, sizes: Sizes) -> float:
    """Pixels that the sizes take, each in the smallest shape that holds it."""
    return sum(
        min((h * w for h, w in shapes if h >= height and w >= width), default=float("inf")) for height, width in sizes
    )


def fewest(sizes: Sizes, count: int, multiple: int = 1) -> float:
    """By trying everything."""
    heights = {-(-h // multiple) * multiple for h, _ in sizes}
    widths = {-(-w // multiple) * multiple for _, w in sizes}
    candidates = list(itertools.product(heights, widths))
    return min(
        computed(list(chosen), sizes)
        for number in range(1, min(count, len(candidates)) + 1)
        for chosen in itertools.combinations(candidates, number)
    )


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=7),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_plans_are_optimal(sizes: Sizes, count: int, multiple: int) -> None:
    plan = plan_buckets(sizes, count, multiple=multiple)
    best = fewest(sizes, count, multiple)
    assert plan.optimal
    assert plan.area == plan.lower_bound == computed(list(plan.shapes), sizes) == best
    assert len(plan.shapes) <= count
    assert all(h % multiple == 0 == w % multiple for h, w in plan.shapes)
    assert sum(plan.counts) == len(sizes)
    assert plan.valid_area == sum(h * w for h, w in sizes)
    assert plan.area_before == fewest(sizes, 1, multiple)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 4), st.booleans())
def test_one_dimension_by_dynamic_programming(lengths: list[int], count: int, tall: bool) -> None:
    sizes = [(n, 5) if tall else (5, n) for n in lengths]
    plan = plan_buckets(sizes, count, multiple=1)
    assert plan.optimal
    assert plan.area == fewest(sizes, count)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_what_is_called_optimal_is_on_larger_problems_too(seed: int) -> None:
    sizes = [tuple(size) for size in np.random.default_rng(seed).integers(1, 40, (14, 2)).tolist()]
    plan = plan_buckets(sizes, 2, multiple=1)
    best = fewest(sizes, 2)
    assert plan.lower_bound <= best <= plan.area
    assert plan.area == best or not plan.optimal


def test_many_sizes_take_little_time() -> None:
    generator = np.random.default_rng(0)
    area, aspect = generator.lognormal(13.2, 0.7, 100_000), np.exp(generator.normal(0, 0.35, 100_000))
    sizes = np.stack([np.sqrt(area / aspect), np.sqrt(area * aspect)], 1).clip(16, 2400).astype(int).tolist()
    begin = time.process_time()
    plan = plan_buckets(sizes, 6)
    assert time.process_time() - begin < 2
    assert plan.waste < 0.6 * plan.waste_before
    assert computed(list(plan.shapes), [tuple(size) for size in sizes]) == plan.area


def test_limits_hold() -> None:
    sizes = [(100, 100), (300, 100), (100, 900), (2000, 50)]
    plan = plan_buckets(sizes, 3, max_size=(1000, 1000), max_batch_size=8, batch_pixels=200_000)
    assert plan.too_large == 1
    assert sum(plan.counts) == 3
    assert all(h <= 1000 and w <= 1000 for h, w in plan.shapes)
    for (height, width), batch in zip(plan.shapes, plan.batch_sizes):
        assert batch == min(8, 200_000 // (height * width))
    # One shape for both would have more pixels than a batch may.
    assert len(plan_buckets([(32, 640), (640, 32)], 2, batch_pixels=32 * 640).shapes) == 2
    assert plan_buckets([(10, 10)], 1, multiple=(16, 48)).shapes == ((16, 48),)


def test_longer_shapes_count_by_their_last_two() -> None:
    assert plan_buckets([(1, 3, 40, 60), (3, 33, 64)], 1).shapes == ((64, 64),)


@pytest.mark.parametrize(
    ("sizes", "settings", "error"),
    [
        ([], {}, SpecError),
        ([(0, 5)], {}, SpecError),
        ([(5,)], {}, SpecError),
        ([(64, 64)], {"max_size": (32, 32)}, SpecError),
        ([(64, 64)], {"batch_pixels": 64}, SpecError),
        ([(32, 640), (640, 32)], {"batch_pixels": 32 * 640}, SpecError),
        ([(64, 64)], {"count": 0}, OptionError),
        ([(64, 64)], {"multiple": 0}, OptionError),
        ([(64, 64)], {"max_batch_size": 0}, OptionError),
        ([(64, 64)], {"count": 2.5}, OptionError),
        ([(64, 64)], {"multiple": 1.5}, OptionError),
        ([(64, 64)], {"multiple": (32, 32, 32)}, OptionError),
        ([(64, 64)], {"max_size": (64, 64, 64)}, OptionError),
        ([(64, 64)], {"batch_pixels": "1e6"}, OptionError),
        # Rounded down, no shape would hold it.
        ([(64.5, 64)], {}, SpecError),
        ([64, 64], {}, SpecError),
        ("ab", {}, SpecError),
    ],
)
def test_what_cannot_be_planned_is_refused(sizes: Sizes, settings: dict[str, int], error: type[Exception]) -> None:
    with pytest.raises(error):
        plan_buckets(sizes, **{"count": 1, **settings})  # type: ignore[arg-type]


def test_the_report_can_be_read_stored_and_drawn(tmp_path: Path) -> None:
    sizes = [(100, 100), (300, 100), (100, 900)] * 5
    plan = plan_buckets(sizes, 2)
    fields = json.loads(json.dumps(plan.to_dict()))
    assert fields["shapes"] == [list(shape) for shape in plan.shapes]
    assert fields["waste"] == pytest.approx(1 - plan.valid_area / plan.area)
    assert 0 < plan.waste < plan.waste_before < 1
    assert f"padding is {plan.waste:.1%}" in str(plan)
    plan.plot(tmp_path / "plan.png", sizes)
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_sizes_may_be_rows_of_an_array_or_of_a_tensor() -> None:
    sizes = [(40, 60), (33, 64), (20, 20)]
    plans = {plan_buckets(given, 2).shapes for given in (sizes, np.array(sizes), torch.tensor(sizes), iter(sizes))}
    assert plans == {((32, 32), (64, 64))}


def test_shapes_without_an_end_are_refused() -> None:
    with pytest.raises(SpecError, match="expected \\(height, width\\) of each input"):
        plan_buckets([itertools.repeat("x")], 2)  # type: ignore[list-item]
