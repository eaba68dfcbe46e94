"""OCRPipeline: finds the words of an image and reads them, with any detector and any recogniser."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar, overload

from neuronkit import checks
from neuronkit.errors import OptionError
from neuronkit.ocr.craft import CraftProcessor
from neuronkit.ocr.images import MAX_PIXELS, PDF_DPI, ImageLike, image_pages, page_stream
from neuronkit.ocr.images.ground import Colour, parse_background
from neuronkit.ocr.images.sources import parse_pages
from neuronkit.ocr.page import Page
from neuronkit.ocr.parseq import ParseqProcessor
from neuronkit.ocr.pipeline.batches import PageBatch, read_batch, warm_up
from neuronkit.ocr.pipeline.calls import ModelCall
from neuronkit.ocr.pipeline.files import read_files
from neuronkit.ocr.pipeline.finding import WordFinder
from neuronkit.ocr.pipeline.fitting import fit_detector, fit_recognizer
from neuronkit.ocr.pipeline.folder import FolderReport, read_folder
from neuronkit.ocr.pipeline.recognizing import WordRecognizer
from neuronkit.ocr.pipeline.stages import Stages
from neuronkit.ocr.pipeline.streaming import read_list, read_one, read_stream, warn_of
from neuronkit.ocr.pipeline.strips import MIN_SCALE
from neuronkit.report import described, headline
from neuronkit.static.shapes.checks import check_pickles

# What a list has; lists of one type of image are not lists of any.
Picture = TypeVar("Picture", bound=ImageLike)


class OCRPipeline:
    """Reads images: a detector finds words, a recogniser reads them.

    Args:
        detector: Takes images (N, 3, H, W) float32, and where its `specs` name it ``valid_size`` (N, 2) int32 (height,
            width); gives score maps (N, H/2, W/2, 2), or a tuple that begins with them. A CRAFT, a static or
            compiled one, or any function.
        recognizer: Takes word images (N, 3, H, W) float32; gives logits (N, T, C).
        detector_processor: Pre- and post-processing of the detector; None takes `detector.processor`.
        recognizer_processor: Pre- and post-processing of the recogniser; None takes `recognizer.processor`.
        recognizer_batch_size: Words a call, where the recogniser's `specs` do not fix it.
        vertical_ratio: See `crop_words`.
        max_pixels: Larger images are refused; see `load_image`.
        background: The ground behind transparent images; see `load_image`.
        min_scale: An image that the detector would see at a smaller scale than this, and of which one side is at least
            twice as long as the other, is searched in overlapping tiles. 0 cuts none.
        rotations: Degrees by which a page may be turned, of 90, 180 and 270. They are tried on a few words of a page
            that was read with low confidence, or whose words run up or down. What is better is taken: the page is
            turned, searched and read again, and says so in `Page.rotation`. () tries none; such a page then has a
            warning.
        keep_scores: Keep score maps in the pages, to draw heat maps from.
        progress: Show a progress bar; None shows one on a terminal for lists of 16 images and more.

    Processors are compared with their models: role, characters and their order, sizes. Functions carry no such
    information and are not compared. A pipeline can be pickled if its models can.

    Where a model has `specs`, a sequence of objects with `.name` and `.shape`, the first one fixes batch, height and
    width: batches are cut to it, the last one is filled up with valid rows, and images are scaled to fit the canvas.

    Raises:
        OptionError: If an option has no such value, a processor is missing or does not belong to its model, or the
            models are exchanged.
        SpecError: If the first input of a model is not a batch of images.

    Examples:
        >>> read = OCRPipeline(craft, parseq, detector_processor=CraftProcessor(mag_ratio=1.0),
        ...                    recognizer_processor=ParseqProcessor(charset=parseq.charset))
        >>> read(IMAGE).words[0].text
        'neuron'
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
        background: str | Colour | None = None,
        min_scale: float = MIN_SCALE,
        rotations: Sequence[int] = (),
        keep_scores: bool = False,
        progress: bool | None = None,
    ) -> None:
        batch_size = checks.integer("recognizer_batch_size", recognizer_batch_size, 1, 1 << 16)
        detect, recognize = ModelCall(detector, "detector", 1), ModelCall(recognizer, "recognizer", batch_size)
        self.detector_processor = fit_detector(detector_processor, detect)
        self.recognizer_processor = fit_recognizer(recognizer_processor, recognize)
        if vertical_ratio is not None:
            vertical_ratio = checks.number("vertical_ratio", vertical_ratio, 1)
        self._progress = progress if progress is None else checks.flag("progress", progress)
        self._stages = Stages(
            WordFinder(detect, self.detector_processor, min_scale=checks.number("min_scale", min_scale, 0, 1)),
            WordRecognizer(recognize, self.recognizer_processor, vertical_ratio=vertical_ratio),
            checks.integer("max_pixels", max_pixels, 1, 1 << 40),
            parse_background(background),
            _rotations(rotations),
            checks.flag("keep_scores", keep_scores),
        )

    def __repr__(self) -> str:
        models = {"detector": self._stages.finder.model, "recognizer": self._stages.recognizer.model}
        return described(
            "OCRPipeline: images to pages of text",
            **{name: [headline(model.function)] for name, model in models.items()},
            processors=[type(p).__name__ for p in (self.detector_processor, self.recognizer_processor)],
        )

    def __getstate__(self) -> dict[str, Any]:
        models = {"detector": self._stages.finder.model, "recognizer": self._stages.recognizer.model}
        check_pickles("OCRPipeline", **{name: model.function for name, model in models.items()})
        return vars(self)

    @overload
    def __call__(self, images: list[Picture] | tuple[Picture, ...]) -> list[Page]: ...
    @overload
    def __call__(self, images: ImageLike) -> Page: ...
    def __call__(self, images: ImageLike | list[Picture] | tuple[Picture, ...]) -> Page | list[Page]:
        """Read an image, or a list of images.

        Args:
            images: One image (see `load_image`), or a list or tuple of them.

        Returns:
            The page; or for a list one page each, in order. In a list, an image that cannot be read does not stop the
            others: its page has no lines and carries the `error`.

        Raises:
            ImageError: If a single image cannot be read.
            SpecError: If a model gives what its processor cannot read.

        Warns:
            ImageWarning: For everything in the `warnings` of a page.
        """
        if isinstance(images, (list, tuple)):
            pages = read_list(self._stages, images, self._progress)
            warn_of(pages)
            return pages
        page = read_one(self._stages, images)
        warn_of([page])
        return page

    def read(self, images: Iterable[ImageLike]) -> Iterator[Page]:
        """Read images one after the other, holding only those at work.

        The next images are opened and searched for words while those before them are read. The detector runs in a
        thread of its own, the recogniser in the caller's; one call of this calls neither twice at once, calls of
        several threads do. Where the recogniser's `specs` fix its batch, words of up to four images share batches.

        Args:
            images: Any iterable of images, also an endless one; it is read a few images ahead. Should it raise an
                error, that comes after the pages of the images before it.

        Yields:
            One page for each image, in order; one that carries the `error` for an image that cannot be read.

        Raises:
            SpecError: If `images` is not iterable, or a model gives what its processor cannot read.
        """
        return read_stream(self._stages, images)

    def read_pages(self, source: ImageLike) -> Iterator[Page]:
        """Read all pages of a file, one after the other: of a PDF, TIFF, GIF, WebP or APNG.

        Args:
            source: See `load_images`.

        Yields:
            One page for each page of the file, in order; one that carries the `error` for a page that cannot be read.

        Raises:
            ImageError: If `source` is not an image.
            SpecError: If a model gives what its processor cannot read.
        """
        return read_stream(self._stages, image_pages(source))

    def read_batch(self, images: Sequence[ImageLike]) -> PageBatch:
        """Read images together, the words of all of them in the same batches, as a server does.

        Args:
            images: Any number of images; see `load_image`.

        Returns:
            A page for each, in order, and how well the batches were filled. An image that cannot be read has an
            `ImageError` in its page's `error`. When the models fail on the batch, each image is read alone, and those
            on which they fail again have a `ModelError` there.

        Raises:
            SpecError: If `images` is not a list or tuple.
        """
        return read_batch(self._stages, images)

    def warm_up(self) -> None:
        """Run both models once: the first call on a device is slow, and a model that cannot run shows at the start.

        Raises:
            Exception: Whatever the models raise.
        """
        warm_up(self._stages)

    def read_folder(
        self, folder: str | os.PathLike[str], output: str | os.PathLike[str], *, pattern: str = "**/*"
    ) -> FolderReport:
        """Read all images of a folder into JSON files, resuming where an earlier call stopped.

        Args:
            folder: Where the images are. Every regular file in it counts whose ending or content is that of an image.
            output: Where ``<path of the image>.json`` goes for each; made if it is not there. The second and
                further pages of a file go to ``<path of the image>.page-2.json`` and so on.
            pattern: Which files to read, as `pathlib.Path.glob` understands it.

        Returns:
            Which images were read now, which files were skipped and why, and which images could not be read.

        Raises:
            ImageError: If `folder` is not a folder.
            OptionError: If `output` cannot be made, or `pattern` is not a pattern.
            SpecError: If a model gives what its processor cannot read.
        """
        return read_folder(partial(read_stream, self._stages), folder, output, pattern=pattern)

    def read_files(
        self,
        sources: Any,
        folder: str | os.PathLike[str],
        *,
        format: str = "json",
        pages: str | Iterable[int] | None = None,
        dpi: float = PDF_DPI,
        rotation: int = 0,
        progress: Callable[[Page], None] | None = None,
    ) -> FolderReport:
        """Read files into a folder, each into a file of its own, resuming where an earlier call stopped.

        A file is read again when it has changed since its result was made, or when `pages`, `dpi` or `rotation` are
        others: ``.neuronkit-read.jsonl`` in the folder says of what each result was made. It does not name the models:
        take another folder for others. A result with a page that could not be read is not kept.

        Args:
            sources: A file, a folder, a pattern, or a list of them; see `page_stream`.
            folder: Where ``<name of the file>.<ending>`` goes for each; made if it is not there.
            format: See `save_pages`.
            pages: Which pages of each file; see `page_stream`.
            dpi: Resolution at which PDF is drawn.
            rotation: By how many degrees pages are turned before they are read.
            progress: Called with each page.

        Returns:
            Which files were read now, were read before, and could not be read.

        Raises:
            ImageError: If a pattern matches nothing, or a folder has no images.
            OptionError: If an option has no such value, or the folder cannot be made.
            SpecError: If a model gives what its processor cannot read.

        Examples:
            ``read.read_files(["scans", "more/*.pdf"], "text", format="text")``
        """
        wanted = parse_pages(pages)
        if wanted is not None and not isinstance(pages, str):
            pages = [numbers[0] for numbers in wanted]  # Each file needs them.
        list(page_stream([], pages=pages, dpi=dpi, rotation=rotation))
        noted = (lambda page: None) if progress is None else checks.callable_("progress", progress)
        read = partial(read_stream, self._stages)
        return read_files(read, sources, folder, format=format, report=noted, pages=pages, dpi=dpi, rotation=rotation)


def _rotations(rotations: Any) -> tuple[int, ...]:
    items = checks.items("rotations", rotations, "degrees", most=4)
    given = [checks.integer("rotations[...]", item, 0, 270) for item in items]
    if any(item % 90 for item in given):
        raise OptionError(f"got rotations={checks.shown(given)}; expected some of 90, 180 and 270; give those")
    return tuple(dict.fromkeys(item for item in given if item))
