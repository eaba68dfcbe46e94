"""Searchable PDF: the picture of each page, and over it its words as text that is not drawn."""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronkit.errors import MissingDependencyError
from neuronkit.ocr.images import RGBImage
from neuronkit.ocr.writers.types import WritablePage

_SCREEN_DPI = 96.0
"""Resolution of a page whose file says none."""
_INCH = 72.0
_LONGEST = 14_400.0
"""Longest side of a page, in points (ISO 32000-1, annex C)."""
_A4 = (595.0, 842.0)
_EM, _ADVANCE, _DESCENT = 1000, 500, 200
_TOGETHER = 16
"""Pages in memory at once."""


def write_pdf(pages: Iterable[WritablePage], path: Path) -> None:
    """Write a PDF of any number of pages, of which only a few are held in memory.

    Raises:
        MissingDependencyError: If fpdf2 or pypdfium2 is missing.
        ImageError: If the image of a page cannot be opened again.
    """
    pages = iter(pages)
    with tempfile.TemporaryDirectory(prefix="neuronkit-pdf-") as folder:
        parts: list[Path] = []
        while part := list(islice(pages, _TOGETHER)):
            parts.append(_write_part(part, Path(folder) / f"{len(parts)}.pdf"))
            # Not kept while the next ones are read.
            del part
        _join(parts, path)


def _write_part(pages: Sequence[WritablePage], path: Path) -> Path:
    document = _fpdf().FPDF(unit="pt")
    document.set_auto_page_break(False)
    document.add_font("invisible", fname=_font(pages, path.with_suffix(".ttf")))
    try:
        for page in pages:
            _add(document, page)
        document.output(str(path))
    finally:
        for font in document.fonts.values():
            font.ttfont.close()
    return path


def _add(document: Any, page: WritablePage) -> None:
    height, width = page.size
    if not height or not width:
        # A page that could not be read keeps its place.
        document.add_page(format=_A4)
        return
    scale = min(_INCH / (page.dpi or _SCREEN_DPI), _LONGEST / max(height, width))
    document.add_page(format=(width * scale, height * scale))
    document.image(_jpeg(page.pixels()), 0, 0, width * scale, height * scale)
    with document.local_context(text_mode="INVISIBLE"):
        for line in page.lines:
            for word in line.words:
                # No further away than numbers in a PDF reach.
                quad = np.clip(word.box.quad.astype(np.float64), -max(page.size), 2 * max(page.size))
                _write(document, word.text, quad * scale)


def _write(document: Any, text: str, quad: NDArray[np.float64]) -> None:
    """Write a word so that its first character begins at the left side of its box, and its last ends at the right."""
    from fpdf.bidi import BidiParagraph

    text = "".join(c for c in text if c.isprintable())
    if not text:
        return
    width, height = float(np.hypot(*(quad[1] - quad[0]))), float(np.hypot(*(quad[3] - quad[0])))
    if height > 1.5 * width and len(text) > 1:
        # Text that runs down the page, as `crop_words` takes it.
        quad, width, height = np.roll(quad, -1, axis=0), height, width
    size = max(height, 1e-3)
    across, down = (quad[2] - quad[3]) / max(width, 1e-3), (quad[0] - quad[3]) / size
    x, y = quad[3] + down * size * _DESCENT / _EM
    document.set_font("invisible", size=size)
    document.set_stretching(100 * max(width, 1e-3) * _EM / (len(text) * _ADVANCE * size))
    with document.rotation(-math.degrees(math.atan2(across[1], across[0])), x, y):
        # Right-to-left text stands in a PDF as it is seen.
        document.text(x, y, BidiParagraph(text=text).get_reordered_string())


def _jpeg(image: RGBImage) -> io.BytesIO:
    from PIL import Image

    picture = Image.fromarray(image)
    if (image[:, :, 0] == image[:, :, 1]).all() and (image[:, :, 0] == image[:, :, 2]).all():
        picture = picture.convert("L")
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=80)
    out.seek(0)
    return out


def _font(pages: Sequence[WritablePage], path: Path) -> str:
    """Make a font that has every character of the pages, each a box of the same width.

    Boxes and not empty, because pdfium leaves out upright text without any extent.
    """
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    characters = {ord(c) for page in pages for line in page.lines for c in line.text if c.isprintable()}
    names = {code: f"u{code:X}" for code in sorted(characters | {0x20})}
    order = [".notdef", *names.values()]
    pen = TTGlyphPen(None)
    pen.moveTo((0, -_DESCENT))
    for corner in ((0, _EM - _DESCENT), (_ADVANCE, _EM - _DESCENT), (_ADVANCE, -_DESCENT)):
        pen.lineTo(corner)
    pen.closePath()
    box = pen.glyph()
    font = FontBuilder(_EM, isTTF=True)
    font.setupGlyphOrder(order)
    font.setupCharacterMap(names)
    font.setupGlyf(dict.fromkeys(order, box))
    font.setupHorizontalMetrics(dict.fromkeys(order, (_ADVANCE, 0)))
    font.setupHorizontalHeader(ascent=_EM - _DESCENT, descent=-_DESCENT)
    font.setupNameTable({"familyName": "Invisible", "styleName": "Regular"})
    font.setupOS2(sTypoAscender=_EM - _DESCENT, sTypoDescender=-_DESCENT)
    font.setupPost()
    font.save(str(path))
    return str(path)


def _join(parts: Sequence[Path], path: Path) -> None:
    if len(parts) == 1:
        path.write_bytes(parts[0].read_bytes())
        return
    import pypdfium2 as pdfium

    with pdfium.PdfDocument.new() as whole:
        for part in parts:
            with pdfium.PdfDocument(part) as document:
                whole.import_pages(document)
        whole.save(path)


def _fpdf() -> Any:
    try:
        import fpdf
    except ImportError as error:
        raise MissingDependencyError(
            "got .pdf, and fpdf2 is not installed; expected it, since it writes PDF; pip install 'neuronkit[pdf]'"
        ) from error
    return fpdf
