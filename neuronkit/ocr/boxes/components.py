"""From CRAFT's score maps to connected regions, each one word, as arrays over all words at once.

The original looks at the whole map several times for every word. Here every step looks at it once for all words.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronkit.errors import SpecError
from neuronkit.ocr._arrays import to_float
from neuronkit.ocr.boxes.runs import Index, RowMask, Runs, connect

Map = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Components:
    """The connected regions of a score map that are words, in the order of their first pixel, row by row.

    Attributes:
        runs: The runs of text or link pixels of the whole map.
        regions: (R,) the region of each run.
        ids: (B,) the region of each word.
        peaks: (B,) the highest region score of each word.
        points: One (P, 2) int32 array of (x, y) a word: pixels of the widened word, row by row, with all the corners
            of its convex hull among them.
        joined: Where there is text or a link.
    """

    runs: Runs
    regions: Index
    ids: Index
    peaks: Map
    points: list[NDArray[np.int32]]
    joined: RowMask

    def paint_labels(self) -> NDArray[np.int32]:
        """Give the word that each pixel belongs to, counted from 1: (H, W) int32, 0 where there is none."""
        height, width = self.joined.pixels.shape
        numbers = np.zeros(len(self.regions) + 1, np.int32)
        numbers[self.ids] = np.arange(1, len(self.ids) + 1)
        # Background and runs take turns.
        values = np.zeros(2 * len(self.regions) + 1, np.int32)
        values[1::2] = numbers[self.regions]
        bounds = np.empty(len(values) + 1, np.intp)
        bounds[0], bounds[1:-1:2], bounds[2:-1:2], bounds[-1] = 0, self.runs.begin, self.runs.end, height * (width + 1)
        return np.repeat(values, np.diff(bounds)).reshape(height, width + 1)[:, :width]


def score_maps(region: Any, affinity: Any) -> tuple[Map, Map]:
    """Check two score maps and give them as floating-point arrays.

    Raises:
        SpecError: If they are not two finite (H, W) maps of the same size, or hold more than 2**28 pixels.
    """
    region, affinity = to_float(region, "region scores"), to_float(affinity, "affinity scores")
    if region.ndim != 2 or region.shape != affinity.shape or not region.size:
        raise SpecError(
            f"got region scores of shape {region.shape} and affinity scores of {affinity.shape}; expected the same "
            "(H, W) for both, without batch or channel; give channels 0 and 1 of one image's score maps"
        )
    for name, scores in (("region", region), ("affinity", affinity)):
        # A sum is finite only if everything in it is, and far cheaper than asking each number.
        with np.errstate(over="ignore", invalid="ignore"):
            total = scores.sum()
        if not np.isfinite(total) and not np.isfinite(scores).all():
            raise SpecError(
                f"got {name} scores with {np.count_nonzero(~np.isfinite(scores))} values that are NaN or infinite; "
                "expected finite ones; check the detector's weights, and its precision if it runs in half precision"
            )
    # A channel of interleaved maps is read several times: once in one piece, it is read faster.
    return np.ascontiguousarray(region), np.ascontiguousarray(affinity)


def find_components(
    region: Map, affinity: Map, *, text_threshold: float, link_threshold: float, low_text: float, min_area: int
) -> Components:
    """Label the words of a score map.

    A word is a 4-connected region of pixels with text or link, of at least `min_area` pixels, with a region score of
    `text_threshold` somewhere. Regions of links alone, of which the original makes boxes at (0, 0), are left out.
    """
    text, joined = RowMask(*region.shape), RowMask(*region.shape)
    np.greater(region, low_text, out=text.pixels)
    np.logical_or(text.pixels, affinity > link_threshold, out=joined.pixels)
    runs, text_runs = joined.runs(), text.runs()
    regions, count = connect(runs)
    text_regions = regions[runs.holding(text_runs)]
    peaks = np.full(count, -np.inf, dtype=region.dtype)
    np.maximum.at(peaks, text_regions, _run_maxima(region, text_runs))
    areas, widths, heights = _extents(runs, regions, count)
    ids = np.flatnonzero((areas >= min_area) & (peaks >= text_threshold) & np.isfinite(peaks))
    filled = areas[ids] * np.minimum(widths[ids], heights[ids]) / (widths[ids] * heights[ids])
    dilations = (np.sqrt(filled) * 2).astype(np.intp)
    points = _outline_points(text_runs, text_regions, ids, dilations, count, region.shape)
    return Components(runs, regions, ids, peaks[ids], points, joined)


def _extents(runs: Runs, regions: Index, count: int) -> tuple[Index, Index, Index]:
    """Area, width and height of each region, in pixels."""
    row, first, last = runs.rows_and_columns()
    areas = np.zeros(count, np.intp)
    np.add.at(areas, regions, last - first + 1)
    left, right, bottom = np.full(count, runs.stride), np.zeros(count, np.intp), np.zeros(count, np.intp)
    np.minimum.at(left, regions, first)
    np.maximum.at(right, regions, last)
    np.maximum.at(bottom, regions, row)
    # Runs come row by row, so that a region's first run lies in its first row.
    top = row[np.unique(regions, return_index=True)[1]]
    return areas, right - left + 1, bottom - top + 1


def _run_maxima(region: Map, runs: Runs) -> Map:
    if not len(runs.begin):
        return np.empty(0, region.dtype)
    flat = region.reshape(-1)
    row, first, last = runs.rows_and_columns()
    begin = row * region.shape[1]
    bounds = np.stack([begin + first, begin + last + 1], axis=1).reshape(-1)
    # reduceat goes from each bound to the next: every second result is the gap between two runs.
    if bounds[-1] == flat.size:
        bounds = bounds[:-1]
    maxima: Map = np.maximum.reduceat(flat, bounds)[0::2]
    return maxima


def _outline_points(
    runs: Runs, regions: Index, ids: Index, dilations: Index, count: int, shape: tuple[int, ...]
) -> list[NDArray[np.int32]]:
    """Corners of all runs, widened as a dilation by a square would, grouped by word and sorted row by row.

    A square of n + 1 pixels moves the ends of a run by n - (n + 1) // 2 to the left and up and by (n + 1) // 2 to the
    right and down. The order matters: OpenCV lets the order of the points decide where a convex hull begins, and with
    it which of two equal rectangles is the smallest.
    """
    height, width = shape
    index = np.full(count, -1)
    index[ids] = np.arange(len(ids))
    word = index[regions]
    chosen = np.flatnonzero(word >= 0)
    word = word[chosen]
    after = (dilations[word] + 1) // 2
    before = dilations[word] - after
    row, first, last = (places[chosen] for places in runs.rows_and_columns())
    left, right = np.maximum(first - before, 0), np.minimum(last + after, width - 1)
    up, down = np.maximum(row - before, 0), np.minimum(row + after, height - 1)
    base = word * height
    # One number for word, row and column sorts all points of all words at once.
    upper, lower = (base + up) * width, (base + down) * width
    keys = np.sort(np.concatenate([upper + left, upper + right, lower + left, lower + right]))
    if len(keys):
        keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]
    rows, x = np.divmod(keys, width)
    word, y = np.divmod(rows, height)
    points = np.stack([x, y], axis=1).astype(np.int32)
    bounds = np.searchsorted(word, np.arange(len(ids) + 1)).tolist()
    return [points[begin:end] for begin, end in itertools.pairwise(bounds)]
