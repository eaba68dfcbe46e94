"""What a reader gives back: pages, their lines, and the words in them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from neuronkit.ocr.draw import draw_words
from neuronkit.ocr.geometry import TextBox
from neuronkit.ocr.images import load_image

if TYPE_CHECKING:
    from neuronkit.errors import NeuronKitError
    from neuronkit.ocr.images import ImageLike, RGBImage


@dataclass(frozen=True)
class Word:
    """A word on a page.

    Attributes:
        text: What it says.
        confidence: The recogniser's, 0..1.
        box: Where it is, in source pixels.
        char_confidences: Of each character of `text`.
    """

    text: str
    confidence: float
    box: TextBox
    char_confidences: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Give the word as JSON can hold it."""
        return {
            "text": self.text,
            "confidence": self.confidence,
            "char_confidences": list(self.char_confidences),
            "box": self.box.to_dict(),
        }


@dataclass(frozen=True)
class Line:
    """Words that stand side by side, from left to right."""

    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        """The words, with spaces between them."""
        return " ".join(word.text for word in self.words if word.text)


@dataclass(frozen=True)
class Page:
    """What was read in one image.

    Attributes:
        size: (height, width) of the image in pixels, upright; (0, 0) when it could not be read.
        lines: From top to bottom.
        source: What was given as the image; `draw` opens it again.
        error: Why there are no lines, when the image could not be read.
    """

    size: tuple[int, int]
    lines: tuple[Line, ...]
    source: ImageLike | None = field(default=None, repr=False)
    error: NeuronKitError | None = None

    @property
    def words(self) -> list[Word]:
        """All words in reading order."""
        return [word for line in self.lines for word in line.words]

    @property
    def text(self) -> str:
        """The text in reading order, one line of the page a line."""
        return "\n".join(line.text for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """Give the page as JSON can hold it: sizes, lines of words, text, and the error's message if there is one."""
        return {
            "height": self.size[0],
            "width": self.size[1],
            "text": self.text,
            "lines": [{"text": line.text, "words": [word.to_dict() for word in line.words]} for line in self.lines],
            "error": None if self.error is None else str(self.error),
        }

    def to_json(self, *, indent: int | None = None) -> str:
        """Give `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent)

    def draw(self, image: ImageLike | None = None) -> RGBImage:
        """Draw boxes and text over the image.

        Args:
            image: The page's image, where `source` cannot be opened again (an open file that was read).

        Returns:
            (H, W, 3) uint8, RGB: a new image of the page's size.

        Raises:
            ImageError: If there is no image to draw on.
        """
        return draw_words(load_image(self.source if image is None else image), self.words)  # type: ignore[arg-type]
