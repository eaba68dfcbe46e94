"""From CRAFT's score maps to connected regions, each one word, as arrays over all words at once.

The original looks at the whole map once for every word. Here every step looks at the whole map once for all words,
and then only at the *runs*: stretches of neighbouring text pixels in one row, of which a word has a few dozen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronkit.errors import SpecError
from neuronkit.ocr._arrays import to_float
from neuronkit.ocr._cv2 import load_cv2

Map = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Components:
    """The connected regions of a score map that are words, in the order of their first pixel, row by row.

    Attributes:
        labels: (H, W) int32, 0 is background.
        ids: (B,) the label of each word.
        peaks: (B,) the highest region score of each word.
        dilations: (B,) how many pixels the original widens each word by.
        points: One (P, 2) int32 array of (x, y) a word: pixels of the widened word, row by row, with all the corners
            of its convex hull among them.
    """

    labels: NDArray[np.int32]
    ids: NDArray[np.int64]
    peaks: Map
    dilations: NDArray[np.int64]
    points: list[NDArray[np.int32]]


def score_maps(region: Any, affinity: Any) -> tuple[Map, Map]:
    """Check two score maps and give them as floating-point arrays.

    Raises:
        SpecError: If they are not two finite (H, W) maps of the same size.
    """
    region, affinity = to_float(region, "region scores"), to_float(affinity, "affinity scores")
    if region.ndim != 2 or region.shape != affinity.shape or not region.size:
        raise SpecError(
            f"region scores have shape {region.shape} and affinity scores {affinity.shape}; expected the same (H, W) "
            "for both, without batch or channel: channels 0 and 1 of one image's score maps"
        )
    for name, scores in (("region", region), ("affinity", affinity)):
        # A sum is finite only if everything in it is, and far cheaper than asking each number.
        with np.errstate(over="ignore", invalid="ignore"):
            total = scores.sum()
        if not np.isfinite(total) and not np.isfinite(scores).all():
            raise SpecError(
                f"{name} scores hold {np.count_nonzero(~np.isfinite(scores))} values that are NaN or infinite; "
                "check the detector's weights, and its precision if it runs in half precision"
            )
    return region, affinity


def find_components(
    region: Map, affinity: Map, *, text_threshold: float, link_threshold: float, low_text: float, min_area: int
) -> Components:
    """Label the words of a score map.

    A word is a 4-connected region of pixels with text or link, of at least `min_area` pixels, with a region score of
    `text_threshold` somewhere. Regions of links alone, of which the original makes boxes at (0, 0), are left out.
    """
    text, runs = _text_runs(region, low_text)
    joined = np.logical_or(text, affinity > link_threshold).view(np.uint8)
    count, labels, stats, _ = load_cv2().connectedComponentsWithStats(joined, connectivity=4)
    run_labels = labels[runs.row, runs.first]
    peaks = np.full(count, -np.inf, dtype=region.dtype)
    np.maximum.at(peaks, run_labels, _run_maxima(region, runs))
    stats = stats.astype(np.int64)
    areas = stats[:, 4]
    kept = (areas >= min_area) & (peaks >= text_threshold) & np.isfinite(peaks)
    kept[0] = False
    ids = np.flatnonzero(kept)
    dilations = _dilations(areas[ids], stats[ids, 2], stats[ids, 3])
    points = _outline_points(runs, run_labels, ids, dilations, count, region.shape)
    return Components(labels, ids, peaks[ids], dilations, points)


@dataclass(frozen=True)
class _Runs:
    """Stretches of text pixels: row, first and last column of each, in reading order."""

    row: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]


def _text_runs(region: Map, low_text: float) -> tuple[NDArray[np.bool_], _Runs]:
    height, width = region.shape
    # A column of background after each row, and a pixel before the first: no run goes on in the next row.
    stride = width + 1
    flat = np.zeros(height * stride + 1, dtype=np.bool_)
    text = flat[1:].reshape(height, stride)[:, :width]
    np.greater(region, low_text, out=text)
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    begin, end = edges[0::2], edges[1::2]
    row = begin // stride
    return text, _Runs(row, begin - row * stride, end - row * stride - 1)


def _run_maxima(region: Map, runs: _Runs) -> Map:
    if not len(runs.row):
        return np.empty(0, region.dtype)
    flat = np.ascontiguousarray(region).reshape(-1)
    begin = runs.row * region.shape[1]
    bounds = np.stack([begin + runs.first, begin + runs.last + 1], axis=1).reshape(-1)
    # reduceat runs from each bound to the next: every second result is the gap between two runs.
    if bounds[-1] == flat.size:
        bounds = bounds[:-1]
    return np.maximum.reduceat(flat, bounds)[0::2]


def _dilations(areas: NDArray[np.int64], widths: NDArray[np.int64], heights: NDArray[np.int64]) -> NDArray[np.int64]:
    return (np.sqrt(areas * np.minimum(widths, heights) / (widths * heights)) * 2).astype(np.int64)


def _outline_points(
    runs: _Runs,
    run_labels: NDArray[np.int32],
    ids: NDArray[np.int64],
    dilations: NDArray[np.int64],
    count: int,
    shape: tuple[int, ...],
) -> list[NDArray[np.int32]]:
    """Corners of all runs, widened as a dilation by a square would, grouped by word and sorted row by row.

    A square of n + 1 pixels moves the ends of a run by n - (n + 1) // 2 to the left and up and by (n + 1) // 2 to the
    right and down. The order matters: OpenCV lets the order of the points decide where a convex hull begins, and with
    it which of two equal rectangles is the smallest.
    """
    height, width = shape
    index = np.full(count, -1)
    index[ids] = np.arange(len(ids))
    word = index[run_labels]
    chosen = word >= 0
    word = word[chosen]
    after = (dilations[word] + 1) // 2
    before = dilations[word] - after
    row, first, last = runs.row[chosen], runs.first[chosen], runs.last[chosen]
    left, right = np.maximum(first - before, 0), np.minimum(last + after, width - 1)
    up, down = np.maximum(row - before, 0), np.minimum(row + after, height - 1)
    base = word * height
    keys = np.concatenate([(base + y) * width + x for y, x in ((up, left), (up, right), (down, left), (down, right))])
    keys.sort()
    keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys
    rows, x = np.divmod(keys, width)
    word, y = np.divmod(rows, height)
    points = np.stack([x, y], axis=1).astype(np.int32)
    bounds = np.searchsorted(word, np.arange(len(ids) + 1))
    return [points[begin:end] for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]
