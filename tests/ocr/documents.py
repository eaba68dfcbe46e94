"""What readers of pages' files check: schemas, the rules of hOCR, and words with their places in a PDF."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
Place = tuple[float, float, float, float]


def check_json(document: Any) -> None:
    """Hold pages to their published schema."""
    import jsonschema

    jsonschema.validate(document, json.loads((ROOT / "docs" / "page.schema.json").read_text("utf-8")))


def check_alto(document: bytes) -> None:
    from lxml import etree

    etree.XMLSchema(file=str(Path(__file__).parent / "alto.xsd")).assertValid(etree.fromstring(document))


def check_hocr(document: bytes) -> list[tuple[str, Place]]:
    """Hold a document to the rules of hOCR 1.2 for what it has; give its words with their places."""
    root = ElementTree.fromstring(document)
    html = "{http://www.w3.org/1999/xhtml}"
    meta = {e.get("name"): e.get("content") for e in root.iter(f"{html}meta")}
    used = {e.get("class") for e in root.iter() if e.get("class")}
    assert meta["ocr-system"]
    assert used <= set((meta["ocr-capabilities"] or "").split())
    assert len({e.get("id") for e in root.iter() if e.get("id")}) == sum(e.get("id") is not None for e in root.iter())
    words = []
    for page in (e for e in root.iter() if e.get("class") == "ocr_page"):
        for line in page:
            assert line.get("class") == "ocr_line"
            assert _holds(_bbox(page), _bbox(line))
            for word in line:
                assert word.get("class") == "ocrx_word"
                assert _holds(_bbox(line), _bbox(word))
                found = re.search(r"; x_wconf (\d+)$", word.get("title") or "")
                assert found
                assert int(found[1]) <= 100
                words.append((word.text or "", _bbox(word)))
    return words


def _bbox(element: ElementTree.Element) -> Place:
    found = re.search(r"(?:^|; )bbox (\d+) (\d+) (\d+) (\d+)(?:;|$)", element.get("title") or "")
    assert found, element.get("title")
    left, top, right, bottom = map(float, found.groups())
    return left, top, right, bottom


def _holds(outer: Place, inner: Place) -> bool:
    return outer[0] <= inner[0] <= inner[2] <= outer[2] and outer[1] <= inner[1] <= inner[3] <= outer[3]


def pdf_words(path: Path, number: int, size: tuple[int, int]) -> list[tuple[str, Place]]:
    """The words that pdfium finds on a page, with their places in pixels of a picture of a (height, width)."""
    import pypdfium2 as pdfium
    import pypdfium2.raw as raw

    words: list[tuple[str, Place]] = []
    with pdfium.PdfDocument(path) as document:
        page = document[number]
        text = page.get_textpage()
        scale, height = size[1] / page.get_width(), page.get_height()
        separate = True
        for i in range(text.count_chars()):
            character = chr(raw.FPDFText_GetUnicode(text, i))
            if character.isspace() or raw.FPDFText_IsGenerated(text, i):
                separate = True
                continue
            left, bottom, right, top = text.get_charbox(i)
            place = (left * scale, (height - top) * scale, right * scale, (height - bottom) * scale)
            if separate:
                words.append((character, place))
            else:
                before, there = words[-1]
                words[-1] = (before + character, _union(there, place))
            separate = False
        text.close()
        page.close()
    return words


def _union(first: Place, second: Place) -> Place:
    return (
        min(first[0], second[0]),
        min(first[1], second[1]),
        max(first[2], second[2]),
        max(first[3], second[3]),
    )
