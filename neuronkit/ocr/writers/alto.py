"""Pages as ALTO 4, the XML of libraries and archives (loc.gov/standards/alto)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from neuronkit.ocr.page.words import Line, Word
from neuronkit.ocr.writers.blocks import paragraphs
from neuronkit.ocr.writers.types import WritablePage
from neuronkit.ocr.writers.xml import bounds_in, clean, corners_in
from neuronkit.version import __version__

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" \
xsi:schemaLocation="http://www.loc.gov/standards/alto/ns-v4# http://www.loc.gov/standards/alto/v4/alto-4-4.xsd" \
SCHEMAVERSION="4.4">
<Description>
<MeasurementUnit>pixel</MeasurementUnit>
<sourceImageInformation><fileName>{name}</fileName></sourceImageInformation>
<Processing ID="neuronkit"><processingSoftware><softwareName>neuronkit</softwareName>\
<softwareVersion>{version}</softwareVersion></processingSoftware></Processing>
</Description>
<Layout>
"""


def alto(pages: Iterable[WritablePage]) -> Iterator[str]:
    """Write a ``Page`` for each page, a ``TextBlock`` a paragraph, a ``TextLine`` a line, a ``String`` a word.

    Places are in whole pixels; words that are not upright have their outline too.
    """
    number = 0
    for number, page in enumerate(pages, start=1):
        if number == 1:
            yield _HEAD.format(name=clean(page.name), version=__version__)
        yield _page(page, number)
    if not number:
        # The schema requires one page at least.
        yield _HEAD.format(name="", version=__version__) + '<Page ID="page_1" PHYSICAL_IMG_NR="1"/>\n'
    yield "</Layout>\n</alto>\n"


def _page(page: WritablePage, number: int) -> str:
    height, width = page.size
    blocks = "".join(
        _block(page.size, block, f"{number}_{i}") for i, block in enumerate(paragraphs(page.lines), start=1)
    )
    return (
        f'<Page ID="page_{number}" PHYSICAL_IMG_NR="{number}" HEIGHT="{height}" WIDTH="{width}">\n'
        f'<PrintSpace HPOS="0" VPOS="0" WIDTH="{width}" HEIGHT="{height}">\n{blocks}</PrintSpace>\n</Page>\n'
    )


def _block(size: tuple[int, int], lines: Sequence[Line], number: str) -> str:
    words = [word for line in lines for word in line.words]
    written = "".join(_line(size, line, f"{number}_{i}") for i, line in enumerate(lines, start=1))
    return f'<TextBlock ID="block_{number}"{_place(size, words)}>\n{written}</TextBlock>\n'


def _line(size: tuple[int, int], line: Line, number: str) -> str:
    words = [word for word in line.words if word.text]
    strings = "<SP/>\n".join(_string(size, word, f"{number}_{i}") for i, word in enumerate(words, start=1))
    return f'<TextLine ID="line_{number}"{_place(size, line.words)}>\n{strings}</TextLine>\n'


def _string(size: tuple[int, int], word: Word, number: str) -> str:
    start = f'<String ID="word_{number}"{_place(size, [word])} CONTENT="{clean(word.text)}" WC="{word.confidence:.4f}"'
    corners = corners_in(size, word.box)
    if len(corners) == 4 and len({x for x, _ in corners}) == len({y for _, y in corners}) == 2:
        return f"{start}/>\n"
    points = " ".join(f"{x},{y}" for x, y in corners)
    return f'{start}><Shape><Polygon POINTS="{points}"/></Shape></String>\n'


def _place(size: tuple[int, int], words: Sequence[Word]) -> str:
    boxes = [bounds_in(size, word.box) for word in words]
    left, top = (min(box[i] for box in boxes) for i in (0, 1))
    right, bottom = (max(box[i] for box in boxes) for i in (2, 3))
    return f' HPOS="{left}" VPOS="{top}" WIDTH="{right - left}" HEIGHT="{bottom - top}"'
