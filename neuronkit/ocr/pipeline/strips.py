"""Long strips (receipts, screenshots) searched in overlapping tiles, their score maps joined into one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronkit.ocr._cv2 import load_cv2
from neuronkit.ocr.craft import CraftProcessor
from neuronkit.ocr.geometry import STRIDE, Letterbox
from neuronkit.ocr.images import RGBImage

MIN_SCALE = 0.5
"""Below this scale, letters of common size, 20 to 30 pixels high, are too small for CRAFT."""

SMALLEST_TEXT = 8
"""No text is lower than this, in pixels: what is narrower is no strip."""

_STRIP = 2
"""A strip gains at least this factor in scale when it is cut."""


@dataclass(frozen=True)
class Strip:
    """How a strip is scaled and cut.

    Attributes:
        letterbox: The whole strip as the joined score map shows it.
        axis: 0 for a high strip, 1 for a wide one.
        length: Longest tile along the axis, in scaled pixels; a multiple of 32.
        starts: Where the tiles begin, multiples of 32.
    """

    letterbox: Letterbox
    axis: int
    length: int
    starts: tuple[int, ...]

    @property
    def overlap(self) -> int:
        """Scaled pixels that neighbouring tiles share."""
        return self.length - self.starts[1] if len(self.starts) > 1 else 0

    def tiles(self, image: RGBImage) -> list[RGBImage]:
        """Scale an image and cut it."""
        height, width = self.letterbox.resized_size
        scaled = load_cv2().resize(image, (width, height), interpolation=load_cv2().INTER_LINEAR)
        if self.axis == 0:
            return [scaled[start : start + self.length] for start in self.starts]
        return [np.ascontiguousarray(scaled[:, start : start + self.length]) for start in self.starts]

    def join(self, scores: NDArray[np.float32], tile: NDArray[Any], index: int) -> None:
        """Write the score map of a tile into that of the strip.

        In the middle half of an overlap one tile fades into the other. The outer quarters, where one of them saw words
        that its border cuts, are taken from the other one.

        Args:
            scores: (H/2, W/2, 2), of the strip; to be written to.
            tile: (h, w, 2), of the tile and what its canvas has besides.
            index: Which tile.
        """
        joined, part = (np.moveaxis(a, self.axis, 0) for a in (scores, tile))
        begin = self.starts[index] // 2
        end = min(begin + self.length // 2, len(joined))
        part = part[: end - begin, : joined.shape[1]]
        shared = self.overlap // 2 if index else 0
        weight = np.clip(np.arange(shared, dtype=np.float32) / max(shared, 1) * 2 - 0.5, 0, 1)[:, None, None]
        joined[begin : begin + shared] += weight * (part[:shared] - joined[begin : begin + shared])
        joined[begin + shared : end] = part[shared:]


def plan_strip(size: tuple[int, int], processor: Any, min_scale: float) -> Strip | None:
    """Decide whether an image is cut, and how.

    Args:
        size: (height, width) of the image.
        processor: The detector's; only images for a `CraftProcessor` are cut.
        min_scale: Scale below which strips are cut.

    Returns:
        None where the image is searched as a whole: its scale is not below `min_scale`, or cutting it would not at
        least double the scale, or it is too narrow for text. A strip is cut at the scale that a square as wide as it
        is narrow would have, and never enlarged.
    """
    if not isinstance(processor, CraftProcessor):
        return None
    whole, narrow = processor.letterbox(size), min(size)
    scale = min(1.0, processor.letterbox((narrow, narrow)).scale)
    if whole.scale >= min_scale or scale < _STRIP * whole.scale or narrow * scale < SMALLEST_TEXT:
        return None
    axis = int(size[1] > size[0])
    longest = processor.canvas[axis] if processor.canvas else processor.canvas_size or 0
    length = longest // STRIDE * STRIDE
    if length < 4 * STRIDE:
        return None
    resized = (max(1, int(size[0] * scale)), max(1, int(size[1] * scale)))
    canvas = (-(-resized[0] // STRIDE) * STRIDE, -(-resized[1] // STRIDE) * STRIDE)
    overlap = max(1, length // (4 * STRIDE)) * STRIDE
    starts = tuple(range(0, max(resized[axis] - overlap, 1), length - overlap))
    return Strip(Letterbox(size, resized, canvas, scale), axis, length, starts)


def tile_processor(processor: CraftProcessor) -> CraftProcessor:
    """The processor for tiles, which are scaled already."""
    return dataclasses.replace(processor, mag_ratio=1.0)
