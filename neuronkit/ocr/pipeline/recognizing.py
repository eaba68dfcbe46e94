"""The second stage: words cut out and read, those of several pages in the same batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronkit.ocr.crops import crop_words
from neuronkit.ocr.geometry import TextBox
from neuronkit.ocr.images import RGBImage
from neuronkit.ocr.page import Word
from neuronkit.ocr.pipeline.calls import ModelCall

_PROBED = 8
"""Words that are enough to find which way up a page is."""

_AHEAD = 4
"""Pages whose words share batches, at most, when pages come one after the other."""

_CLEAR = 0.1
"""By how much the confidence has to grow for a page to be turned."""


class WordRecognizer:
    """Reads words with a recogniser.

    Args:
        model: The recogniser.
        processor: Its pre- and post-processing.
        vertical_ratio: See `crop_words`.
    """

    def __init__(self, model: ModelCall, processor: Any, *, vertical_ratio: float | None) -> None:
        self.model, self._processor, self._vertical_ratio = model, processor, vertical_ratio

    @property
    def rows(self) -> int:
        """Words a call, where the model fixes it; else 1, since no row is wasted."""
        return self.model.fixed_shape[0] if self.model.fixed_shape else 1

    def read(self, pages: Sequence[tuple[Any, Sequence[TextBox]]]) -> list[list[Word]]:
        """Read the words of several pages together.

        Args:
            pages: Images (H, W, 3) uint8, RGB, and the boxes of each; where there is no image there is no box.

        Returns:
            For each page a word for each box.
        """
        results = iter(self.recognize([crop for page in pages for crop in self._crops(*page)]))
        return [_words(boxes, results) for _, boxes in pages]

    def stream(self, pages: Iterable[tuple[Any, Sequence[TextBox]]]) -> Iterator[list[Word]]:
        """Read the words of pages that come one after the other, those of a few pages together.

        Args:
            pages: Images (H, W, 3) uint8, RGB, and the boxes of each; where there is no image there is no box.

        Yields:
            For each page a word for each box, in order. Where the model fixes its batch, at most four pages after
            `pages` gave this one.
        """
        boxes_of: deque[Sequence[TextBox]] = deque()

        def crops() -> Iterator[Sequence[RGBImage]]:
            for image, boxes in pages:
                boxes_of.append(boxes)
                yield self._crops(image, boxes)

        for results in self._recognized(crops(), _AHEAD):
            yield _words(boxes_of.popleft(), iter(results))

    def recognize(self, crops: Sequence[RGBImage]) -> list[Any]:
        """The processor's result for each word image: text and confidences."""
        return next(self._recognized([crops]))

    def _recognized(self, groups: Iterable[Sequence[RGBImage]], ahead: int = 1) -> Iterator[list[Any]]:
        orders: deque[list[int]] = deque()

        def inputs() -> Iterator[tuple[NDArray[Any], ...]]:
            for crops in groups:
                # Words of like proportions share a batch, so that a recogniser with several widths fills each.
                order = sorted(range(len(crops)), key=lambda i: crops[i].shape[1] / crops[i].shape[0])
                orders.append(order)
                yield recognizer_inputs(self.model, self._processor, [crops[i] for i in order])

        for outputs in self.model.stream(inputs(), ahead):
            order = orders.popleft()
            results = dict(zip(order, self._processor.postprocess(outputs) if order else (), strict=True))
            yield [results[i] for i in range(len(order))]

    def _crops(self, image: RGBImage, boxes: Sequence[TextBox]) -> list[RGBImage]:
        return list(crop_words(image, boxes, vertical_ratio=self._vertical_ratio)) if boxes else []

    def rotation(self, image: RGBImage, boxes: Sequence[TextBox], rotations: Sequence[int]) -> int:
        """Choose by how many degrees a page is to be turned counter-clockwise, from a few of its longest words.

        Args:
            image: (H, W, 3) uint8, RGB.
            boxes: Its words.
            rotations: The choices besides 0.

        Returns:
            The rotation at which the words are read with the highest mean confidence; 0 where none is clearly better.
        """
        longest = sorted(boxes, key=lambda box: -max(np.ptp(box.quad, axis=0)))[:_PROBED]
        crops = crop_words(image, longest, vertical_ratio=None)
        choices = [0, *rotations]
        turned = [np.ascontiguousarray(np.rot90(crop, choice // 90)) for choice in choices for crop in crops]
        confidences = np.array([result.confidence for result in self.recognize(turned)])
        means = confidences.reshape(len(choices), len(crops)).mean(axis=1)
        best = int(means.argmax())
        return choices[best] if means[best] > means[0] + _CLEAR else 0


def recognizer_inputs(model: ModelCall, processor: Any, crops: Sequence[RGBImage]) -> tuple[NDArray[Any], ...]:
    """A recogniser's inputs: images (N, C, H, W), and valid widths (N,) int32 where it takes them."""
    if not crops:
        return (np.empty(0, np.uint8),) * (2 if model.takes("valid_width") else 1)
    images = processor.preprocess(crops)
    if not model.takes("valid_width"):
        return (images,)
    if hasattr(processor, "valid_widths"):
        return images, processor.valid_widths(crops)
    # Whatever the processor fills its canvas with is content to the original.
    return images, np.full(len(images), images.shape[3], np.int32)


def _words(boxes: Sequence[TextBox], results: Iterator[Any]) -> list[Word]:
    return [Word(r.text, r.confidence, box, r.char_confidences) for box, r in zip(boxes, results)]
