"""The search behind `plan_buckets`: which `count` shapes hold all sizes with the fewest pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_ITERATIONS = 150
_NODES = 20_000


def search(
    cells: Ints, weights: Ints, count: int, limit: int | None, *, prove: bool = True
) -> tuple[Ints, float, bool]:
    """Choose shapes.

    Args:
        cells: (M, 2) different sizes.
        weights: (M,) how often each occurs.
        count: How many shapes, at most.
        limit: Pixels of a shape, at most; None for any number.
        prove: Whether to look on after exchanging shapes one by one has found nothing better.

    Returns:
        (K, 2) shapes, a lower bound of the pixels of any plan, and whether the shapes are proved to be optimal.
    """
    if len(cells) <= count:
        return cells, float((cells.prod(1) * weights).sum()), True
    varying = [axis for axis in (0, 1) if len(np.unique(cells[:, axis])) > 1]
    if len(varying) == 1:
        order = cells[:, varying[0]].argsort()
        chosen, cost = _along_one_dimension(cells[order], weights[order], count)
        return chosen, cost, True
    return _Plane(cells, weights, count, limit).solve(prove)


def _along_one_dimension(cells: Ints, weights: Ints, count: int) -> tuple[Ints, float]:
    """Dynamic programming over sorted sizes: the best cost of the first j with k shapes, the last being size j."""
    total = np.concatenate([[0], np.cumsum(weights)]).astype(np.float64)
    areas = cells.prod(1).astype(np.float64)
    best = areas * total[1:]
    splits = []
    for _ in range(count - 1):
        before = np.concatenate([[0.0], best])
        split = np.empty(len(cells), dtype=np.int64)
        for j in range(len(cells)):
            costs = before[: j + 1] + areas[j] * (total[j + 1] - total[: j + 1])
            split[j] = costs.argmin()
            best[j] = costs[split[j]]
        splits.append(split)
    chosen, j = [], len(cells) - 1
    for split in reversed(splits):
        chosen.append(j)
        j = int(split[j]) - 1
        if j < 0:
            break
    if j >= 0:
        chosen.append(j)
    return cells[sorted(set(chosen))], float(best[-1])


class _Plane:
    """The problem in two dimensions: a p-median problem whose facilities are the shapes that touch a size on two sides.

    Costs are pixels, in units of what all areas have in common, so that a gap below one unit proves an optimum.
    """

    def __init__(self, cells: Ints, weights: Ints, count: int, limit: int | None) -> None:
        self.count = count
        self.weights = weights.astype(np.float64)
        shapes = np.array([(h, w) for h in np.unique(cells[:, 0]) for w in np.unique(cells[:, 1])], dtype=np.int64)
        inside = np.all(np.less_equal(cells[:, None], shapes[None]), axis=2)
        touching = np.all(np.any(np.equal(cells[:, None], shapes[None]) & inside[:, :, None], axis=0), axis=1)
        allowed = touching if limit is None else touching & (shapes.prod(1) <= limit)
        self.shapes = shapes[allowed]
        areas = self.shapes.prod(1)
        self.unit = float(np.gcd.reduce(areas))
        self.area = areas / self.unit
        # A size that fits no shape costs so much that no plan leaves one out.
        self.misfit = 10.0 * self.area.max()
        # (M, C) area that each size takes in each shape.
        self.taken = np.where(inside[:, allowed], self.area, self.misfit)

    def cost(self, chosen: list[int]) -> float:
        return float(self.weights @ self.taken[:, chosen].min(1))

    def solve(self, prove: bool) -> tuple[Ints, float, bool]:
        chosen = self._improve(self._greedy())
        best = self.cost(chosen)
        if not prove:
            return self.shapes[sorted(chosen)], 0.0, False
        bound, prices = self._bound(best)
        optimal = bound > best - 1 + 1e-6
        if not optimal:
            chosen, optimal = self._branch(chosen, best, prices)
            best = self.cost(chosen)
        return self.shapes[sorted(chosen)], self.unit * (best if optimal else bound), optimal

    def _greedy(self) -> list[int]:
        chosen: list[int] = []
        taken = np.full(len(self.weights), self.misfit)
        for _ in range(min(self.count, len(self.shapes))):
            costs = self.weights @ np.minimum(taken[:, None], self.taken)
            chosen.append(int(costs.argmin()))
            taken = np.minimum(taken, self.taken[:, chosen[-1]])
        return list(dict.fromkeys(chosen))

    def _improve(self, chosen: list[int]) -> list[int]:
        """Exchange one shape for another while that helps."""
        best = self.cost(chosen)
        improved = True
        while improved:
            improved = False
            for place in range(len(chosen)):
                others = chosen[:place] + chosen[place + 1 :]
                taken = self.taken[:, others].min(1) if others else np.full(len(self.weights), self.misfit)
                costs = self.weights @ np.minimum(taken[:, None], self.taken)
                if costs.min() < best - 1e-6:
                    best, improved = float(costs.min()), True
                    chosen = [*others, int(costs.argmin())]
        return chosen

    def _bound(self, best: float) -> tuple[float, Floats]:
        """Lagrangian bound: sizes pay prices, and only the shapes that earn most count. Subgradient ascent."""
        prices = np.sort(self.taken, axis=1)[:, : self.count + 1].mean(1)
        bound, found, step = -np.inf, prices, 1.0
        stalled = 0
        for _ in range(_ITERATIONS):
            gains = self._gains(prices)
            open_shapes = np.argpartition(gains, min(self.count, len(gains)) - 1)[: self.count]
            value = float(self.weights @ prices + gains[open_shapes].sum())
            if value > bound + 1e-9:
                bound, found, stalled = value, prices, 0
            else:
                stalled += 1
            if bound > best - 1 + 1e-6:
                break
            if stalled == 8:
                step, stalled, prices = step / 2, 0, found
                continue
            slope = 1.0 - (self.taken[:, open_shapes] < prices[:, None]).sum(1)
            norm = float(self.weights @ slope**2)
            if norm == 0:
                break
            prices = np.maximum(prices + step * (best - value) / norm * slope, 0.0)
        return bound, found

    def _gains(self, prices: Floats) -> Floats:
        """What each shape saves against the prices; never more than 0."""
        return self.weights @ np.minimum(self.taken - prices[:, None], 0.0)

    def _branch(self, chosen: list[int], best: float, prices: Floats) -> tuple[list[int], bool]:
        """Try every set of shapes that the prices do not rule out, the most promising first.

        Returns:
            The best set, and whether all were tried or ruled out.
        """
        gains = self._gains(prices)
        order = gains.argsort()
        ranked, base = gains[order], float(self.weights @ prices)
        cumulated = np.concatenate([[0.0], np.cumsum(ranked)])
        nodes = 0
        full = np.full(len(self.weights), self.misfit)
        # (next place in the order, shapes taken, what each size takes, bound so far)
        stack: list[tuple[int, list[int], Floats, float]] = [(0, [], full, base)]
        while stack:
            place, taken_shapes, taken, value = stack.pop()
            left = self.count - len(taken_shapes)
            if left == 0 or place == len(order):
                continue
            nodes += 1
            if nodes > _NODES:
                return chosen, False
            reach = min(place + left, len(order))
            if value + cumulated[reach] - cumulated[place] > best - 1 + 1e-6:
                continue
            stack.append((place + 1, taken_shapes, taken, value))
            shape = int(order[place])
            joined = np.minimum(taken, self.taken[:, shape])
            cost = float(self.weights @ joined)
            if cost < best - 1e-6:
                best, chosen = cost, [*taken_shapes, shape]
            stack.append((place + 1, [*taken_shapes, shape], joined, value + ranked[place]))
        return chosen, True
