"""Pages as text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator

from neuronkit.ocr.writers.blocks import line_height, paragraphs
from neuronkit.ocr.writers.types import WritablePage
from neuronkit.ocr.writers.xml import bounds_in

_COLUMNS = ("page", "line", "word", "text", "confidence", "left", "top", "right", "bottom")
# What means something to Markdown within a line, and at its beginning.
_MARKS, _FIRST = re.compile(r"([\\`*_\[\]<>&~|$])"), re.compile(r"^(\s*(?:\d{1,9}(?=[.)])|(?=[-+#=])))")
_HEADING = 1.6


def text(pages: Iterable[WritablePage]) -> Iterator[str]:
    """Write the text, with a form feed between pages."""
    for number, page in enumerate(pages):
        yield ("\f" if number else "") + page.text + ("\n" if page.text else "")


def markdown(pages: Iterable[WritablePage]) -> Iterator[str]:
    """Write paragraphs as Markdown (CommonMark), their lines kept, and much higher lines as headings."""
    for number, page in enumerate(pages):
        if number:
            yield "\n---\n\n"
        heights = sorted(line_height(line) for line in page.lines if line.words)
        usual = heights[len(heights) // 2] if heights else 0.0
        blocks = []
        for paragraph in paragraphs(page.lines):
            heading = len(paragraph) == 1 and line_height(paragraph[0]) > _HEADING * usual
            blocks.append(("## " if heading else "") + "\\\n".join(_escaped(line.text) for line in paragraph) + "\n")
        yield "\n".join(blocks)


def table(pages: Iterable[WritablePage]) -> Iterator[str]:
    """Write a CSV table (RFC 4180) with a row for each word: its numbers from 1, text, confidence, and bounds."""
    yield _row(_COLUMNS)
    for number, page in enumerate(pages, start=1):
        for i, line in enumerate(page.lines, start=1):
            for j, word in enumerate(line.words, start=1):
                bounds = bounds_in(page.size, word.box)
                yield _row((number, i, j, word.text, round(word.confidence, 4), *bounds))


def json_array(pages: Iterable[WritablePage]) -> Iterator[str]:
    """Write a JSON array of `Page.to_dict` of each page."""
    separator = "["
    for page in pages:
        yield f"{separator}\n{json.dumps(page.to_dict(), ensure_ascii=False)}"
        separator = ","
    yield "[]\n" if separator == "[" else "\n]\n"


def json_lines(pages: Iterable[WritablePage]) -> Iterator[str]:
    """Write `Page.to_dict` of each page as a line of JSON."""
    for page in pages:
        yield json.dumps(page.to_dict(), ensure_ascii=False) + "\n"


def _row(fields: Iterable[object]) -> str:
    out = io.StringIO()
    # Python 3.10 neither writes nor reads NUL.
    csv.writer(out).writerow(str(field).replace("\0", "\ufffd") for field in fields)
    return out.getvalue()


def _escaped(line: str) -> str:
    return _FIRST.sub(r"\1\\", _MARKS.sub(r"\\\1", " ".join(line.split())), count=1)
