"""The first stage: images opened, and searched for words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronkit.errors import ImageError, NeuronKitError
from neuronkit.ocr.geometry import TextBox
from neuronkit.ocr.images import ImageLike, RGBImage, open_page
from neuronkit.ocr.pipeline.calls import ModelCall
from neuronkit.ocr.pipeline.strips import Strip, plan_strip, tile_processor


@dataclass(frozen=True)
class Opened:
    """An image as it was given, and its pixels or why there are none.

    Attributes:
        source: What was given.
        image: (H, W, 3) uint8, RGB, turned by `rotation`.
        error: Why there is no image.
        warnings: What has to be said of it.
        rotation: By how many degrees it was turned, counter-clockwise.
        dpi: Pixels per inch, where the file says.
    """

    source: ImageLike
    image: RGBImage | None
    error: NeuronKitError | None = None
    warnings: tuple[str, ...] = ()
    rotation: int = 0
    dpi: float | None = None


@dataclass(frozen=True)
class Found:
    """An image and where its words are.

    Attributes:
        opened: The image.
        boxes: In its pixels.
        scores: (H/2, W/2, 2) score maps.
        letterbox: How the image lies in the canvas that they show.
        tiled: Whether they were joined from those of tiles.
    """

    opened: Opened
    boxes: list[TextBox]
    scores: NDArray[Any] | None = None
    letterbox: Any = None
    tiled: bool = False


def open_source(source: ImageLike, *, max_pixels: int, background: Any) -> Opened:
    """Open an image; an error stays with it."""
    try:
        loaded = open_page(source, max_pixels=max_pixels, background=background)
    except ImageError as error:
        return Opened(source, None, error)
    return Opened(source, loaded.pixels, None, (loaded.warning,) if loaded.warning else (), dpi=loaded.dpi)


class WordFinder:
    """Finds words with a detector.

    Args:
        model: The detector.
        processor: Its pre- and post-processing.
        min_scale: Strips that it would see at a smaller scale are cut into tiles.
    """

    def __init__(self, model: ModelCall, processor: Any, *, min_scale: float) -> None:
        self.model, self._processor, self._min_scale = model, processor, min_scale

    @property
    def rows(self) -> int:
        """Images a call."""
        return self.model.fixed_shape[0] if self.model.fixed_shape else 1

    def find(self, opened: Sequence[Opened]) -> list[Found]:
        """Search a batch of images; those without pixels have no words."""
        found = {}
        whole = []
        for i, page in enumerate(opened):
            if page.image is None:
                found[i] = Found(page, [])
            elif strip := plan_strip(page.image.shape[:2], self._processor, self._min_scale):
                found[i] = self._find_in_strip(page, strip)
            else:
                whole.append(i)
        if whole:
            found.update(zip(whole, self._find_in_images([opened[i] for i in whole])))
        return [found[i] for i in range(len(opened))]

    def _find_in_images(self, opened: Sequence[Opened]) -> list[Found]:
        scores, letterboxes = self._scores(self._processor, [page.image for page in opened])
        boxes = self._processor.postprocess(scores, letterboxes)
        return [Found(*fields) for fields in zip(opened, boxes, scores, letterboxes, strict=True)]

    def _find_in_strip(self, page: Opened, strip: Strip) -> Found:
        tiles = strip.tiles(page.image)  # type: ignore[arg-type]
        processor = tile_processor(self._processor)
        height, width = strip.letterbox.canvas_size
        joined = np.zeros((height // 2, width // 2, 2), np.float32)
        for i in range(0, len(tiles), self.rows):
            scores, _ = self._scores(processor, tiles[i : i + self.rows])
            for j, tile in enumerate(scores, start=i):
                strip.join(joined, tile, j)
        (boxes,) = self._processor.postprocess(joined[None], [strip.letterbox])
        return Found(page, boxes, joined, strip.letterbox, True)

    def _scores(self, processor: Any, images: list[Any]) -> tuple[NDArray[Any], list[Any]]:
        canvas, letterboxes = processor.preprocess(images)
        inputs: list[NDArray[Any]] = [canvas]
        if self.model.takes("valid_size"):
            inputs.append(np.array([letterbox.valid_size for letterbox in letterboxes], np.int32))
        return self.model(*inputs), letterboxes
