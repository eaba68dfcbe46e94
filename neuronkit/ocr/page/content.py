"""Results of a pipeline: pages, their lines, and the words in them."""

from __future__ import annotations

import io
import json
import os
import warnings
from base64 import b64encode
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from neuronkit import checks
from neuronkit.errors import ImageError, OptionError, SpecError
from neuronkit.ocr._arrays import real_numbers, to_float
from neuronkit.ocr.geometry import LONGEST_SIDE, Letterbox, TextBox, probability
from neuronkit.ocr.images import MAX_PIXELS, ImagePage, ImageWarning, open_page
from neuronkit.ocr.page.draw import draw_boxes, draw_heat_map, draw_text
from neuronkit.ocr.page.fonts import TextWriter
from neuronkit.ocr.page.hocr import page_to_hocr

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import ImageFont

    from neuronkit.errors import NeuronKitError
    from neuronkit.ocr.images import ImageLike, RGBImage

_SHOWN = 1000
"""Longest side, in pixels, of a page shown in a notebook."""


@dataclass(frozen=True)
class Word:
    """A word on a page.

    Attributes:
        text: The characters that were read.
        confidence: The recogniser's confidence, 0..1.
        box: The word's place, in source pixels.
        char_confidences: The confidence of each character of `text`, 0..1.

    Raises:
        SpecError: If the text is no string, the box no `TextBox`, or the characters' confidences no finite numbers.
        OptionError: If the confidence is no number of at least 0.
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
        object.__setattr__(self, "confidence", probability("confidence", self.confidence))
        confidences = real_numbers(self.char_confidences)
        if confidences is None or confidences.ndim != 1 or not np.isfinite(confidences).all():
            raise SpecError(
                f"got char_confidences={checks.shown(self.char_confidences)}; expected finite numbers; "
                "give one for each character"
            )
        object.__setattr__(self, "char_confidences", tuple(confidences.tolist()))

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
    """Words that stand side by side, from left to right.

    Raises:
        SpecError: If `words` is no list or tuple of `Word` objects.
    """

    words: tuple[Word, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", _all("words", self.words, Word))

    @property
    def text(self) -> str:
        """The words, with spaces between them."""
        return " ".join(word.text for word in self.words if word.text)


@dataclass(frozen=True)
class Page:
    """What was read in one image.

    Attributes:
        size: (height, width) of the image in pixels, as it was read; (0, 0) when it could not be read.
        lines: From top to bottom.
        source: What was given as the image; `draw` opens it again.
        error: Why there are no lines, when the image could not be read.
        scores: (H/2, W/2, 2) float32, region and affinity score on the detector's canvas, where they were kept.
        letterbox: How the image lay in that canvas.
        scale: Pixels that the detector saw for each pixel of the image; None where that is unknown.
        rotation: By how many degrees, 0, 90, 180 or 270, the image was turned counter-clockwise to be read, as
            ``numpy.rot90(image, rotation // 90)`` does. `size`, boxes and letterbox are those of the turned image.
        warnings: What may be wrong with the result, in sentences: pages of the file that were not read, a scale at
            which text is lost, a page that may be turned.

    Raises:
        OptionError: If `size` is not two whole numbers.
        SpecError: If `lines` is no list or tuple of `Line` objects.
    """

    size: tuple[int, int]
    lines: tuple[Line, ...]
    source: ImageLike | None = field(default=None, repr=False, compare=False)
    error: NeuronKitError | None = None
    scores: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    letterbox: Letterbox | None = field(default=None, repr=False)
    scale: float | None = None
    rotation: int = 0
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", checks.integers("size", self.size, 2, 0, LONGEST_SIDE))
        object.__setattr__(self, "lines", _all("lines", self.lines, Line))
        if self.scale is not None:
            object.__setattr__(self, "scale", checks.number("scale", self.scale, 0, open_low=True))
        object.__setattr__(self, "rotation", checks.choice("rotation", self.rotation, (0, 90, 180, 270)))
        object.__setattr__(self, "warnings", _all("warnings", self.warnings, str))

    @property
    def words(self) -> list[Word]:
        """All words in reading order."""
        return [word for line in self.lines for word in line.words]

    @property
    def text(self) -> str:
        """The text in reading order, one line for each line of the page."""
        return "\n".join(line.text for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """Give the page as JSON can hold it.

        Returns:
            ``height``, ``width``, ``scale``, ``rotation``, ``text``, ``lines`` (each with its ``text`` and ``words``),
            ``warnings``, and ``error``, the message of the error or None.
        """
        return {
            "height": self.size[0],
            "width": self.size[1],
            "scale": self.scale,
            "rotation": self.rotation,
            "text": self.text,
            "lines": [{"text": line.text, "words": [word.to_dict() for word in line.words]} for line in self.lines],
            "warnings": list(self.warnings),
            "error": None if self.error is None else str(self.error),
        }

    def to_json(self, *, indent: int | None = None) -> str:
        """Give `to_dict` as JSON text, on lines of their own and moved in by `indent` spaces where that is given.

        Raises:
            OptionError: If `indent` is no whole number from 0 to 100.
        """
        indent = indent if indent is None else checks.integer("indent", indent, 0, 100)
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent)

    def to_hocr(self) -> str:
        """Give the page as an hOCR document, with boxes in whole pixels and confidences in percent."""
        lines = [[(word.text, word.confidence, word.box.bounds) for word in line.words] for line in self.lines]
        return page_to_hocr(self.size, lines, title=self._name())

    def draw(
        self,
        image: ImageLike | None = None,
        *,
        boxes: bool = True,
        text: bool = True,
        heat_map: bool = False,
        font: str | os.PathLike[str] | ImageFont.FreeTypeFont | None = None,
    ) -> RGBImage:
        """Draw what was found over the image.

        Args:
            image: The page's image, where `source` cannot be opened again (an open file that was read).
            boxes: Draw the words' outlines.
            text: Write the text above each word.
            heat_map: Lay the region score over the image; for pipelines with ``keep_scores=True``.
            font: A TrueType or OpenType font: its file, or what Pillow made of it. None takes Pillow's own, which has
                Latin letters. Words with characters that the font lacks are written in a font of this system that has
                them; where there is none, their number and script stand in their place.

        Returns:
            (H, W, 3) uint8, RGB: a new image of the page's size, turned as the page was.

        Raises:
            ImageError: If there is no image to draw on, or one of another size.
            OptionError: If an option has no such value, a heat map is asked for and the scores were not kept, or `font`
                is no font.
            SpecError: If they are no score maps.

        Warns:
            ImageWarning: If no font was found for some characters.
        """
        boxes, text = checks.flag("boxes", boxes), checks.flag("text", text)
        heat_map = checks.flag("heat_map", heat_map)
        writer = TextWriter(font)
        pixels = self._pixels(self.source if image is None else image)
        if heat_map:
            if self.scores is None or not isinstance(self.letterbox, Letterbox):
                raise OptionError(
                    "got heat_map=True for a page without scores; expected kept ones; make the pipeline with "
                    "keep_scores=True"
                )
            pixels = draw_heat_map(pixels, self._region(), self.letterbox)
        if boxes:
            pixels = draw_boxes(pixels, [word.box for word in self.words])
        if not text:
            return pixels.copy()
        pixels = draw_text(pixels, [(word.text, word.box) for word in self.words], writer)
        if writer.missing:
            warnings.warn(writer.warning, ImageWarning, stacklevel=2)
        return pixels

    def _pixels(self, image: Any) -> RGBImage:
        most = max(MAX_PIXELS, self.size[0] * self.size[1])
        pixels = np.rot90(open_page(image, max_pixels=most).pixels, self.rotation // 90)
        if pixels.shape[:2] != self.size:
            raise ImageError(
                f"got an image of {pixels.shape[:2]} (height, width); expected the page's {self.size}; "
                "give the image that was read"
            )
        return np.ascontiguousarray(pixels)

    def _region(self) -> NDArray[Any]:
        scores = to_float(self.scores, "scores")
        if scores.ndim != 3 or not scores.size:
            raise SpecError(f"got scores of shape {scores.shape}; expected (H/2, W/2, 2); give what the detector gave")
        return scores[:, :, 0]

    def _name(self) -> str:
        file = self.source.source if isinstance(self.source, ImagePage) else self.source
        return os.path.basename(os.fspath(file)) if isinstance(file, (str, os.PathLike)) else ""

    def _repr_png_(self) -> bytes | None:
        """Show the drawn page in a notebook; None, so that text is shown, where its image is gone."""
        from PIL import Image

        try:
            drawn = Image.fromarray(self.draw())
        except ImageError:
            return None
        drawn.thumbnail((_SHOWN, _SHOWN))
        out = io.BytesIO()
        drawn.save(out, "PNG")
        return out.getvalue()

    def _repr_html_(self) -> str:
        """Show the drawn page and its text in a notebook."""
        if self.error is not None:
            return f"<pre>{escape(str(self.error))}</pre>"
        png = self._repr_png_()
        picture = "" if png is None else f'<img src="data:image/png;base64,{b64encode(png).decode()}">'
        return f"<div>{picture}<pre>{escape(self.text)}</pre></div>"


def _all(name: str, items: Any, kind: type[Any]) -> tuple[Any, ...]:
    """Check that all items are of one kind."""
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, kind) for item in items):
        raise SpecError(f"got {name}={checks.shown(items)}; expected {kind.__name__} objects; give a tuple of them")
    return tuple(items)
