"""Score maps as CRAFT gives them for pages of words, drawn from a seed, and a slow detector to compare with."""

from __future__ import annotations

import math

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
    maps += rng.normal(0, 0.02, maps.shape).astype(np.float32)
    return maps[0], maps[1]


def _draw_word(maps, centre, length, rng):
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


def _draw_gaussian(plane, centre, sigma_along, sigma_across, direction, peak):
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
