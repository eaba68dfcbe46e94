"""Connected regions of a mask, by its runs: stretches of set pixels in one row, of which a word has a few dozen.

Labelling every pixel, as OpenCV does, takes most of the time that finding boxes may take; labelling runs takes little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.intp]


class RowMask:
    """A mask whose rows lie one behind the other with a gap of one background pixel, so that no run spans two rows.

    Attributes:
        pixels: (H, W) bool, to be written to.
    """

    def __init__(self, height: int, width: int) -> None:
        self.stride = width + 1
        self._flat = np.zeros(height * self.stride + 1, dtype=np.bool_)
        self.pixels: NDArray[np.bool_] = self._flat[1:].reshape(height, self.stride)[:, :width]

    def runs(self) -> Runs:
        """Find the runs, row by row."""
        edges = np.flatnonzero(self._flat[1:] != self._flat[:-1])
        return Runs(edges[0::2], edges[1::2], self.stride)


@dataclass(frozen=True)
class Runs:
    """Runs in reading order.

    Attributes:
        begin: (R,) place of the first pixel: row * stride + column.
        end: (R,) place after the last pixel.
        stride: Places from one row to the next.
    """

    begin: Index
    end: Index
    stride: int

    def rows_and_columns(self) -> tuple[Index, Index, Index]:
        """Row, first column and last column of each run."""
        row = self.begin // self.stride
        start = row * self.stride
        return row, self.begin - start, self.end - start - 1

    def holding(self, inner: Runs) -> Index:
        """Give the index of the run that holds each run of `inner`."""
        return np.searchsorted(self.begin, inner.begin, side="right") - 1


def connect(runs: Runs) -> tuple[Index, int]:
    """Group runs that touch in neighbouring rows, as 4-connected regions.

    Returns:
        (R,) the number of each run's region, counted from 0 in the order of the regions' first pixels; and how many
        regions there are.
    """
    # The runs of the row above that share a column with each run: from `low` up to but not including `high`.
    low = np.searchsorted(runs.end, runs.begin - runs.stride, side="right")
    high = np.searchsorted(runs.begin, runs.end - runs.stride, side="left")
    touching = high - low
    parent = np.arange(len(runs.begin))
    np.copyto(parent, low, where=touching > 0)
    _point_to_roots(parent)
    several = np.flatnonzero(touching > 1)
    if len(several):
        further = touching[several] - 1
        skipped = np.cumsum(further) - further
        above = np.repeat(low[several] + 1 - skipped, further) + np.arange(further.sum())
        _join(parent, above, np.repeat(several, further))
    roots, region = np.unique(parent, return_inverse=True)
    return region, len(roots)


def _point_to_roots(parent: Index) -> None:
    """Replace each parent by its own, until all are roots: as many rounds as the logarithm of the longest way."""
    while True:
        grandparent = parent[parent]
        if np.array_equal(grandparent, parent):
            return
        parent[...] = grandparent


def _join(parent: Index, a: Index, b: Index) -> None:
    """Unite the trees of the runs a[i] and b[i], always under the smaller root."""
    while True:
        root_a, root_b = parent[a], parent[b]
        apart = root_a != root_b
        if not apart.any():
            return
        a, b, root_a, root_b = a[apart], b[apart], root_a[apart], root_b[apart]
        np.minimum.at(parent, np.maximum(root_a, root_b), np.minimum(root_a, root_b))
        _point_to_roots(parent)
