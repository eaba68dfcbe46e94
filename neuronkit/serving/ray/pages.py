"""Pages of several requests, read together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuronkit.ocr.crops import crop_words
from neuronkit.ocr.geometry import TextBox
from neuronkit.ocr.images import ImageLike, RGBImage
from neuronkit.ocr.page import Page, Word
from neuronkit.ocr.pipeline.reader import OCRPipeline

FAILURES_OF_A_BROKEN_MODEL = 3
"""So many images in a row on which the models themselves fail mean a lost device, not bad images."""


@dataclass(frozen=True)
class PageBatch:
    """Pages that were read together, and how well they filled the models.

    Attributes:
        pages: In the order of the images.
        canvas_waste: Share of the detector's canvases that held no image, 0..1; None where it did not run.
        word_waste: Share of the recogniser's rows that held no word, 0..1; None where it did not run.
    """

    pages: list[Page]
    canvas_waste: float | None
    word_waste: float | None


class BatchReader(OCRPipeline):
    """An `OCRPipeline` whose recogniser takes the words of several pages in one batch."""

    _recognitions: Iterator[Any] = iter(())

    def read_batch(self, images: Sequence[ImageLike]) -> PageBatch:
        """Read images together.

        Args:
            images: Any number of images; see `load_image`.

        Returns:
            A page for each; one that carries the `error` for an image that cannot be read.
        """
        opened = [self._open(image) for image in images]
        rows = self._detect.fixed_shape[0] if self._detect.fixed_shape else 1
        # Readable images first, so that broken ones leave no empty rows in the detector's batch.
        order = sorted(range(len(opened)), key=lambda i: opened[i].image is None)
        chunks = [[opened[j] for j in order[i : i + rows]] for i in range(0, len(order), rows)]
        searched = [page for chunk in chunks for page in self._find(chunk)]
        crops: list[RGBImage] = []
        letterboxes = []
        for page in searched:
            if page.opened.image is not None:
                crops += crop_words(page.opened.image, page.boxes, vertical_ratio=self.vertical_ratio)
                letterboxes.append(page.letterbox)
        self._recognitions = iter(self._recognize_words(crops))
        pages = dict(zip(order, self._finish(searched), strict=True))
        return PageBatch(
            [pages[i] for i in range(len(opened))],
            _canvas_waste(letterboxes, rows),
            _waste(len(crops), self._recognize.fixed_shape[0] if self._recognize.fixed_shape else 1),
        )

    def warm_up(self) -> None:
        """Run both models once: the first call on a device is slow, and a model that cannot run shows at the start."""
        blank = np.full((32, 32, 3), 255, np.uint8)
        self.read_batch([blank])
        self._recognize_words([blank])

    def _read_words(self, image: RGBImage, boxes: Sequence[TextBox]) -> list[Word]:
        """Words that `read_batch` has read already, page by page."""
        return [Word(r.text, r.confidence, box, r.char_confidences) for box, r in zip(boxes, self._recognitions)]


def _canvas_waste(letterboxes: Sequence[Any], rows: int) -> float | None:
    if not letterboxes:
        return None
    height, width = letterboxes[0].canvas_size
    used = sum(box.valid_size[0] * box.valid_size[1] for box in letterboxes)
    return 1.0 - float(used) / (-(-len(letterboxes) // rows) * rows * height * width)


def _waste(used: int, rows: int) -> float | None:
    return 1.0 - used / (-(-used // rows) * rows) if used else None
