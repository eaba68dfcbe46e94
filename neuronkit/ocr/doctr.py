"""Pre- and post-processing of docTR's recognisers, as in docTR: word images to their input, logits to text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuronkit import checks
from neuronkit.errors import SpecError
from neuronkit.ocr._arrays import to_float
from neuronkit.ocr._settings import Settings
from neuronkit.ocr.charset import Charset
from neuronkit.ocr.ctc import best_path
from neuronkit.ocr.images import ImageLike, as_batch, load_pixels
from neuronkit.ocr.images.normalization import Normalization
from neuronkit.ocr.parseq import Recognition, check_tokens, checked_probabilities, most_likely, tokens_and_probabilities

MEAN = (0.694, 0.695, 0.693)
STD = (0.299, 0.296, 0.301)
CONFIDENCES = ("mean", "minimum")
_END = "<eos>"


@dataclass(frozen=True)
class DoctrProcessor(Settings):
    """Turns word images into the input of a docTR recogniser, and its logits into text.

    Args:
        charset: docTR's vocabulary, in the order of the model's classes: a string or a `Charset`. The end of the word
            is the class after it.
        image_size: (height, width) that crops are scaled into; they keep their proportions, and are padded with black
            on the right or at the bottom.
        confidence: How docTR rates a word: "mean" of its characters' probabilities (PARSeq, ViTSTR), or the "minimum"
            over all positions (SAR, MASTER).
        mean: Mean of red, green and blue, 0..1.
        std: Their standard deviation.
        raw_images: Give uint8 images, for a recogniser that normalises them itself.
        ctc: Read logits along the best path, as docTR's CRNNs are: the class after the vocabulary is the blank.

    Raises:
        OptionError: If a value is out of its range.

    Examples:
        >>> neuronkit.ocr.DoctrProcessor("abc").preprocess([np.zeros((20, 60, 3), np.uint8)]).shape
        (1, 3, 32, 128)
    """

    kind: ClassVar[str] = "doctr"

    charset: Charset | str
    image_size: tuple[int, int] = (32, 128)
    confidence: str = "mean"
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    raw_images: bool = False
    ctc: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.charset, Charset):
            object.__setattr__(self, "charset", Charset(self.charset))
        checks.set_field(self, "image_size", checks.integers, 2, 1, 4096)
        checks.set_field(self, "confidence", checks.choice, CONFIDENCES)
        checks.set_field(self, "mean", checks.numbers, 3, 0, 1)
        checks.set_field(self, "std", checks.numbers, 3, 0, 1, open_low=True)
        for name in ("raw_images", "ctc"):
            checks.set_field(self, name, checks.flag)

    @property
    def characters(self) -> str:
        """The vocabulary."""
        return self.charset.characters if isinstance(self.charset, Charset) else self.charset

    @property
    def normalization(self) -> Normalization:
        """The normalisation of levels 0..255."""
        return Normalization(255.0, self.mean, self.std)

    def preprocess(self, crops: Sequence[ImageLike]) -> NDArray[Any]:
        """Scale, pad and normalise word images.

        Args:
            crops: N images of one word each; see `load_image` for what serves as one.

        Returns:
            (N, 3, H, W) float32, RGB; or uint8, 0..255, with `raw_images`.

        Raises:
            ImageError: If an image is empty, unreadable or not an image.
            SpecError: If there is no image.
        """
        crops = as_batch(crops)
        padded = np.zeros((len(crops), 3, *self.image_size), np.uint8)
        for planes, crop in zip(padded, crops, strict=True):
            scaled = self._scaled(crop)
            planes[:, : scaled.shape[0], : scaled.shape[1]] = scaled.transpose(2, 0, 1)
        if self.raw_images:
            return padded
        table = self.normalization.table()
        return np.stack([table[color][padded[:, color]] for color in range(3)], axis=1)

    def postprocess(self, logits: Any) -> list[Recognition]:
        """Read the text out of logits, greedily.

        Args:
            logits: (N, T, C) array or tensor; C is the vocabulary's size and one or more special classes, of which the
                first ends a word. Or a pair, as models with ``outputs="tokens"`` give it: tokens (N, T) of an integer
                type, and the probability of each, (N, T) floating point.

        Returns:
            N results, rated as docTR does.

        Raises:
            SpecError: If the shape does not fit the vocabulary, a logit is NaN or infinite, or a token is not a class.
        """
        count = len(self.characters)
        if isinstance(logits, (tuple, list)):
            ids, probabilities = tokens_and_probabilities(logits)
            for index, row in enumerate(ids):
                check_tokens(row, count + 2, index)
            return self._words(ids, probabilities)
        scores = to_float(logits, "logits")
        if scores.ndim != 3 or not count < scores.shape[2] <= count + 3 or scores.shape[1] == 0:
            raise SpecError(
                f"got logits of shape {scores.shape}, which do not fit a vocabulary of {count} characters; expected "
                f"(N, T, {count + 1} to {count + 3}); give the vocabulary that the model was trained with"
            )
        return self._words(*most_likely(scores))

    def _words(self, ids: NDArray[np.intp], probabilities: NDArray[Any]) -> list[Recognition]:
        counted = [checked_probabilities(row, index) for index, row in enumerate(probabilities)]
        if self.ctc:
            return [self._read_path(row, p) for row, p in zip(ids.tolist(), counted, strict=True)]
        symbols = [*self.characters, _END, "<sos>", "<pad>"]
        return [self._read("".join(symbols[i] for i in row), p) for row, p in zip(ids, counted, strict=True)]

    def _scaled(self, crop: ImageLike) -> NDArray[np.uint8]:
        from PIL import Image

        image = Image.fromarray(load_pixels(crop))
        height, width = self.image_size
        ratio = image.height / image.width
        if ratio > height / width:
            width = max(int(height / ratio), 1)
        elif ratio < height / width:
            height = max(int(width * ratio), 1)
        return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))

    def _read_path(self, ids: list[int], probabilities: NDArray[Any]) -> Recognition:
        best = best_path(ids, probabilities, len(self.characters))
        return Recognition(
            "".join(self.characters[i] for i, _ in best), float(probabilities.min()), tuple(p for _, p in best)
        )

    def _read(self, written: str, probabilities: NDArray[Any]) -> Recognition:
        text = written.split(_END)[0]
        characters = probabilities[: len(text)]
        rated = characters.mean() if self.confidence == "mean" and text else 0.0
        confidence = float(probabilities.min() if self.confidence == "minimum" else rated)
        return Recognition(text, confidence, tuple(float(p) for p in characters))
