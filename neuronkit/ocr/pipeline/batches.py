"""Images of several requests read together, each with its own page or its own error."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from neuronkit.errors import ModelError, SpecError
from neuronkit.ocr.images import ImageLike, describe
from neuronkit.ocr.page import Page
from neuronkit.ocr.pipeline.finding import Found, Opened
from neuronkit.ocr.pipeline.stages import Stages

Item = TypeVar("Item")
Result = TypeVar("Result")

_log = logging.getLogger(__name__)


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


def run_isolated(run: Callable[[list[Item]], Sequence[Result]], items: Sequence[Item]) -> list[Result | Exception]:
    """Run a batch; where that fails, run each item alone, so that only those at fault fail.

    Args:
        run: Takes items and gives as many results.
        items: The batch.

    Returns:
        For each item its result, or the exception that it raises alone.
    """
    try:
        return list(run(list(items))) if items else []
    except Exception as error:
        if len(items) == 1:
            return [error]
        _log.exception("a batch of %d failed; each is run alone", len(items))
    return [result for item in items for result in run_isolated(run, [item])]


def read_batch(stages: Stages, images: Sequence[ImageLike]) -> PageBatch:
    """Read images together; see `OCRPipeline.read_batch`."""
    if not isinstance(images, (list, tuple)):
        raise SpecError(f"got images={describe(images)}; expected a list of images; wrap a single one in a list")
    opened = [stages.open(image) for image in images]
    found: list[Found] = []

    def run(readable: list[Opened]) -> list[Page]:
        rows = stages.finder.rows
        found[:] = [page for i in range(0, len(readable), rows) for page in stages.finder.find(readable[i : i + rows])]
        return stages.pages(found)

    # Images without pixels are left out, so that they leave no empty rows in the detector's batch.
    readable = [page for page in opened if page.image is not None]
    results: Iterator[Page | Exception] = iter(run_isolated(run, readable))
    pages = [
        _page(page, next(results)) if page.image is not None else Page((0, 0), (), page.source, page.error)
        for page in opened
    ]
    words = sum(len(page.words) for page in pages)
    return PageBatch(pages, _canvas_waste(found, stages.finder.rows), _waste(words, stages.recognizer.rows))


def warm_up(stages: Stages) -> None:
    """Run both models once; whatever they raise is raised."""
    blank = np.full((32, 32, 3), 255, np.uint8)
    stages.finder.find([Opened(blank, blank)])
    stages.recognizer.recognize([blank])


def _page(opened: Opened, result: Page | Exception) -> Page:
    if isinstance(result, Page):
        return result
    error = ModelError(f"the models failed on this image: {type(result).__name__}: {result}")
    error.__cause__ = result
    return Page((0, 0), (), opened.source, error)


def _canvas_waste(found: Sequence[Found], rows: int) -> float | None:
    boxes: list[Any] = [page.letterbox for page in found if page.letterbox is not None and not page.tiled]
    if not boxes:
        return None
    height, width = boxes[0].canvas_size
    used = sum(box.valid_size[0] * box.valid_size[1] for box in boxes)
    return 1.0 - float(used) / (-(-len(boxes) // rows) * rows * height * width)


def _waste(used: int, rows: int) -> float | None:
    return 1.0 - used / (-(-used // rows) * rows) if used else None
