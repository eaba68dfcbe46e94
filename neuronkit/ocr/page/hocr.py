"""Pages as hOCR, the HTML that PDF makers and editors read (kba.github.io/hocr-spec/1.2)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape

_Bounds = tuple[float, float, float, float]
_Word = tuple[str, float, _Bounds]
_FORBIDDEN = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def page_to_hocr(size: tuple[int, int], lines: Sequence[Sequence[_Word]], *, title: str = "") -> str:
    """Write a page as an hOCR document: one ``ocr_page``, an ``ocr_line`` a line, an ``ocrx_word`` a word.

    Args:
        size: (height, width) in pixels.
        lines: The words of each line: text, confidence (0..1), and (left, top, right, bottom) in pixels.
        title: Of the document.
    """
    height, width = size
    written = "\n".join(_line(line, number) for number, line in enumerate(lines, start=1) if line)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" '
        '"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">\n'
        '<html xmlns="http://www.w3.org/1999/xhtml">\n<head>\n'
        f"<title>{_clean(title)}</title>\n"
        '<meta http-equiv="Content-Type" content="text/html; charset=utf-8" />\n'
        '<meta name="ocr-system" content="neuronkit" />\n'
        '<meta name="ocr-capabilities" content="ocr_page ocr_line ocrx_word" />\n'
        "</head>\n<body>\n"
        f'<div class="ocr_page" id="page_1" title="bbox 0 0 {width} {height}">\n{written}\n</div>\n'
        "</body>\n</html>\n"
    )


def _line(line: Sequence[_Word], number: int) -> str:
    boxes = [_bounds(bounds) for _, _, bounds in line]
    box = (
        min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)
    )  # fmt: skip
    words = "\n".join(_word(word, number, i) for i, word in enumerate(line, start=1))
    return f'<span class="ocr_line" id="line_1_{number}" title="{_bbox(box)}">\n{words}\n</span>'


def _word(word: _Word, line: int, number: int) -> str:
    text, confidence, bounds = word
    title = f"{_bbox(_bounds(bounds))}; x_wconf {round(100 * confidence)}"
    return f'<span class="ocrx_word" id="word_1_{line}_{number}" title="{title}">{_clean(text)}</span>'


def _bounds(bounds: _Bounds) -> tuple[int, int, int, int]:
    left, top, right, bottom = bounds
    # The format knows whole pixels only, from 0.
    return max(0, math.floor(left)), max(0, math.floor(top)), max(0, math.ceil(right)), max(0, math.ceil(bottom))


def _bbox(bounds: tuple[int, int, int, int]) -> str:
    return "bbox " + " ".join(map(str, bounds))


def _clean(text: str) -> str:
    """Escape a text, without the characters that XML forbids."""
    return escape(_FORBIDDEN.sub("", text))
