"""Results of a pipeline: pages, which can be printed, drawn and saved."""

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
from neuronkit.ocr._arrays import to_float
from neuronkit.ocr.geometry import LONGEST_SIDE, Letterbox
from neuronkit.ocr.images import MAX_PIXELS, ImagePage, ImageWarning, open_page
from neuronkit.ocr.page.draw import draw_boxes, draw_heat_map, draw_text
from neuronkit.ocr.page.fonts import TextWriter
from neuronkit.ocr.page.words import Line, Word, all_of
from neuronkit.ocr.writers import page_text, save_page

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import ImageFont

    from neuronkit.errors import NeuronKitError
    from neuronkit.ocr.images import ImageLike, RGBImage

_SHOWN = 1000
"""Longest side, in pixels, of a page shown in a notebook."""


@dataclass(frozen=True)
class Page:
    """What was read in one image.

    Attributes:
        size: (height, width) of the image in pixels, as it was read; (0, 0) when it could not be read.
        lines: In reading order: from top to bottom, column by column.
        source: What was given as the image; `draw` opens it again.
        error: Why there are no lines, when the image could not be read.
        scores: (H/2, W/2, 2) float32, region and affinity score on the detector's canvas, where they were kept.
        letterbox: How the image lay in that canvas.
        scale: Pixels that the detector saw for each pixel of the image; None where that is unknown.
        rotation: By how many degrees, 0, 90, 180 or 270, the image was turned counter-clockwise to be read, as
            ``numpy.rot90(image, rotation // 90)`` does. `size`, boxes and letterbox are those of the turned image.
        warnings: What may be wrong with the result, in sentences: pages of the file that were not read, a scale at
            which text is lost, a page that may be turned.
        dpi: Pixels per inch of the image; None where its file does not say.

    Raises:
        OptionError: If `size` is not two whole numbers, or another number out of its range.
        SpecError: If `lines` is not a list or tuple of `Line` objects.

    Examples:
        >>> page = neuronkit.ocr.Page(size=(20, 100), lines=())
        >>> page.text, page.to_dict()["height"]
        ('', 20)
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
    dpi: float | None = None

    def __post_init__(self) -> None:
        checks.set_field(self, "size", checks.integers, 2, 0, LONGEST_SIDE)
        checks.set_field(self, "lines", all_of, Line)
        for name in ("scale", "dpi"):
            checks.set_field(self, name, checks.number, 0, open_low=True, optional=True)
        checks.set_field(self, "rotation", checks.choice, (0, 90, 180, 270))
        checks.set_field(self, "warnings", all_of, str)

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
            ``height``, ``width``, ``scale``, ``dpi``, ``rotation``, ``text``, ``lines`` (each with its ``text``,
            ``confidence``, ``box`` and ``words``), ``warnings``, and ``error``, the message of the error or None.
            docs/page.schema.json describes it. Places are in pixels, to a tenth; confidences have four digits.
        """
        return {
            "height": self.size[0],
            "width": self.size[1],
            "scale": self.scale,
            "dpi": self.dpi,
            "rotation": self.rotation,
            "text": self.text,
            "lines": [line.to_dict() for line in self.lines],
            "warnings": list(self.warnings),
            "error": None if self.error is None else str(self.error),
        }

    def to_json(self, *, indent: int | None = None) -> str:
        """Give `to_dict` as JSON text, on lines of their own and moved in by `indent` spaces where that is given.

        Raises:
            OptionError: If `indent` is not a whole number from 0 to 100.
        """
        indent = indent if indent is None else checks.integer("indent", indent, 0, 100)
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent)

    def to_hocr(self) -> str:
        """Give the page as an hOCR document, with boxes in whole pixels and confidences in percent."""
        return "".join(page_text([self], "hocr"))

    def save(self, path: str | os.PathLike[str], *, format: str | None = None) -> None:
        """Write the page to a file: text, Markdown, CSV, JSON, hOCR, ALTO, PDF, or a picture of it.

        Args:
            path: The file, whose ending says as what; see `neuronkit.ocr.save_pages`. A ``.json`` holds `to_dict`.
            format: What to write where the ending does not say it.

        Raises:
            OptionError: If there is no such format, the file cannot be written, or is the one that was read.
            ImageError: If a picture is needed and the image cannot be opened again.
            MissingDependencyError: If it is a PDF, and what writes it is missing.

        Examples:
            ``page.save("page.pdf")``
        """
        save_page(self, path, format=format)

    def show(self) -> None:
        """Open the drawn page in the system's picture viewer, or in the notebook.

        Raises:
            ImageError: If the image cannot be opened again.
        """
        from PIL import Image

        Image.fromarray(self.draw()).show(title=self.name)

    def __str__(self) -> str:
        """The text, below a line that says what it is of."""
        height, width = self.size
        name = self.name or "page"
        if self.error is not None:
            return f"{name}: not read: {self.error}"
        words = self.words
        found = f"{_counted(len(words), 'word')} in {_counted(len(self.lines), 'line')}"
        mean = f", mean confidence {np.mean([word.confidence for word in words]):.2f}" if words else ""
        notes = [f"({text})" for text in self.warnings]
        return "\n".join([f"{name}: {width} x {height} pixels, {found}{mean}", *notes, "", self.text]).rstrip()

    @property
    def name(self) -> str:
        """The name of the file that the image was read from; empty where it came from none."""
        file = self.source.source if isinstance(self.source, ImagePage) else self.source
        return os.path.basename(os.fspath(file)) if isinstance(file, (str, os.PathLike)) else ""

    def pixels(self, image: ImageLike | None = None) -> RGBImage:
        """Open the page's image again, turned as it was read.

        Args:
            image: The image, where `source` cannot be opened again (an open file that was read).

        Returns:
            (H, W, 3) uint8, RGB, of the page's size.

        Raises:
            ImageError: If there is no image, or one of another size.
        """
        most = max(MAX_PIXELS, self.size[0] * self.size[1])
        opened = open_page(self.source if image is None else image, max_pixels=most).pixels  # type: ignore[arg-type]
        turned = np.rot90(opened, self.rotation // 90)
        if turned.shape[:2] != self.size:
            raise ImageError(
                f"got an image of {turned.shape[:2]} (height, width); expected the page's {self.size}; "
                "give the image that was read"
            )
        return np.ascontiguousarray(turned)

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
            OptionError: If an option has no such value, a heat map is to be drawn without kept scores, or `font`
                is not a font.
            SpecError: If they are not score maps.

        Warns:
            ImageWarning: If no font was found for some characters.
        """
        boxes, text = checks.flag("boxes", boxes), checks.flag("text", text)
        heat_map = checks.flag("heat_map", heat_map)
        writer = TextWriter(font)
        pixels = self.pixels(image)
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

    def _region(self) -> NDArray[Any]:
        scores = to_float(self.scores, "scores")
        if scores.ndim != 3 or not scores.size:
            raise SpecError(f"got scores of shape {scores.shape}; expected (H/2, W/2, 2); give what the detector gave")
        return scores[:, :, 0]

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


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
