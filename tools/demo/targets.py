"""Target score maps of CRAFT: a Gaussian on each character, and one between neighbours of a word.

As in Baek et al., arXiv 1904.01941, section 3.2.1; the boxes are enlarged first, as later trainers do, so that
thresholding at 0.4 and the dilation of post-processing give the extent of the word's ink.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from neuronkit.demo.pages import PageWord

_ENLARGE = 1.85
# The Gaussian has fallen to 0.004 on the middle of the enlarged box's edges.
_STEEPNESS = 3.34


def score_maps(words: Iterable[PageWord], size: tuple[int, int]) -> NDArray[np.float32]:
    """Draw the score maps of a page.

    Args:
        words: The page's words.
        size: (height, width) of the page in pixels, both even.

    Returns:
        (height / 2, width / 2, 2) float32 in 0..1: the region score, and the affinity score.
    """
    maps = np.zeros((size[0] // 2, size[1] // 2, 2), dtype=np.float32)
    for word in words:
        for quad in word.characters / 2:
            _draw_gaussian(maps[..., 0], quad)
        for quad in affinity_quads(word.characters) / 2:
            _draw_gaussian(maps[..., 1], quad)
    return maps


def affinity_quads(characters: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the affinity box between each two neighbours.

    Args:
        characters: (n, 4, 2) float32, clockwise from top-left.

    Returns:
        (n - 1, 4, 2) float32: through the centroids of the upper and the lower triangle that a character's
        diagonals cut off.
    """
    middle = characters.mean(axis=1, keepdims=True)
    upper = (characters[:, :2].sum(axis=1, keepdims=True) + middle) / 3
    lower = (characters[:, 2:].sum(axis=1, keepdims=True) + middle) / 3
    return np.concatenate([upper[:-1], upper[1:], lower[1:], lower[:-1]], axis=1)


def _draw_gaussian(score: NDArray[np.float32], quad: NDArray[np.float32]) -> None:
    """Raise a score map (H, W) to the Gaussian of a quad, in place."""
    tl, tr, br, bl = quad
    centre = quad.mean(axis=0)
    axes = np.stack([tr + br - tl - bl, bl + br - tl - tr]) / 4 * _ENLARGE
    # Less than half a pixel wide, the Gaussian would fall between the pixels.
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    axes = axes * np.maximum(1.0, 1.5 / np.maximum(lengths, 1e-6))
    reach = np.abs(axes).sum(axis=0)
    x0, y0 = np.maximum(np.floor(centre - reach).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(centre + reach).astype(int) + 1, score.shape[::-1])
    if x0 >= x1 or y0 >= y1:
        return
    x = np.arange(x0, x1) + 0.5 - centre[0]
    y = np.arange(y0, y1)[:, None] + 0.5 - centre[1]
    inverse = np.linalg.inv(axes)
    u, v = x * inverse[0, 0] + y * inverse[1, 0], x * inverse[0, 1] + y * inverse[1, 1]
    gaussian = np.exp(-0.5 * _STEEPNESS**2 * (u * u + v * v)).astype(np.float32)
    area = score[y0:y1, x0:x1]
    np.maximum(area, gaussian, out=area)
