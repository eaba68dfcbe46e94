"""Images read one after the other, the next ones opened and searched while those before them are read."""

from __future__ import annotations

import contextlib
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from neuronkit.errors import SpecError
from neuronkit.ocr.images import ImageLike, ImageWarning, describe
from neuronkit.ocr.page import Page
from neuronkit.ocr.pipeline.finding import Found, Opened
from neuronkit.ocr.pipeline.stages import Stages

_LONG_LIST = 16


def read_stream(stages: Stages, images: Iterable[ImageLike]) -> Iterator[Page]:
    """Read any iterable of images; see `OCRPipeline.read`."""
    try:
        images = iter(images)
    except TypeError as error:
        raise SpecError(
            f"got images={describe(images)}; expected an iterable of images; wrap a single one in a list"
        ) from error
    failure: list[Exception] = []
    source = _until_failure(images, failure)
    with ThreadPoolExecutor(2) as openers, ThreadPoolExecutor(1) as searcher, contextlib.ExitStack() as leaving:
        ahead: deque[Future[list[Found]]] = deque()
        leaving.callback(lambda: [future.cancel() for future in ahead])

        def find(opened: Sequence[Opened]) -> list[Found]:
            # In the detector's own thread: it is never called twice at once.
            return searcher.submit(stages.finder.find, opened).result()

        def found() -> Iterator[Found]:
            while True:
                while len(ahead) < 2 and (batch := list(islice(source, stages.finder.rows))):
                    opened = [openers.submit(stages.open, image) for image in batch]
                    ahead.append(searcher.submit(_find, stages, opened))
                if not ahead:
                    return
                yield from ahead.popleft().result()

        yield from stages.stream(found(), find)
        if failure:
            raise failure[0]


def read_one(stages: Stages, image: ImageLike) -> Page:
    """Read a single image; one that cannot be read is an error."""
    opened = stages.open(image)
    if opened.error is not None:
        raise opened.error
    (page,) = stages.pages(stages.finder.find([opened]))
    return page


def read_list(stages: Stages, images: Sequence[ImageLike], progress: bool | None) -> list[Page]:
    """Read a list with a progress bar; None shows it on a terminal for lists of 16 images and more."""
    pages = read_stream(stages, images)
    if progress is False or (progress is None and len(images) < _LONG_LIST):
        return list(pages)
    from tqdm import tqdm

    # None shows the bar on a terminal only.
    return list(tqdm(pages, total=len(images), unit="page", disable=False if progress else None))


def warn_of(pages: Iterable[Page]) -> None:
    """Issue the pages' warnings, attributed to the caller's caller."""
    for page in pages:
        for text in page.warnings:
            warnings.warn(f"{describe(page.source)}: {text}", ImageWarning, stacklevel=3)


def _find(stages: Stages, opened: Sequence[Future[Opened]]) -> list[Found]:
    return stages.finder.find([future.result() for future in opened])


def _until_failure(images: Iterable[ImageLike], failure: list[Exception]) -> Iterator[ImageLike]:
    """Give the images up to where their source fails, and keep its error until those are read."""
    try:
        for image in images:  # noqa: UP028 - `yield from` would close a generator that its owner may go on with.
            yield image
    except Exception as error:
        failure.append(error)
