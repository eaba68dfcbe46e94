"""The reader: finds the words of an image and reads them, with any detector and any recogniser."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from neuronkit.errors import ImageError, OptionError, SpecError
from neuronkit.ocr import _checks
from neuronkit.ocr.craft import CraftProcessor
from neuronkit.ocr.crops import crop_words
from neuronkit.ocr.geometry import Letterbox, TextBox
from neuronkit.ocr.images import ImageLike, RGBImage, load_image
from neuronkit.ocr.layout import reading_order
from neuronkit.ocr.page import Line, Page, Word
from neuronkit.ocr.parseq import ParseqProcessor
from neuronkit.ocr.pipeline.calls import ModelCall


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
    ) -> None:
        self._detect = ModelCall(_callable("detector", detector), "detector", 1)
        batch_size = _checks.integer("recognizer_batch_size", recognizer_batch_size, 1, 1 << 16)
        self._recognize = ModelCall(_callable("recognizer", recognizer), "recognizer", batch_size)
        found = _processor("detector", detector, detector_processor)
        self.detector_processor = _fit_bytes(_fit_canvas(found, self._detect.fixed_shape), self._detect)
        found = _processor("recognizer", recognizer, recognizer_processor)
        self.recognizer_processor = _fit_bytes(_fit_words(found, self._recognize.fixed_shape), self._recognize)
        self.vertical_ratio = None
        if vertical_ratio is not None:
            self.vertical_ratio = _checks.number("vertical_ratio", vertical_ratio, 1)

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
        if isinstance(images, (list, tuple)):
            return list(self.read(images))
        return self._read(images)

    def read(self, images: Iterable[ImageLike]) -> Iterator[Page]:
        """Read images one after the other, holding none longer than needed.

        Args:
            images: Any iterable of images, also an endless one.

        Yields:
            One page for each image, in order; one that carries the `error` for an image that cannot be read.
        """
        for image in images:
            try:
                yield self._read(image)
            except ImageError as error:
                yield Page((0, 0), (), image, error)

    def _read(self, source: ImageLike) -> Page:
        image = load_image(source)
        boxes = self._find(image)
        words = self._words(image, boxes)
        lines = tuple(Line(tuple(words[i] for i in line)) for line in reading_order([word.box for word in words]))
        height, width = image.shape[:2]
        return Page((height, width), lines, source)

    def _find(self, image: RGBImage) -> list[TextBox]:
        canvas, letterboxes = self.detector_processor.preprocess([image])
        inputs: list[NDArray[Any]] = [canvas]
        if self._detect.takes("valid_size"):
            inputs.append(_valid_sizes(letterboxes))
        boxes: list[TextBox] = self.detector_processor.postprocess(self._detect(*inputs), letterboxes)[0]
        return boxes

    def _words(self, image: RGBImage, boxes: Sequence[TextBox]) -> list[Word]:
        if not boxes:
            return []
        crops = crop_words(image, boxes, vertical_ratio=self.vertical_ratio)
        # Words of like proportions share a batch, so that a recogniser with several widths fills each.
        order = sorted(range(len(crops)), key=lambda i: crops[i].shape[1] / crops[i].shape[0])
        inputs = self.recognizer_processor.preprocess([crops[i] for i in order])
        results = self.recognizer_processor.postprocess(self._recognize(inputs))
        words: dict[int, Word] = {
            i: Word(result.text, result.confidence, boxes[i], result.char_confidences)
            for i, result in zip(order, results, strict=True)
        }
        return [words[i] for i in range(len(boxes))]


def _valid_sizes(letterboxes: Sequence[Letterbox]) -> NDArray[np.int32]:
    return np.array([letterbox.valid_size for letterbox in letterboxes], np.int32)


def _callable(role: str, model: Any) -> Callable[..., Any]:
    if not callable(model):
        raise OptionError(f"the {role} is a {type(model).__name__}, which cannot be called; give a model or a function")
    return model  # type: ignore[no-any-return]


def _processor(role: str, model: Any, processor: Any) -> Any:
    found = getattr(model, "processor", None) if processor is None else processor
    if found is None:
        raise OptionError(
            f"the {role} has no processor of its own; give {role}_processor="
            f"{'CraftProcessor()' if role == 'detector' else 'ParseqProcessor(charset=...)'}"
        )
    missing = [name for name in ("preprocess", "postprocess") if not callable(getattr(found, name, None))]
    if missing:
        raise OptionError(f"{role}_processor is a {type(found).__name__} without {missing}; give a processor")
    return found


def _fit_canvas(processor: Any, shape: tuple[int, ...] | None) -> Any:
    if shape is None or not isinstance(processor, CraftProcessor):
        return processor
    if len(shape) != 4:
        raise SpecError(f"the detector's first spec has shape {shape}, expected (N, 3, H, W)")
    canvas = shape[2], shape[3]
    if processor.canvas not in (None, canvas):
        raise OptionError(
            f"the detector is compiled for a canvas of {canvas} (height, width) and its processor has "
            f"canvas={processor.canvas}; give the same, or leave the processor's None"
        )
    return processor if processor.canvas else dataclasses.replace(processor, canvas=canvas)


def _fit_bytes(processor: Any, model: ModelCall) -> Any:
    """Leave normalising to a model that takes bytes, and refuse to leave it to one that does not."""
    dtype, normalize = model.dtype(), getattr(processor, "normalize", None)
    if normalize is None or dtype is None:
        return processor
    if dtype == "uint8":
        return dataclasses.replace(processor, normalize=False)
    if not normalize:
        raise OptionError(
            f"the {model.name} takes {dtype} and its processor has normalize=False; leave that True, "
            "or fold the normalisation into the model with fold_normalization"
        )
    return processor


def _fit_words(processor: Any, shape: tuple[int, ...] | None) -> Any:
    if shape is None or not isinstance(processor, ParseqProcessor):
        return processor
    if len(shape) != 4 or shape[2:] != processor.image_size:
        raise OptionError(
            f"the recogniser is compiled for inputs of {shape} and its processor has "
            f"image_size={processor.image_size} (height, width); give ParseqProcessor(image_size={shape[2:]})"
        )
    return processor
