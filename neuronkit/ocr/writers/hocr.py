"""Pages as hOCR, the HTML that PDF makers and editors read (kba.github.io/hocr-spec/1.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from neuronkit.ocr.page.words import Line
from neuronkit.ocr.writers.types import WritablePage
from neuronkit.ocr.writers.xml import bounds_in, clean
from neuronkit.version import __version__

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml">
<head>
<title>{title}</title>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8" />
<meta name="ocr-system" content="neuronkit {version}" />
<meta name="ocr-capabilities" content="ocr_page ocr_line ocrx_word" />
</head>
<body>
"""


def hocr(pages: Iterable[WritablePage]) -> Iterator[str]:
    """Write an ``ocr_page`` for each page, an ``ocr_line`` a line, an ``ocrx_word`` a word.

    Boxes are in whole pixels, confidences in percent.
    """
    number = 0
    for number, page in enumerate(pages, start=1):
        if number == 1:
            yield _HEAD.format(title=clean(page.name), version=__version__)
        yield _page(page, number)
    if not number:
        yield _HEAD.format(title="", version=__version__)
    yield "</body>\n</html>\n"


def _page(page: WritablePage, number: int) -> str:
    height, width = page.size
    resolution = "" if page.dpi is None else f"; scan_res {round(page.dpi)} {round(page.dpi)}"
    # A quotation mark has no escape in hOCR's properties.
    name = clean(page.name.replace('"', "'").replace("\n", " "))
    image = f"image &quot;{name}&quot;; " if name else ""
    title = f"{image}bbox 0 0 {width} {height}; ppageno {number - 1}{resolution}"
    lines = (_line(page.size, line, f"{number}_{i}") for i, line in enumerate(page.lines, start=1) if line.words)
    return f'<div class="ocr_page" id="page_{number}" title="{title}">\n' + "".join(lines) + "</div>\n"


def _line(size: tuple[int, int], line: Line, number: str) -> str:
    boxes = [bounds_in(size, word.box) for word in line.words]
    box = (*(min(b[i] for b in boxes) for i in (0, 1)), *(max(b[i] for b in boxes) for i in (2, 3)))
    words = "\n".join(
        f'<span class="ocrx_word" id="word_{number}_{i}" '
        f'title="{_bbox(bounds)}; x_wconf {round(100 * word.confidence)}">{clean(word.text)}</span>'
        for i, (word, bounds) in enumerate(zip(line.words, boxes), start=1)
    )
    return f'<span class="ocr_line" id="line_{number}" title="{_bbox(box)}">\n{words}\n</span>\n'


def _bbox(bounds: Iterable[int]) -> str:
    return "bbox " + " ".join(map(str, bounds))
