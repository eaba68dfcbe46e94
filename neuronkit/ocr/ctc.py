"""Text out of recognisers with connectionist temporal classification (CRNN and its like)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuronkit import checks
from neuronkit.errors import OptionError, SpecError
from neuronkit.ocr._arrays import to_float
from neuronkit.ocr.charset import Charset
from neuronkit.ocr.images import ImageLike, as_batch, load_pixels
from neuronkit.ocr.parseq import (
    ParseqProcessor,
    Recognition,
    check_tokens,
    checked_probabilities,
    most_likely,
    tokens_and_probabilities,
)


@dataclass(frozen=True)
class CtcProcessor(ParseqProcessor):
    """Turns images of words or lines into a CTC recogniser's input, and its logits into text.

    Images are scaled and normalised as for PARSeq, which is how baudm/parseq feeds its CRNN; or, with `keep_ratio` and
    one channel, as EasyOCR and deep-text-recognition-benchmark feed theirs.

    Args:
        charset: See `ParseqProcessor`. Class 0 of the logits is the blank, classes 1..n are the characters in order.
        image_size: See `ParseqProcessor`.
        tall_ratio: See `ParseqProcessor`.
        raw_images: See `ParseqProcessor`.
        channels: 3 for RGB, 1 for grey.
        keep_ratio: Keep proportions: images get the height, and the width that follows, rounded up, or the whole width
            where that is too much. `valid_widths` says how wide each is.
        smallest_width: What is narrower is widened to this, since recognisers fail on lines that are too narrow.

    Raises:
        OptionError: If a value is out of its range.

    Examples:
        >>> logits = np.array([[[0, 9, 0], [0, 9, 0], [9, 0, 0], [0, 0, 9]]], np.float32)
        >>> neuronkit.ocr.CtcProcessor(charset="ab").postprocess(logits)[0].text
        'ab'
    """

    kind: ClassVar[str] = "ctc"

    channels: int = 3
    keep_ratio: bool = False
    smallest_width: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.extra_classes:
            raise OptionError(f"got extra_classes={self.extra_classes}; expected 0, since CTC has none; leave it out")
        checks.set_field(self, "channels", checks.choice, (1, 3))
        checks.set_field(self, "keep_ratio", checks.flag)
        checks.set_field(self, "smallest_width", checks.integer, 1, 4096)

    def lines(self, crops: Sequence[ImageLike]) -> list[NDArray[Any]]:
        """Scale and normalise images, each as wide as it is: what `neuronkit.Buckets` takes as a list, as tensors.

        Args:
            crops: N images of one line each; see `load_image` for what serves as one.

        Returns:
            N arrays (C, H, W) float32, -1..1; or uint8, 0..255, with `raw_images`. W is that of the line.

        Raises:
            ImageError: If an image is empty, unreadable or not an image.
            SpecError: If there is no image.
        """
        planes = [self._planes(self._scaled(crop)) for crop in as_batch(crops)]
        if self.raw_images:
            # Pillow's own memory may not be written.
            return [plane.copy() for plane in planes]
        return [self.normalization.table()[0][plane] for plane in planes]

    def preprocess(self, crops: Sequence[ImageLike]) -> NDArray[Any]:
        """Scale and normalise images, and lay each at the left of a canvas of zeros.

        Args:
            crops: N images of one word or line each; see `load_image` for what serves as one.

        Returns:
            (N, C, H, W) float32, -1..1; or uint8, 0..255, with `raw_images`.

        Raises:
            ImageError: If an image is empty, unreadable or not an image.
            SpecError: If there is no image.
        """
        lines = self.lines(crops)
        canvas = np.zeros((len(lines), self.channels, *self.image_size), lines[0].dtype)
        for image, line in zip(canvas, lines, strict=True):
            image[:, :, : line.shape[2]] = line
        return canvas

    def valid_widths(self, crops: Sequence[ImageLike]) -> NDArray[np.int32]:
        """How wide `preprocess` makes each image, in pixels: (N,) int32.

        Args:
            crops: What `preprocess` is given.

        Raises:
            ImageError: If an image is empty, unreadable or not an image.
            SpecError: If there is no image.
        """
        return np.array([self._width(*self._image(crop).size) for crop in as_batch(crops)], np.int32)

    def _image(self, crop: ImageLike) -> Any:
        from PIL import Image

        image = self._upright(Image.fromarray(load_pixels(crop)))
        return image.convert("L") if self.channels == 1 else image

    def _width(self, width: int, height: int) -> int:
        most = self.image_size[1]
        if not self.keep_ratio:
            return most
        return min(max(math.ceil(self.image_size[0] * (width / height)), self.smallest_width), most)

    def _scaled(self, crop: ImageLike) -> NDArray[np.uint8]:
        image = self._image(crop)
        return self._resize_image(image, (self._width(*image.size), self.image_size[0]))

    def _planes(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return image.reshape(*image.shape[:2], self.channels).transpose(2, 0, 1)

    def postprocess(self, logits: Any) -> list[Recognition]:
        """Read the text out of logits along the best path: repeats are one character, blanks are none.

        Args:
            logits: (N, T, C) array or tensor, C the charset's size + 1. Or a pair: the likeliest class of each
                position, (N, T) of an integer type, and its probability, (N, T) floating point.

        Returns:
            N results. The confidence is the probability of the whole path; that of a character is the highest of the
            positions it spans.

        Raises:
            SpecError: If the shape does not fit the charset, or a number is NaN or infinite or no character.
        """
        charset = Charset.named(self.charset)
        if isinstance(logits, (tuple, list)):
            ids, probabilities = tokens_and_probabilities(logits)
        else:
            scores = to_float(logits, "logits")
            if scores.ndim != 3 or scores.shape[2] != len(charset) + 1 or scores.shape[1] == 0:
                raise SpecError(
                    f"got logits of shape {scores.shape} for a charset of {len(charset)} characters and the blank; "
                    f"expected (N, T, {len(charset) + 1}); transpose (T, N, C) first"
                )
            ids, probabilities = most_likely(scores)
        for index, row in enumerate(ids):
            check_tokens(row, len(charset), index)
        counted = [checked_probabilities(row.astype(np.float64), index) for index, row in enumerate(probabilities)]
        return [_read(row, p, charset) for row, p in zip(ids.tolist(), counted, strict=True)]


def collapse(ids: Iterable[int], blank: int = 0) -> list[int]:
    """Merge repeats in a path of classes, then drop the blanks."""
    return [one for one, _ in groupby(ids) if one != blank]


def best_path(ids: Sequence[int], probabilities: NDArray[Any], blank: int) -> list[tuple[int, float]]:
    """The classes along a path, each with the highest probability of the positions that it spans."""
    spans = [list(group) for _, group in groupby(enumerate(ids), key=lambda place: place[1])]
    return [(span[0][1], float(max(probabilities[i] for i, _ in span))) for span in spans if span[0][1] != blank]


def _read(ids: Sequence[int], probabilities: NDArray[np.float64], charset: Charset) -> Recognition:
    best = best_path(ids, probabilities, 0)
    text = "".join(charset.characters[i - 1] for i, _ in best)
    return Recognition(text, float(probabilities.prod()), tuple(p for _, p in best))
