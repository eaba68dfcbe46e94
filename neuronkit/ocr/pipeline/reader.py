"""The reader: finds the words of an image and reads them, with any detector and any recogniser."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from neuronkit import checks
from neuronkit.errors import ImageError, SpecError
from neuronkit.ocr.craft import CraftProcessor
from neuronkit.ocr.crops import crop_words
from neuronkit.ocr.geometry import TextBox
from neuronkit.ocr.images import MAX_PIXELS, ImageLike, RGBImage, load_image
from neuronkit.ocr.layout import reading_order
from neuronkit.ocr.page import Line, Page, Word
from neuronkit.ocr.parseq import ParseqProcessor
from neuronkit.ocr.pipeline.calls import ModelCall
from neuronkit.ocr.pipeline.fitting import fit_detector, fit_recognizer
from neuronkit.ocr.pipeline.folder import FolderReport, read_folder

_LONG_LIST = 16


class OCRPipeline:
    """Reads images: a detector finds words, a recogniser reads them.

    Args:
        detector: Takes images (N, 3, H, W) float32, and where its `specs` name it ``valid_size`` (N, 2) int32 (height,
            width); gives score maps (N, H/2, W/2, 2), or a tuple that begins with them. A CRAFT, a static or
            compiled one, or any function.
        recognizer: Takes word images (N, 3, H, W) float32; gives logits (N, T, C).
        detector_processor: What surrounds the detector; None takes `detector.processor`.
        recognizer_processor: What surrounds the recogniser; None takes `recognizer.processor`.
        recognizer_batch_size: Words a call, where the recogniser's `specs` do not fix it.
        vertical_ratio: See `crop_words`.
        max_pixels: Larger images are refused; see `load_image`.
        keep_scores: Keep score maps in the pages, to draw heat maps from.
        progress: Show a progress bar; None shows one on a terminal for lists of 16 images and more.

    Where a model has `specs`, a sequence of objects with `.name` and `.shape`, the first one fixes batch, height and
    width: batches are cut to it, the last one is filled up with valid rows, and images are scaled to fit the canvas.

    Raises:
        OptionError: If a processor is missing, or does not fit the fixed shape of its model.
    """

    def __init__(
        self,
        detector: Callable[..., Any],
        recognizer: Callable[..., Any],
        *,
        detector_processor: CraftProcessor | None = None,
        recognizer_processor: ParseqProcessor | None = None,
        recognizer_batch_size: int = 64,
        vertical_ratio: float | None = 1.5,
        max_pixels: int = MAX_PIXELS,
        keep_scores: bool = False,
        progress: bool | None = None,
    ) -> None:
        batch_size = checks.integer("recognizer_batch_size", recognizer_batch_size, 1, 1 << 16)
        self._detect = ModelCall(detector, "detector", 1)
        self._recognize = ModelCall(recognizer, "recognizer", batch_size)
        self.detector_processor = fit_detector(detector_processor, self._detect)
        self.recognizer_processor = fit_recognizer(recognizer_processor, self._recognize)
        self.vertical_ratio = vertical_ratio
        if vertical_ratio is not None:
            self.vertical_ratio = checks.number("vertical_ratio", vertical_ratio, 1)
        self.max_pixels = checks.integer("max_pixels", max_pixels, 1, 1 << 40)
        self.keep_scores = checks.flag("keep_scores", keep_scores)
        self.progress = progress if progress is None else checks.flag("progress", progress)

    @overload
    def __call__(self, images: list[ImageLike] | tuple[ImageLike, ...]) -> list[Page]: ...
    @overload
    def __call__(self, images: ImageLike) -> Page: ...
    def __call__(self, images: ImageLike | list[ImageLike] | tuple[ImageLike, ...]) -> Page | list[Page]:
        """Read an image, or a list of images.

        Args:
            images: One image (see `load_image`), or a list or tuple of them.

        Returns:
            The page; or for a list one page each, in order. In a list, an image that cannot be read does not stop the
            others: its page has no lines and carries the `error`.

        Raises:
            ImageError: If a single image cannot be read.
        """
        if not isinstance(images, (list, tuple)):
            (page,) = self._finish(self._find([_Opened(images, load_image(images, max_pixels=self.max_pixels))]))
            return page
        shown = len(images) >= _LONG_LIST if self.progress is None else self.progress
        return list(_with_bar(self.read(images), len(images), shown, forced=self.progress is True))

    def read(self, images: Iterable[ImageLike]) -> Iterator[Page]:
        """Read images one after the other, holding only those at work.

        The next images are opened and searched for words while those before them are read. The detector runs in a
        thread of its own, the recogniser in the caller's; neither is called twice at once.

        Args:
            images: Any iterable of images, also an endless one; it is read a few images ahead. Should it raise an
                error, that comes after the pages of the images before it.

        Yields:
            One page for each image, in order; one that carries the `error` for an image that cannot be read.

        Raises:
            SpecError: If `images` is not iterable, or a model gives what its processor cannot read.
        """
        rows = self._detect.fixed_shape[0] if self._detect.fixed_shape else 1
        if not isinstance(images, Iterable):
            raise SpecError(f"images are a {type(images).__name__}; give a list or another iterable of images")
        failure: list[Exception] = []
        source = _until_failure(images, failure)
        with ThreadPoolExecutor(2) as openers, ThreadPoolExecutor(1) as searcher, contextlib.ExitStack() as leaving:
            ahead: deque[Future[list[_Searched]]] = deque()
            leaving.callback(lambda: [future.cancel() for future in ahead])
            while True:
                while len(ahead) < 2 and (batch := list(islice(source, rows))):
                    opened = [openers.submit(self._open, image) for image in batch]
                    ahead.append(searcher.submit(lambda opened=opened: self._find([f.result() for f in opened])))  # type: ignore[misc]
                if not ahead:
                    if failure:
                        raise failure[0]
                    return
                yield from self._finish(ahead.popleft().result())

    def read_folder(
        self, folder: str | os.PathLike[str], output: str | os.PathLike[str], *, pattern: str = "**/*"
    ) -> FolderReport:
        """Read all images of a folder into JSON files, going on where an earlier call stopped.

        Args:
            folder: Where the images are. Files with other endings than those of images are passed over.
            output: Where ``<path of the image>.json`` goes for each; made if it is not there.
            pattern: Which files to read, as `pathlib.Path.glob` understands it.

        Returns:
            Which images were read now, which had been read before and have not changed since, and which could not be.

        Raises:
            ImageError: If `folder` is not a folder.
            OptionError: If `output` cannot be made, or `pattern` is no pattern.
        """
        return read_folder(self, folder, output, pattern=pattern)

    def _open(self, source: ImageLike) -> _Opened:
        try:
            return _Opened(source, load_image(source, max_pixels=self.max_pixels))
        except ImageError as error:
            return _Opened(source, None, error)

    def _find(self, opened: Sequence[_Opened]) -> list[_Searched]:
        """Search a batch of images for words."""
        images = [page.image for page in opened if page.image is not None]
        if not images:
            return [_Searched(page, []) for page in opened]
        canvas, letterboxes = self.detector_processor.preprocess(images)
        inputs: list[NDArray[Any]] = [canvas]
        if self._detect.takes("valid_size"):
            inputs.append(np.array([letterbox.valid_size for letterbox in letterboxes], np.int32))
        scores = self._detect(*inputs)
        boxes = self.detector_processor.postprocess(scores, letterboxes)
        found = iter(zip(boxes, scores, letterboxes, strict=True))
        return [_Searched(page, []) if page.image is None else _Searched(page, *next(found)) for page in opened]

    def _finish(self, searched: Sequence[_Searched]) -> Iterator[Page]:
        for page in searched:
            if page.opened.image is None:
                yield Page((0, 0), (), page.opened.source, page.opened.error)
                continue
            words = self._read_words(page.opened.image, page.boxes)
            lines = tuple(Line(tuple(words[i] for i in line)) for line in reading_order(page.boxes))
            height, width = page.opened.image.shape[:2]
            kept = (np.array(page.scores, np.float32), page.letterbox) if self.keep_scores else (None, None)
            yield Page((height, width), lines, page.opened.source, None, *kept)

    def _read_words(self, image: RGBImage, boxes: Sequence[TextBox]) -> list[Word]:
        crops = crop_words(image, boxes, vertical_ratio=self.vertical_ratio) if boxes else []
        read = zip(self._recognize_words(crops), boxes, strict=True)
        return [Word(result.text, result.confidence, box, result.char_confidences) for result, box in read]

    def _recognize_words(self, crops: Sequence[RGBImage]) -> list[Any]:
        """What the recogniser's processor gives for each crop."""
        if not crops:
            return []
        # Words of like proportions share a batch, so that a recogniser with several widths fills each.
        order = sorted(range(len(crops)), key=lambda i: crops[i].shape[1] / crops[i].shape[0])
        inputs = self.recognizer_processor.preprocess([crops[i] for i in order])
        results = dict(zip(order, self.recognizer_processor.postprocess(self._recognize(inputs)), strict=True))
        return [results[i] for i in range(len(crops))]


class _Opened:
    """An image as it was given, and its pixels or why there are none."""

    def __init__(self, source: ImageLike, image: RGBImage | None, error: ImageError | None = None) -> None:
        self.source, self.image, self.error = source, image, error


class _Searched:
    """An image and where its words are."""

    def __init__(self, opened: _Opened, boxes: list[TextBox], scores: Any = None, letterbox: Any = None) -> None:
        self.opened, self.boxes, self.scores, self.letterbox = opened, boxes, scores, letterbox


def _until_failure(images: Iterable[ImageLike], failure: list[Exception]) -> Iterator[ImageLike]:
    """Give the images up to where their source fails, and keep its error until those are read."""
    try:
        for image in images:  # noqa: UP028 - `yield from` would close a generator that its owner may go on with.
            yield image
    except Exception as error:
        failure.append(error)


def _with_bar(pages: Iterator[Page], total: int, shown: bool, *, forced: bool) -> Iterator[Page]:
    if not shown:
        return pages
    from tqdm import tqdm

    # None shows the bar on a terminal only.
    bar: Iterator[Page] = iter(tqdm(pages, total=total, unit="page", disable=False if forced else None))
    return bar
