"""Searchable PDF: the picture of each page, and over it its words as text that is not drawn."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuronkit.errors import MissingDependencyError
from neuronkit.ocr.images import RGBImage
from neuronkit.ocr.writers.boxes_font import BoxesFont
from neuronkit.ocr.writers.pdf_file import PDFFile, numbers, references
from neuronkit.ocr.writers.types import WritablePage

_SCREEN_DPI = 96.0
"""Resolution of a page whose file says none."""
_INCH = 72.0
_LONGEST = 14_400.0
"""Longest side of a page, in points (ISO 32000-1, annex C)."""
_A4 = (595.0, 842.0)


def write_pdf(pages: Iterable[WritablePage], path: Path) -> None:
    """Write a PDF of any number of pages, of which one is held in memory at a time.

    Raises:
        MissingDependencyError: If fpdf2 is missing.
        ImageError: If the image of a page cannot be opened again.
    """
    as_seen = _as_seen()
    with path.open("wb") as out:
        file = PDFFile(out)
        font, tree = BoxesFont(file), file.reserve()
        written = [_page(file, page, tree, font, as_seen) for page in pages]
        font.write()
        file.add(f"<< /Type /Pages /Kids {references(written)} /Count {len(written)} >>", tree)
        file.finish(file.add(f"<< /Type /Catalog /Pages {tree} 0 R >>"))


def _page(file: PDFFile, page: WritablePage, tree: int, font: BoxesFont, as_seen: Callable[[str], str]) -> int:
    height, width = page.size
    if not height or not width:
        # A page that could not be read keeps its place.
        return file.add(f"<< /Type /Page /Parent {tree} 0 R /MediaBox [0 0 {numbers(*_A4)}] /Resources << >> >>")
    scale = min(_INCH / (page.dpi or _SCREEN_DPI), _LONGEST / max(height, width))
    picture = _picture(file, page.pixels())
    drawn = [f"q {numbers(width * scale, 0, 0, height * scale, 0, 0)} cm /Picture Do Q", "BT 3 Tr"]
    for line in page.lines:
        for word in line.words:
            # No further away than numbers in a PDF reach.
            quad = np.clip(word.box.quad.astype(np.float64), -max(page.size), 2 * max(page.size)) * scale
            quad[:, 1] = height * scale - quad[:, 1]
            drawn.append(_word("".join(c for c in word.text if c.isprintable()), quad, font, as_seen))
    content = file.add_stream("", "\n".join([*drawn, "ET"]).encode("ascii"))
    return file.add(
        f"<< /Type /Page /Parent {tree} 0 R /MediaBox [0 0 {numbers(width * scale, height * scale)}] "
        f"/Resources << /XObject << /Picture {picture} 0 R >> /Font << /Boxes {font.number} 0 R >> >> "
        f"/Contents {content} 0 R >>"
    )


def _word(text: str, quad: NDArray[np.float64], font: BoxesFont, as_seen: Callable[[str], str]) -> str:
    """Write a word so that its first character begins at the left side of its box, and its last ends at the right."""
    if not text:
        return ""
    width, height = float(np.hypot(*(quad[1] - quad[0]))), float(np.hypot(*(quad[3] - quad[0])))
    if height > 1.5 * width and len(text) > 1:
        # Text that runs down the page, as `crop_words` takes it.
        quad, width, height = np.roll(quad, -1, axis=0), height, width
    size = max(height, 1e-3)
    across, up = (quad[2] - quad[3]) / max(width, 1e-3), (quad[0] - quad[3]) / size
    x, y = quad[3] + up * size * font.DESCENT
    angle = math.atan2(across[1], across[0])
    turned = (math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle))
    stretch = 100 * max(width, 1e-3) / (len(text) * font.ADVANCE * size)
    # Right-to-left text stands in a PDF as it is seen.
    codes = font.encode(as_seen(text))
    return f"/Boxes {numbers(size)} Tf {numbers(stretch)} Tz {numbers(*turned, x, y)} Tm <{codes}> Tj"


def _picture(file: PDFFile, image: RGBImage) -> int:
    from PIL import Image

    picture = Image.fromarray(image)
    if (image[:, :, 0] == image[:, :, 1]).all() and (image[:, :, 0] == image[:, :, 2]).all():
        picture = picture.convert("L")
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=80)
    colors = "DeviceGray" if picture.mode == "L" else "DeviceRGB"
    entries = (
        f"/Type /XObject /Subtype /Image /Width {picture.width} /Height {picture.height} "
        f"/ColorSpace /{colors} /BitsPerComponent 8 /Filter /DCTDecode"
    )
    return file.add_stream(entries, out.getvalue(), compress=False)


def _as_seen() -> Callable[[str], str]:
    """Give what puts the characters of a word in the order in which they stand from left to right."""
    try:
        from fpdf.bidi import BidiParagraph
    except ImportError as error:
        raise MissingDependencyError(
            "got .pdf, and fpdf2 is not installed; expected it, since text is put in order with it; "
            "pip install 'neuronkit[pdf]'"
        ) from error
    return lambda text: str(BidiParagraph(text=text).get_reordered_string())
