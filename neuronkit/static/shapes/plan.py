"""Choosing the shapes to compile, from the sizes that will come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuronkit import checks
from neuronkit.checks import shown
from neuronkit.errors import SpecError
from neuronkit.report import Grid, Report, new_figure, number, save_figure
from neuronkit.static.shapes.search import search

Ints = npt.NDArray[np.int64]

# More different heights or widths than this are searched on coarser grids first, and refined on a finer one.
MAX_LEVELS = 26
COARSE_LEVELS = (18, 32)
REFINED_LEVELS = 96
MAX_LEVELS_1D = 4096
# Products of two of these, summed over all inputs, stay within 64 bits.
_LARGEST, _MOST_SHAPES = 1 << 20, 4_000_000
# Dimensions of a shape.
_MOST_SIZES = 64


@dataclass(frozen=True, repr=False)
class BucketPlan(Report):
    """Shapes to compile, and what they cost on the observed sizes.

    Attributes:
        shapes: (height, width) of each, by area.
        batch_sizes: Rows of each.
        counts: How many of the observed sizes go to each.
        valid_area: Pixels of the observed sizes.
        area: Pixels computed with these shapes.
        area_before: Pixels computed with one shape for all.
        single_shape: That shape.
        lower_bound: No plan of as many shapes computes fewer pixels than this.
        optimal: Whether it is proved that none computes fewer than `area`.
        too_large: How many sizes exceed `max_size`; they are in none of the numbers.

    Examples:
        >>> plan = neuronkit.plan_buckets([(32, 64)] * 100 + [(64, 320)], 2)
        >>> plan.optimal, plan.waste
        (True, 0.0)
    """

    shapes: tuple[tuple[int, int], ...]
    batch_sizes: tuple[int, ...]
    counts: tuple[int, ...]
    valid_area: int
    area: int
    area_before: int
    single_shape: tuple[int, int]
    lower_bound: float
    optimal: bool
    too_large: int

    @property
    def waste(self) -> float:
        """Share of the computed pixels that are padding, 0 to 1."""
        return 1 - self.valid_area / self.area

    @property
    def least_waste(self) -> float:
        """No plan of as many shapes wastes a smaller share than this."""
        return 1 - self.valid_area / self.lower_bound

    @property
    def waste_before(self) -> float:
        """The same with one shape for all."""
        return 1 - self.valid_area / self.area_before

    def to_dict(self) -> dict[str, Any]:
        """All fields and both shares, ready for JSON."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        lists = {name: [list(v) if isinstance(v, tuple) else v for v in value]
                 for name, value in fields.items() if isinstance(value, tuple)}  # fmt: skip
        return {**fields, **lists, "waste": self.waste, "waste_before": self.waste_before}

    def parts(self) -> list[str | Grid]:
        """The lines and grids that are shown."""
        proof = "no plan of as many is better" if self.optimal else f"at least {self.least_waste:.1%} with as many"
        rows = [
            [f"{height} x {width}", str(batch), number(count)]
            for (height, width), batch, count in zip(self.shapes, self.batch_sizes, self.counts)
        ]
        return [
            f"{len(self.shapes)} shapes: padding is {self.waste:.1%} of the pixels ({proof}), with one shape "
            f"{self.waste_before:.1%}",
            Grid(["height x width", "batch", "inputs"], rows, numbers=frozenset((1, 2))),
            *([f"{number(self.too_large)} inputs are larger than max_size"] if self.too_large else []),
        ]

    def plot(self, path: str | Path, observed: Iterable[Sequence[int]] = ()) -> None:
        """Draw the shapes, over the observed sizes where they are given, and the waste before and after.

        Args:
            path: Where to write the picture; the suffix decides the format.
            observed: (height, width) of inputs.

        Raises:
            MissingDependencyError: If matplotlib is missing.
            OptionError: If `path` is not the path of a picture, or cannot be written, or `observed` are not sizes.
        """
        pairs = [
            checks.integers("observed[...]", pair, 2, 1, 1 << 31)
            for pair in checks.items("observed", observed, "pairs")
        ]
        _draw(self, path, np.asarray(pairs, dtype=np.int64).reshape(-1, 2))


def plan_buckets(
    observed_shapes: Iterable[Sequence[int]],
    count: int,
    *,
    multiple: int | tuple[int, int] = 32,
    max_size: tuple[int, int] | None = None,
    max_batch_size: int = 1,
    batch_pixels: int | None = None,
) -> BucketPlan:
    """Choose the shapes that pad the least.

    Every input goes to the smallest shape that holds it. Of all sets of `count` shapes, this finds one whose pixels,
    summed over the observed inputs, are fewest: where only one dimension varies by dynamic programming; where both do,
    by branch and bound on the p-median problem that it is, with a Lagrangian bound. The plan says whether the optimum
    is proved (`BucketPlan.optimal`); samples with very many different sizes are searched on a coarser grid and refined.

    Args:
        observed_shapes: (height, width) of inputs, as many as there are; longer shapes count by their last two.
        count: How many shapes, at most.
        multiple: Shapes are multiples of this, for height and width or for each.
        max_size: (height, width) that no shape may exceed. Larger inputs are counted in `BucketPlan.too_large`, for
            neuronkit.Tiled.
        max_batch_size: Rows of a batch, at most.
        batch_pixels: Pixels of a batch, at most: larger shapes get fewer rows, and none has more pixels than this.

    Returns:
        The shapes (height, width) in pixels, their batch sizes, and what they cost on the observed sizes.

    Raises:
        OptionError: If `count`, `multiple` or a limit is not a whole number above 0, or not one for each dimension.
        SpecError: If there is no size to plan for, or one that no allowed shape holds.

    Examples:
        >>> neuronkit.plan_buckets([(32, 64)] * 100 + [(64, 320)], 2).shapes
        ((32, 64), (64, 320))
    """
    count = checks.integer("count", count, 1)
    max_batch_size = checks.integer("max_batch_size", max_batch_size, 1, _LARGEST)
    limit = None if batch_pixels is None else checks.integer("batch_pixels", batch_pixels, 1, _LARGEST**2)
    steps = _height_and_width("multiple", multiple)
    sizes = _sizes(observed_shapes)
    rounded = -(-sizes // steps) * steps
    largest = rounded.max(0) if max_size is None else _height_and_width("max_size", max_size)
    fits = (rounded <= largest).all(1)
    if not fits.any():
        raise SpecError(f"no observed size fits max_size={max_size} in multiples of {multiple}; raise the limit")
    cells, weights = np.unique(rounded[fits], axis=0, return_counts=True)
    if limit is not None and (cells.prod(1) > limit).any():
        cell = tuple(int(v) for v in cells[cells.prod(1).argmax()])
        raise SpecError(f"batch_pixels={limit} does not hold one input of {cell}; raise it, or lower max_size")
    chosen, bound, optimal = _choose(cells, weights, count, limit)
    if (assign(chosen, cells) < 0).any():
        raise SpecError(f"no {count} shapes of at most {limit} pixels hold all sizes; raise count or batch_pixels")
    return _report(
        chosen, cells, weights, sizes[fits], bound, optimal, len(sizes) - int(fits.sum()), max_batch_size, limit
    )


def _height_and_width(name: str, value: Any) -> Ints:
    """(2,): one number for both, or one for each."""
    both = value if isinstance(value, (tuple, list, np.ndarray)) else (value, value)
    return np.array(checks.integers(name, both, 2, 1, _LARGEST), dtype=np.int64)


def _sizes(observed: Iterable[Sequence[int]]) -> Ints:
    """(N, 2) heights and widths."""
    wrong = SpecError(
        f"got observed_shapes={shown(observed)}; expected (height, width) of each input, whole numbers from 1 to "
        f"{_LARGEST}; give a list of pairs"
    )
    listed = observed
    if not isinstance(observed, np.ndarray):
        listed = checks.items("observed_shapes", observed, "sizes", most=_MOST_SHAPES, error=SpecError)
    try:
        array = np.array([tuple(islice(shape, _MOST_SIZES))[-2:] for shape in listed], dtype=np.float64)
    except Exception:  # Sizes turn themselves into numbers, by code of their own.
        raise wrong from None
    if array.size == 0:
        raise SpecError("observed_shapes is empty; expected (height, width) of each input; give those that you expect")
    if array.ndim != 2 or array.shape[1] != 2 or not ((array >= 1) & (array % 1 == 0) & (array <= _LARGEST)).all():
        raise wrong
    return array.astype(np.int64)


def _choose(cells: Ints, weights: Ints, count: int, limit: int | None) -> tuple[Ints, float, bool]:
    """The shapes, a lower bound of the cost, and whether they are optimal."""
    if min(len(np.unique(cells[:, axis])) for axis in (0, 1)) == 1:
        return search(*_on_levels(cells, weights, MAX_LEVELS_1D), count, limit)
    if max(len(np.unique(cells[:, axis])) for axis in (0, 1)) <= MAX_LEVELS:
        return search(cells, weights, count, limit)
    fine = _on_levels(cells, weights, REFINED_LEVELS)
    plans = []
    for levels in COARSE_LEVELS:
        chosen, _, _ = search(*_on_levels(cells, weights, levels), count, limit, prove=False)
        plans.append(_shrink(_refine(chosen, *fine, limit), cells))
    best = min(plans, key=lambda shapes: cost_of(shapes, cells, weights))
    # No plan does better than shapes of every input's own size.
    return best, float((cells.prod(1) * weights).sum()), False


def _on_levels(cells: Ints, weights: Ints, count: int) -> tuple[Ints, Ints]:
    """Round sizes up to fewer different heights and widths, where there are more than this."""
    rounded = cells.copy()
    for axis in (0, 1):
        if len(np.unique(cells[:, axis])) > count:
            kept = _representative_levels(cells[:, axis], weights, count)
            rounded[:, axis] = kept[np.searchsorted(kept, cells[:, axis])]
    unique, inverse = np.unique(rounded, axis=0, return_inverse=True)
    return unique, np.bincount(inverse.reshape(-1), weights).astype(np.int64)


def _representative_levels(values: Ints, weights: Ints, count: int) -> Ints:
    """A few of the values, the largest among them, that share the weight evenly."""
    levels, inverse = np.unique(values, return_inverse=True)
    shares = np.cumsum(np.bincount(inverse.reshape(-1), weights))
    places = np.searchsorted(shares, np.linspace(0, shares[-1], count + 1)[1:])
    return np.unique(levels[np.minimum(places, len(levels) - 1)])


def _shrink(chosen: Ints, cells: Ints) -> Ints:
    """Cut each shape to what it holds."""
    found = assign(chosen, cells)
    return np.array([cells[found == index].max(0) for index in range(len(chosen)) if (found == index).any()])


def _refine(chosen: Ints, cells: Ints, weights: Ints, limit: int | None) -> Ints:
    """Move each shape's height and width to neighbouring sizes while that saves pixels."""
    chosen = chosen.copy()
    best = cost_of(chosen, cells, weights)
    levels = [np.unique(cells[:, axis]) for axis in (0, 1)]
    for _ in range(3):
        before = best
        for index in range(len(chosen)):
            for axis in (0, 1):
                place = int(np.searchsorted(levels[axis], chosen[index, axis]))
                reach = max(1, len(levels[axis]) // MAX_LEVELS)
                for step in sorted({max(1, reach // 2**i) for i in range(6)}, reverse=True):
                    for candidate in (place - step, place + step):
                        if not 0 <= candidate < len(levels[axis]):
                            continue
                        moved = chosen.copy()
                        moved[index, axis] = levels[axis][candidate]
                        if limit is not None and moved[index].prod() > limit:
                            continue
                        cost = cost_of(moved, cells, weights)
                        if cost < best:
                            best, chosen, place = cost, moved, candidate
        if best == before:
            break
    return chosen


def assign(shapes: Ints, sizes: Ints) -> Ints:
    """Index of the smallest shape that holds each size; -1 where none does."""
    areas = np.full(len(sizes), np.inf)
    found = np.full(len(sizes), -1, dtype=np.int64)
    for index, shape in enumerate(shapes):
        better = (sizes <= shape).all(1) & (shape.prod() < areas)
        areas[better], found[better] = shape.prod(), index
    return found


def cost_of(shapes: Ints, cells: Ints, weights: Ints) -> float:
    """Pixels that the sizes take in these shapes; infinite if one fits none."""
    found = assign(shapes, cells)
    return float("inf") if (found < 0).any() else float((shapes.prod(1)[found] * weights).sum())


def _report(
    chosen: Ints, cells: Ints, weights: Ints, sizes: Ints, bound: float, optimal: bool, too_large: int,
    max_batch_size: int, limit: int | None,
) -> BucketPlan:  # fmt: skip
    chosen = chosen[np.lexsort((chosen[:, 1], chosen[:, 0], chosen.prod(1)))]
    counts = np.bincount(assign(chosen, cells), weights, minlength=len(chosen)).astype(np.int64)
    chosen, counts = chosen[counts > 0], counts[counts > 0]
    areas = chosen.prod(1)
    batches = [max_batch_size if limit is None else max(1, min(max_batch_size, limit // int(area))) for area in areas]
    single = cells.max(0)
    area = int((areas * counts).sum())
    return BucketPlan(
        shapes=tuple((int(h), int(w)) for h, w in chosen),
        batch_sizes=tuple(int(batch) for batch in batches),
        counts=tuple(int(c) for c in counts),
        valid_area=int(sizes.prod(1).sum()),
        area=area,
        area_before=int(single.prod() * weights.sum()),
        single_shape=(int(single[0]), int(single[1])),
        lower_bound=float(area) if optimal else bound,
        optimal=optimal,
        too_large=too_large,
    )


def _draw(plan: BucketPlan, path: str | Path, observed: Ints) -> None:
    """Write a picture of the shapes, the observed sizes and the waste before and after."""
    figure = new_figure("a plan", (10, 4.5))
    from matplotlib.patches import Rectangle

    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    if len(observed):
        left.scatter(observed[:, 1], observed[:, 0], s=4, alpha=0.3, color="tab:gray", linewidths=0, label="inputs")
    for index, ((height, width), count) in enumerate(zip(plan.shapes, plan.counts)):
        color = f"C{index}"
        left.add_patch(Rectangle((0, 0), width, height, fill=False, edgecolor=color, linewidth=1.5))
        left.annotate(f"{height}×{width}: {count}", (width, height), ha="right", va="bottom", color=color, fontsize=8)
    height, width = plan.single_shape
    left.set(xlim=(0, width * 1.05), ylim=(0, height * 1.1), xlabel="width, pixels", ylabel="height, pixels")
    left.set_title(f"{len(plan.shapes)} shapes for {sum(plan.counts)} inputs")
    names = [f"one shape\n{height}×{width}", f"{len(plan.shapes)} shapes"]
    wastes = [100 * plan.waste_before, 100 * plan.waste]
    bars = right.bar(names, wastes, color=["tab:gray", "C0"])
    right.bar_label(bars, fmt="%.1f %%")
    right.set(ylim=(0, 100), ylabel="padding, % of the pixels computed", title="Waste before and after")
    save_figure(figure, path)
