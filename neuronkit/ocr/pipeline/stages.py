"""The stages of reading: open, find words, read them, and make pages of what was found."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuronkit.ocr.geometry import Letterbox, TextBox
from neuronkit.ocr.images import ImageLike
from neuronkit.ocr.layout import reading_order
from neuronkit.ocr.page import Line, Page, Word
from neuronkit.ocr.pipeline.doubts import may_be_turned, scale_warning, turned_warning
from neuronkit.ocr.pipeline.finding import Found, Opened, WordFinder, open_source
from neuronkit.ocr.pipeline.recognizing import WordRecognizer

Find = Callable[[Sequence[Opened]], list[Found]]


@dataclass(frozen=True)
class Stages:
    """What a pipeline does with images, one stage after the other.

    Attributes:
        finder: Finds words.
        recognizer: Reads them.
        max_pixels: Larger images are refused.
        background: The ground behind transparent images.
        rotations: Degrees that a doubtful page may be turned by.
        keep_scores: Whether pages keep their score maps.
    """

    finder: WordFinder
    recognizer: WordRecognizer
    max_pixels: int
    background: Any
    rotations: tuple[int, ...]
    keep_scores: bool

    def open(self, source: ImageLike) -> Opened:
        """Open an image; an error stays with it."""
        return open_source(source, max_pixels=self.max_pixels, background=self.background)

    def pages(self, found: Sequence[Found]) -> list[Page]:
        """Read the words of several images together."""
        return self._finish(list(found), self._read(found), self.finder.find)

    def stream(self, found: Iterable[Found], find: Find) -> Iterator[Page]:
        """Read the words of images that come one after the other, those of a few images in the same batches.

        Args:
            found: The images and where their words are.
            find: Searches turned images.
        """
        held: deque[Found] = deque()

        def pages() -> Iterator[tuple[Any, Sequence[TextBox]]]:
            for page in found:
                held.append(page)
                yield page.opened.image, page.boxes

        for words in self.recognizer.stream(pages()):
            yield from self._finish([held.popleft()], [words], find)

    def _finish(self, found: list[Found], words: list[list[Word]], find: Find) -> list[Page]:
        turned = self._turned(found, words)
        if turned:
            again = find([opened for _, opened in turned])
            for (i, _), better, its_words in zip(turned, again, self._read(again), strict=True):
                found[i], words[i] = better, its_words
        return [self._page(*fields) for fields in zip(found, words, strict=True)]

    def _read(self, found: Sequence[Found]) -> list[list[Word]]:
        return self.recognizer.read([(page.opened.image, page.boxes) for page in found])

    def _turned(self, found: Sequence[Found], words: Sequence[list[Word]]) -> list[tuple[int, Opened]]:
        """The pages that are read better when they are turned, and turned."""
        turned = []
        for i, page in enumerate(found if self.rotations else ()):
            opened = page.opened
            if opened.image is None or not may_be_turned(words[i]):
                continue
            rotation = self.recognizer.rotation(opened.image, page.boxes, self.rotations)
            if rotation:
                image = np.ascontiguousarray(np.rot90(opened.image, rotation // 90))
                turned.append((i, dataclasses.replace(opened, image=image, rotation=rotation)))
        return turned

    def _page(self, found: Found, words: list[Word]) -> Page:
        opened, image = found.opened, found.opened.image
        if image is None:
            return Page((0, 0), (), opened.source, opened.error)
        height, width = image.shape[:2]
        scale = getattr(found.letterbox, "scale", None)
        small = scale_warning((height, width), scale, words)
        turned = not small and not opened.rotation and may_be_turned(words)
        said = (*opened.warnings, small, turned_warning(self.rotations) if turned else None)
        scores = np.array(found.scores, np.float32) if self.keep_scores else None
        letterbox: Letterbox | None = found.letterbox if self.keep_scores else None
        return Page(
            (height, width),
            tuple(Line(tuple(words[i] for i in line)) for line in reading_order(found.boxes)),
            opened.source,
            None,
            scores,
            letterbox,
            scale=scale,
            rotation=opened.rotation,
            dpi=opened.dpi,
            warnings=tuple(text for text in said if text),
        )
