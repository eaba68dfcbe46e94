"""Words, and the lines that they stand in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neuronkit import checks
from neuronkit.errors import SpecError
from neuronkit.ocr._arrays import real_numbers
from neuronkit.ocr.geometry import TextBox, probability, surrounding

CONFIDENCE_DIGITS = 4
"""What a confidence means, of the digits that a float has."""


@dataclass(frozen=True)
class Word:
    """A word on a page.

    Attributes:
        text: The characters that were read.
        confidence: The recogniser's confidence, 0..1.
        box: The word's place, in source pixels.
        char_confidences: The confidence of each character of `text`, 0..1.

    Raises:
        SpecError: If the text is not a string, the box not a `TextBox`, or a character's confidence not finite.
        OptionError: If the confidence is not a number of at least 0.

    Examples:
        >>> box = neuronkit.ocr.TextBox(np.array([[0, 0], [9, 0], [9, 5], [0, 5]], np.float32))
        >>> neuronkit.ocr.Word("ab", 0.9, box).text
        'ab'
    """

    text: str
    confidence: float
    box: TextBox
    char_confidences: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise SpecError(f"got text={checks.shown(self.text)}; expected text; give a str")
        if not isinstance(self.box, TextBox):
            raise SpecError(f"got box={checks.shown(self.box)}; expected a TextBox; give one")
        # In Python's own numbers, because JSON holds no others: recognisers give NumPy's too.
        checks.set_field(self, "confidence", probability)
        confidences = real_numbers(self.char_confidences)
        if confidences is None or confidences.ndim != 1 or not np.isfinite(confidences).all():
            raise SpecError(
                f"got char_confidences={checks.shown(self.char_confidences)}; expected finite numbers; "
                "give one for each character"
            )
        object.__setattr__(self, "char_confidences", tuple(confidences.tolist()))

    def to_dict(self) -> dict[str, Any]:
        """Give the word as JSON can hold it: places to a tenth of a pixel, confidences to four digits."""
        return {
            "text": self.text,
            "confidence": round(self.confidence, CONFIDENCE_DIGITS),
            "char_confidences": [round(number, CONFIDENCE_DIGITS) for number in self.char_confidences],
            "box": self.box.to_dict(),
        }


@dataclass(frozen=True)
class Line:
    """Words that stand side by side, from left to right.

    Args:
        words: The words, from left to right.

    Raises:
        SpecError: If `words` is not a list or tuple of `Word` objects.

    Examples:
        >>> box = neuronkit.ocr.TextBox(np.array([[0, 0], [9, 0], [9, 5], [0, 5]], np.float32))
        >>> neuronkit.ocr.Line((neuronkit.ocr.Word("ab", 0.9, box),)).text
        'ab'
    """

    words: tuple[Word, ...]

    def __post_init__(self) -> None:
        checks.set_field(self, "words", all_of, Word)

    @property
    def text(self) -> str:
        """The words, with spaces between them."""
        return " ".join(word.text for word in self.words if word.text)

    @property
    def confidence(self) -> float:
        """The mean confidence of the words; 0 where there are none."""
        return float(np.mean([word.confidence for word in self.words])) if self.words else 0.0

    @property
    def box(self) -> TextBox | None:
        """The rectangle around the words, tilted as they are; None where there are none."""
        return surrounding([word.box for word in self.words]) if self.words else None

    def to_dict(self) -> dict[str, Any]:
        """Give the line as JSON can hold it: ``text``, ``confidence``, ``box`` and ``words``."""
        return {
            "text": self.text,
            "confidence": round(self.confidence, CONFIDENCE_DIGITS),
            "box": None if self.box is None else self.box.to_dict(),
            "words": [word.to_dict() for word in self.words],
        }


def all_of(name: str, items: Any, kind: type[Any]) -> tuple[Any, ...]:
    """Check that all items are of one kind."""
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, kind) for item in items):
        raise SpecError(f"got {name}={checks.shown(items)}; expected {kind.__name__} objects; give a tuple of them")
    return tuple(items)
