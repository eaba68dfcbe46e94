"""Score maps as CRAFT gives them for pages of words, drawn from a seed, and a slow detector to compare with."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

THRESHOLDS = {"text_threshold": 0.7, "link_threshold": 0.4, "low_text": 0.4}


def make_score_maps(size, words, seed, *, spread=0.8, shift=0.0):
    """Draw region and affinity scores of a page with a grid of words.

    One Gaussian a character and one between two neighbours. Of the words 30 % are turned, half of them by up to 60
    degrees, 15 % are curved, 4 % are faint; speckles below the minimum size and noise lie over all.

    Args:
        size: Height and width in pixels.
        words: How many words.
        seed: Equal seeds give equal maps.
        spread: Length of a word as a share of its cell; above 1 words touch and overlap.
        shift: Share of a cell that the grid is moved up and left by; then the border cuts words.

    Returns:
        region, affinity: (size, size) float32.
    """
    rng = np.random.default_rng([seed, size, words])
    maps = np.zeros((2, size, size), np.float32)
    side = max(1, math.ceil(math.sqrt(words)))
    cell = size / side
    for k in range(words):
        row, column = divmod(k, side)
        centre = (np.array([column, row]) + 0.5 - shift) * cell + rng.uniform(-0.05, 0.05, 2) * cell
        _draw_word(maps, centre, cell * spread, rng)
    for _ in range(words // 5):
        x, y = rng.integers(0, size, 2)
        maps[0, y : y + 2, x : x + 3] = rng.uniform(0.5, 1)
    maps += np.asarray(rng.normal(0, 0.02, maps.shape), np.float32)
    return maps[0], maps[1]


def _draw_word(maps, centre, length, rng) -> None:
    characters = int(rng.integers(1, 10))
    step = length / max(characters, 3)
    height = step * rng.uniform(1.0, 1.8)
    angle = 0.0
    if rng.random() < 0.3:
        angle = rng.uniform(-1, 1) * (math.pi / 3 if rng.random() < 0.5 else math.pi / 12)
    bend = rng.uniform(-1.2, 1.2) / max(characters, 1) if rng.random() < 0.15 else 0.0
    peak = rng.uniform(0.5, 0.7) if rng.random() < 0.04 else rng.uniform(0.8, 1.0)
    places = [_place(i, characters, step, angle, bend) for i in np.arange(0, characters - 0.5, 0.5)]
    middle = np.mean([offset for offset, _ in places], axis=0)
    for i, (offset, direction) in enumerate(places):
        link = i % 2
        _draw_gaussian(
            maps[link], centre + offset - middle, step * 0.3, height * (0.2 if link else 0.3), direction, peak
        )


def _place(i, characters, step, angle, bend):
    """Offset and direction of the i-th character of a word that turns by `bend` from each character to the next."""
    direction = angle + bend * (i - (characters - 1) / 2)
    offset = np.zeros(2)
    for j in np.arange(0.5, i + 0.5, 0.5):
        d = angle + bend * (j - (characters - 1) / 2)
        offset += step / 2 * np.array([math.cos(d), math.sin(d)])
    return offset, direction


def _draw_gaussian(plane, centre, sigma_along, sigma_across, direction, peak) -> None:
    reach = 3.5 * max(sigma_along, sigma_across)
    low = np.maximum(np.floor(centre - reach), 0).astype(int)
    high = np.minimum(np.ceil(centre + reach) + 1, plane.shape[::-1]).astype(int)
    if (low >= high).any():
        return
    y, x = np.mgrid[low[1] : high[1], low[0] : high[0]]
    x, y = x - centre[0], y - centre[1]
    along = x * math.cos(direction) + y * math.sin(direction)
    across = -x * math.sin(direction) + y * math.cos(direction)
    blob = peak * np.exp(-0.5 * ((along / sigma_along) ** 2 + (across / sigma_across) ** 2))
    part = plane[low[1] : high[1], low[0] : high[0]]
    np.maximum(part, blob.astype(np.float32), out=part)


def slow_boxes(region, affinity, *, text_threshold, link_threshold, low_text, min_area=10):
    """Find boxes by the definition, one pixel after the other.

    A word is a 4-connected set of pixels with text or link, of `min_area` pixels at least, whose region score reaches
    `text_threshold`. Its text pixels, widened by a square of 1 + n pixels, n twice the root of the share of the
    word's upright rectangle that is filled times that rectangle's shorter side, lie in a smallest rotated rectangle.
    One with sides within 10 % of each other is replaced by the upright one.
    """
    text, link = region > low_text, affinity > link_threshold
    boxes = []
    for pixels in _flood(text | link):
        rows, columns = np.array(pixels).T
        if len(pixels) < min_area or region[rows, columns].max() < np.float32(text_threshold):
            continue
        keep = text[rows, columns]
        if not keep.any():
            continue
        width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
        n = int(math.sqrt(len(pixels) * min(width, height) / (width * height)) * 2)
        widened = _widen(text.shape, rows[keep], columns[keep], n)
        points = np.argwhere(widened)[:, ::-1].astype(np.int32)
        box = cv2.boxPoints(cv2.minAreaRect(points))
        a, b = np.linalg.norm(box[0] - box[1]), np.linalg.norm(box[1] - box[2])
        if abs(1 - max(a, b) / (min(a, b) + 1e-5)) <= 0.1:
            (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
            box = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)
        boxes.append(np.roll(box, -int(box.sum(axis=1).argmin()), axis=0))
    return boxes


def _flood(mask):
    """Yield the (row, column) pixels of each 4-connected region, in the order of the regions' first pixels."""
    left = {tuple(p) for p in np.argwhere(mask).tolist()}
    for start in sorted(left):
        if start not in left:
            continue
        left.remove(start)
        found, ahead = [], [start]
        while ahead:
            row, column = ahead.pop()
            found.append((row, column))
            for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if near in left:
                    left.remove(near)
                    ahead.append(near)
        yield found


def _widen(shape, rows, columns, n):
    widened = np.zeros(shape, bool)
    after = (n + 1) // 2
    before = n - after
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        widened[max(row - before, 0) : row + after + 1, max(column - before, 0) : column + after + 1] = True
    return widened


def slow_polygon(quad, word, min_side=10):
    """Fit a polygon by the definition, one column after the other.

    Args:
        quad: (4, 2) the word's box.
        word: (H, W) bool, the pixels of the word with its links.
        min_side: Fewest pixels of a side.

    The word is warped upright into a box of its sides' lengths plus one, cut to whole pixels. Of each column with two
    pixels or more count the lowest and the highest. A column that fills 70 % of the height makes the word straight.
    Eleven segments of equal width; a column beyond the current segment's end opens the next one, and only one. The
    first tallest column of every second segment is a pivot. No polygon without all five, or if a quarter of the
    tallest is more than a segment's width. The corners lie 1.45 / 2 of the median height away from the pivots, across
    the line between the centres of the segments beside it. Both ends move by 0.5, 0.7, ... heights along the sum of the
    last two slopes until the line meets nothing, at the latest at the first that leaves less than two steps to 2.
    """
    w, h = (int(np.linalg.norm(quad[i] - quad[i + 1]) + np.float32(1)) for i in (0, 1))
    if min(w, h) < min_side:
        return None
    matrix = cv2.getPerspectiveTransform(quad, np.array([(0, 0), (w, 0), (w, h), (0, h)], np.float32))
    upright = cv2.warpPerspective(word.astype(np.int32), matrix, (w, h), flags=cv2.INTER_NEAREST) > 0
    columns = []
    for x in range(w):
        rows = np.flatnonzero(upright[:, x])
        if len(rows) > 1:
            columns.append((x, int(rows[0]), int(rows[-1])))
    if not columns or max(low - high + 1 for _, high, low in columns) > h * 0.7 or columns[0][0] >= w / 11:
        return None
    segments: list[list[Any]] = [[] for _ in range(11)]
    number = 0
    for x, high, low in columns:
        number += x >= (number + 1) * (w / 11)
        segments[number].append((x, (high + low) * 0.5, low - high + 1))
    if not all(segments[1::2]):
        return None
    pivots = [max(segment, key=lambda column: column[2]) for segment in segments[1::2]]
    heights = [height for _, _, height in pivots]
    if w / 11 < max(heights) * 0.25:
        return None
    reach = float(np.median(heights)) * 1.45 / 2
    means = [np.mean([c[:2] for c in segment], axis=0) if segment else np.zeros(2) for segment in segments[::2]]
    pairs = []
    for (x, y, _), before, after in zip(pivots, means, means[1:], strict=False):
        angle = math.atan2(after[1] - before[1], after[0] - before[0]) if after[0] != before[0] else 0.0
        across, up = reach * math.sin(angle), reach * math.cos(angle)
        pairs.append(np.array([x + across, y - up, x - across, y + up]))
    ends = []
    for pair, direction, (a, b, c) in ((pairs[0], -1, pivots[:3]), (pairs[-1], 1, pivots[:-4:-1])):
        slope = (b[1] - a[1]) / (b[0] - a[0]) + (c[1] - b[1]) / (c[0] - b[0])
        for step in np.arange(0.5, 2, 0.2):
            moved = pair + direction * 2 * reach * step * np.array([1, slope, 1, slope])
            line = cv2.line(np.zeros((h, w), np.uint8), tuple(map(int, moved[:2])), tuple(map(int, moved[2:])), 1)
            if step + 0.4 >= 2 or not (line.astype(bool) & upright).any():
                break
        ends.append(moved)
    ring = [ends[0], *pairs, ends[1]]
    corners = np.array([p[:2] for p in ring] + [p[2:] for p in ring[::-1]])
    x, y, scale = np.linalg.inv(matrix) @ np.column_stack([corners, np.ones(14)]).T
    return np.column_stack([x / scale, y / scale])
