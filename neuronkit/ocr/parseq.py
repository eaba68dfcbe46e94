"""PARSeq's pre- and post-processing, as in baudm/parseq: word images to its input, logits to text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuronkit import checks
from neuronkit.errors import ImageError, MissingDependencyError, SpecError
from neuronkit.ocr._arrays import to_float, to_numpy
from neuronkit.ocr._settings import Settings
from neuronkit.ocr.charset import Charset
from neuronkit.ocr.images import ImageLike, as_batch, load_pixels
from neuronkit.ocr.images.normalization import Normalization

NORMALIZATION = Normalization(255.0, (0.5,) * 3, (0.5,) * 3)
# By so much a probability in bfloat16 may be above 1.
_ROUNDING = 2.0**-6


@dataclass(frozen=True)
class Recognition:
    """What a recogniser read in one word image.

    Attributes:
        text: The characters.
        confidence: Product of the probabilities of all characters and of the end of the word, 0..1.
        char_confidences: Probability of each character, as many as `text` has.

    Examples:
        >>> neuronkit.ocr.Recognition("ab", 0.81, (0.9, 0.9)).text
        'ab'
    """

    text: str
    confidence: float
    char_confidences: tuple[float, ...]


@dataclass(frozen=True)
class ParseqProcessor(Settings):
    """Turns word images into PARSeq's input, and its logits into text.

    Args:
        charset: 36, 62 or 94 for the published ones, a string of characters in the order of the model's classes, or
            a `Charset`.
        image_size: (height, width) that every crop is scaled to, without keeping its proportions, as in the original.
        tall_ratio: Crops with height / width above this are turned by 90 degrees counter-clockwise first; None, as in
            the original, turns none.
        raw_images: Give uint8 images, for a recogniser that normalises them itself; see `fold_normalization`.
        extra_classes: Classes of the logits behind the characters: 2 for TRBA, whose decoder can also give BOS and PAD.
            A word in which one of them comes out is an error.

    Raises:
        OptionError: If a value is out of its range.

    Examples:
        >>> processor = ParseqProcessor(charset="abc", image_size=(32, 128))
        >>> processor.preprocess([np.zeros((20, 60, 3), np.uint8)]).shape
        (1, 3, 32, 128)
    """

    kind: ClassVar[str] = "parseq"

    charset: Charset | str | int = 94
    image_size: tuple[int, int] = (32, 128)
    tall_ratio: float | None = None
    raw_images: bool = False
    extra_classes: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "charset", Charset.named(self.charset))
        checks.set_field(self, "image_size", checks.integers, 2, 1, 4096)
        checks.set_field(self, "tall_ratio", checks.number, 1, 1000, optional=True)
        checks.set_field(self, "raw_images", checks.flag)
        checks.set_field(self, "extra_classes", checks.integer, 0, 100)

    @property
    def num_classes(self) -> int:
        """C of the logits: the end of a word, the characters, and the extra classes."""
        return Charset.named(self.charset).num_classes + self.extra_classes

    def preprocess(self, crops: Sequence[ImageLike]) -> NDArray[Any]:
        """Scale and normalise word images, bit for bit as torchvision does with Pillow images.

        Args:
            crops: N images of one word each; see `load_image` for what serves as one.

        Returns:
            (N, 3, H, W) float32, RGB, -1..1; or uint8, 0..255, with `raw_images`.

        Raises:
            ImageError: If an image is empty, unreadable or not an image.
            SpecError: If there is no image.
        """
        crops = as_batch(crops)
        height, width = self.image_size
        resized = np.empty((len(crops), 3, height, width), np.uint8)
        for planes, crop in zip(resized, crops, strict=True):
            planes[...] = self._resize(crop).transpose(2, 0, 1)
        # One table serves all three colours: mean and deviation are the same.
        return resized if self.raw_images else self.normalization.table()[0][resized]

    @property
    def normalization(self) -> Normalization:
        """The normalisation of levels 0..255: torchvision's ToTensor and Normalize(0.5, 0.5)."""
        return NORMALIZATION

    def postprocess(self, logits: Any) -> list[Recognition]:
        """Read the text out of logits, greedily, or out of tokens.

        Args:
            logits: (N, T, C) array or tensor, C as `num_classes`, class 0 the end of the word. Or a pair, as
                models with ``outputs="tokens"`` give it: tokens (N, T) of an integer type, and the probability of each,
                (N, T) floating point. What comes after the first end is ignored, whatever it holds.

        Returns:
            N results.

        Raises:
            SpecError: If the shape does not fit the charset, or a position that counts is NaN or infinite or no
                character.
        """
        charset = Charset.named(self.charset)
        if isinstance(logits, (tuple, list)):
            ids, probabilities = tokens_and_probabilities(logits)
        else:
            scores = to_float(logits, "logits")
            if scores.ndim != 3 or scores.shape[2] != self.num_classes or scores.shape[1] == 0:
                raise SpecError(
                    f"got logits of shape {scores.shape}, which do not fit a charset of {len(charset)} characters; "
                    f"expected (N, T, {self.num_classes}); give the charset that the model was trained with"
                )
            ids, probabilities = most_likely(scores)
        return [_read(row, p, charset, i) for i, (row, p) in enumerate(zip(ids, probabilities, strict=True))]

    def torchvision_transform(self) -> Any:
        """Build the equal torchvision pipeline, for a training repository: Pillow RGB image to (3, H, W) tensor.

        Raises:
            MissingDependencyError: If torchvision is not installed.
        """
        try:
            from torchvision import transforms
        except ImportError as error:
            raise MissingDependencyError(
                f"torchvision cannot be imported ({error}); `pip install neuronkit[torchvision]`, or use `preprocess`, "
                "which gives the same bits without it"
            ) from error
        steps = [
            transforms.Resize(self.image_size, transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize(0.5, 0.5),
        ]
        if self.tall_ratio is not None:
            steps.insert(0, transforms.Lambda(self._upright))
        return transforms.Compose(steps)

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as JSON can hold them."""
        settings = super().to_dict()
        if not self.extra_classes:
            # Earlier releases do not have it.
            del settings["extra_classes"]
        return settings

    def _resize(self, crop: ImageLike) -> NDArray[np.uint8]:
        from PIL import Image

        height, width = self.image_size
        return self._resize_image(self._upright(Image.fromarray(load_pixels(crop))), (width, height))

    def _resize_image(self, image: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
        from PIL import Image

        width, height = size
        try:
            return np.asarray(image.resize(size, Image.Resampling.BICUBIC))
        except MemoryError as error:
            # Pillow scales one side after the other: what is one pixel wide and millions high grows before it shrinks.
            raise ImageError(
                f"got {image.height} x {image.width} pixels, for which there is no memory to scale them to {height} x "
                f"{width}; expected a smaller image; cut it"
            ) from error

    def _upright(self, image: Any) -> Any:
        from PIL import Image

        if self.tall_ratio is not None and image.height > self.tall_ratio * image.width:
            return image.transpose(Image.Transpose.ROTATE_90)
        return image


def most_likely(scores: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Give the likeliest class of each position and its softmax probability; NaN where the logits make none."""
    ids = scores.argmax(axis=2)
    with np.errstate(invalid="ignore", over="ignore"):
        best = np.take_along_axis(scores, ids[:, :, None], axis=2)
        return ids, 1 / np.exp(scores - best).sum(axis=2)


def tokens_and_probabilities(pair: Sequence[Any]) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Check a pair of tokens and probabilities, (N, T) each.

    Raises:
        SpecError: If it is none.
    """
    if len(pair) != 2:
        raise SpecError(f"got {len(pair)} outputs; expected logits, or tokens and probabilities; give these two")
    ids, probabilities = to_numpy(pair[0]), to_float(pair[1], "probabilities")
    if ids.dtype.kind not in "iu" or ids.ndim != 2 or ids.shape[1] == 0 or probabilities.shape != ids.shape:
        raise SpecError(
            f"got tokens of shape {ids.shape} and dtype {ids.dtype} with probabilities of shape {probabilities.shape}; "
            "expected whole numbers (N, T), and as many probabilities; give both outputs of the model"
        )
    return ids.astype(np.intp), probabilities


def check_tokens(ids: NDArray[np.intp], count: int, index: int) -> None:
    """Refuse tokens of a word that are neither the end, 0, nor one of `count` characters, counted from 1.

    Raises:
        SpecError: If there is one.
    """
    unknown = ids[(ids < 0) | (ids > count)]
    if len(unknown):
        raise SpecError(
            f"got token {unknown[0]} in word {index}; expected 0 to {count}; give the charset that the model was "
            "trained with"
        )


def checked_probabilities(given: NDArray[Any], index: int) -> NDArray[Any]:
    """The probabilities of a word, (T,); those that rounding has put above 1 as 1.

    Raises:
        SpecError: If one is NaN, infinite or outside 0 to 1.
    """
    if not np.isfinite(given).all():
        raise SpecError(
            f"got logits of word {index} that are NaN or infinite at position {int(np.argmin(np.isfinite(given)))}; "
            "expected finite ones; check the recogniser's weights, and its precision if it runs in half precision"
        )
    wrong = given[(given < 0) | (given > 1 + _ROUNDING)]
    if len(wrong):
        raise SpecError(
            f"got {wrong[0]:g} as a probability in word {index}; expected 0 to 1; give logits alone, or tokens and "
            "their probabilities"
        )
    return np.minimum(given, 1)


def _read(ids: NDArray[np.intp], probabilities: NDArray[Any], charset: Charset, index: int) -> Recognition:
    ends = np.flatnonzero(ids == charset.eos_id)
    length = int(ends[0]) if len(ends) else len(ids)
    check_tokens(ids[:length], len(charset), index)
    counted = checked_probabilities(probabilities[: length + 1].astype(np.float64), index)
    return Recognition(charset.decode(ids[:length].tolist()), float(counted.prod()), tuple(counted[:length].tolist()))
