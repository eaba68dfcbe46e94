"""Pages as files: what readers of each format find in them."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
import tracemalloc
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from neuronkit.errors import ImageError, NeuronKitError, OptionError, SpecError
from neuronkit.ocr import ImagePage, Line, Page, TextBox, Word, save_pages
from neuronkit.ocr.writers import page_text

from .documents import check_alto, check_hocr, check_json, pdf_words

pytestmark = pytest.mark.arrays

IMAGE = np.full((300, 400, 3), 240, np.uint8)


def box(left: float, top: float, width: float, height: float, degrees: float = 0.0) -> TextBox:
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]])
    a = math.radians(degrees)
    turn = np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    return TextBox((corners @ turn.T + [left, top]).astype(np.float32), 0.75)


def page(*lines: list[Word], source: object = IMAGE, **fields: object) -> Page:
    return Page((300, 400), tuple(map(Line, map(tuple, lines))), source, **fields)  # type: ignore[arg-type]


FIRST = Word("Größe", 0.87654321, box(20, 20, 100, 20), (0.9,) * 5)
SECOND = Word("<42>", 0.5, box(130.04, 20, 80, 20))
TILTED = Word("안녕", 0.25, box(150, 100, 60, 20, 17))
READ = page([FIRST, SECOND], [TILTED], source="scan.png", warnings=("small",), dpi=200)
BROKEN = Page((0, 0), (), "gone.png", ImageError("no image"))


def words(number: int) -> list[Word]:
    return [Word(f"w{number}", 0.5, box(10, 20 + 30 * i, 60, 20)) for i in range(3)]


def written(tmp_path: Path, name: str, *pages: Page) -> bytes:
    save_pages(pages, tmp_path / name)
    return (tmp_path / name).read_bytes()


def test_text_has_a_form_feed_between_pages(tmp_path: Path) -> None:
    assert written(tmp_path, "a.txt", READ, BROKEN, READ).decode() == "Größe <42>\n안녕\n\f\fGröße <42>\n안녕\n"


def test_a_single_page_is_saved_as_json_that_is_no_array(tmp_path: Path) -> None:
    READ.save(tmp_path / "page.json")
    found = json.loads((tmp_path / "page.json").read_text("utf-8"))
    assert found == READ.to_dict()
    assert [line["text"] for line in found["lines"]] == ["Größe <42>", "안녕"]
    assert found["lines"][0]["box"]["quad"] == [[20, 20], [210, 20], [210, 40], [20, 40]]
    assert found["lines"][0]["confidence"] == pytest.approx(0.6883)
    assert found["lines"][0]["words"][0]["confidence"] == 0.8765
    assert found["lines"][0]["words"][1]["box"]["quad"][0] == [130, 20]


def test_json_follows_its_schema(tmp_path: Path) -> None:
    check_json(json.loads(written(tmp_path, "a.json", READ, BROKEN, page())))
    assert json.loads(written(tmp_path, "none.json")) == []
    for line in written(tmp_path, "a.jsonl", READ, BROKEN).decode().splitlines():
        check_json(json.loads(line))
    with pytest.raises(Exception, match="is not valid under any"):
        check_json([{"text": "a"}])


def test_tables_have_a_row_for_each_word(tmp_path: Path) -> None:
    rows = list(csv.reader(written(tmp_path, "a.csv", READ, BROKEN, READ).decode().splitlines()))
    assert rows[0] == ["page", "line", "word", "text", "confidence", "left", "top", "right", "bottom"]
    assert rows[2] == ["1", "1", "2", "<42>", "0.5", "130", "20", "211", "40"]
    assert [row[:4] for row in rows[4:]] == [["3", "1", "1", "Größe"], ["3", "1", "2", "<42>"], ["3", "2", "1", "안녕"]]


def test_markdown_keeps_paragraphs_headings_and_characters(tmp_path: Path) -> None:
    lines = [
        [Word("Title*", 1, box(10, 10, 200, 44))],
        *([Word(text, 1, box(10, 80 + 24 * i, 200, 20))] for i, text in enumerate(("# one", "2. two", "- three"))),
        [Word("far", 1, box(10, 250, 200, 20))],
    ]
    found = written(tmp_path, "a.md", page(*lines), READ).decode()
    assert found == ("## Title\\*\n\n\\# one\\\n2\\. two\\\n\\- three\n\nfar\n\n---\n\nGröße \\<42\\>\n\n안녕\n")


def test_hocr_says_where_words_and_pages_are(tmp_path: Path) -> None:
    found = written(tmp_path, "a.hocr", READ, BROKEN, READ)
    assert check_hocr(found)[:2] == [("Größe", (20, 20, 120, 40)), ("<42>", (130, 20, 211, 40))]
    assert b'title="image &quot;scan.png&quot;; bbox 0 0 400 300; ppageno 2; scan_res 200 200"' in found
    check_hocr(written(tmp_path, "none.html"))
    with pytest.raises(AssertionError):
        check_hocr(found.replace(b"bbox 20 20 120 40", b"bbox 19 20 120 40"))


def test_alto_is_valid(tmp_path: Path) -> None:
    found = written(tmp_path, "a.xml", READ, BROKEN, page(), READ)
    check_alto(found)
    check_alto(written(tmp_path, "none.xml"))
    assert b'HPOS="20" VPOS="20" WIDTH="100" HEIGHT="20" CONTENT="Gr\xc3\xb6\xc3\x9fe" WC="0.8765"' in found
    assert found.count(b'POINTS="150,100 207,118 202,137 144,119"') == 2
    with pytest.raises(Exception, match="not allowed"):
        check_alto(found.replace(b"CONTENT", b"TEXT"))


@pytest.mark.parametrize(
    "word",
    [FIRST, SECOND, TILTED, Word("abc", 1, box(20, 20, 100, 20, -30)), Word("down", 1, box(50, 20, 20, 100))],
    ids=lambda word: word.text,
)
def test_pdf_gives_words_back_with_their_places(word: Word, tmp_path: Path) -> None:
    page([word], dpi=150).save(tmp_path / "a.pdf")
    ((text, place),) = pdf_words(tmp_path / "a.pdf", 0, (300, 400))
    assert text == word.text
    np.testing.assert_allclose(place, word.box.bounds, atol=1)


def test_pdf_keeps_right_to_left_text_and_what_has_no_font(tmp_path: Path) -> None:
    import pypdfium2 as pdfium

    lines = [[Word("مرحبا", 1, box(20, 20, 100, 20))], [Word("𝒳漢ï", 1, box(20, 60, 100, 20))]]
    page(*lines, [Word("\x00\ud800", 1, box(20, 90, 9, 9))], [Word("far", 1, box(3e38, -3e38, 9, 9))]).save(
        tmp_path / "a.pdf"
    )
    with pdfium.PdfDocument(tmp_path / "a.pdf") as document:
        found = document[0].get_textpage().get_text_range().split()
    assert found[:2] == ["مرحبا", "𝒳漢ï"]


def test_pdf_shows_the_picture_and_no_text(tmp_path: Path) -> None:
    import pypdfium2 as pdfium

    image: NDArray[np.uint8] = np.full((300, 400, 3), (200, 220, 240), np.uint8)
    image[100:200, 100:300] = (20, 40, 60)
    read = page([FIRST], source=np.rot90(image, -1), rotation=90, dpi=144)
    save_pages([read, BROKEN, read], tmp_path / "a.pdf")
    with pdfium.PdfDocument(tmp_path / "a.pdf") as document:
        assert len(document) == 3
        assert document[0].get_size() == (200, 150)
        drawn = np.asarray(document[2].render(scale=2, rev_byteorder=True).to_numpy())
    assert drawn.shape == (300, 400, 3)
    assert np.abs(drawn.astype(int) - image)[5:-5, 5:-5].mean() < 2
    assert np.abs(drawn[22:38, 22:118].astype(int) - [200, 220, 240]).max() < 8


def test_many_pages_are_written_in_order_and_not_kept(tmp_path: Path) -> None:
    alive: list[weakref.ref[Page]] = []
    most = 0

    def pages() -> Iterator[Page]:
        nonlocal most
        for number in range(50):
            made = page(words(number))
            alive.append(weakref.ref(made))
            yield made
            del made
            most = max(most, sum(reference() is not None for reference in alive))

    for name, limit in (("a.txt", 2), ("a.json", 2), ("a.hocr", 2), ("a.pdf", 2)):
        most = 0
        save_pages(pages(), tmp_path / name)
        assert most <= limit, name
    assert [pdf_words(tmp_path / "a.pdf", number, (300, 400))[0][0] for number in (0, 16, 49)] == ["w0", "w16", "w49"]


def test_memory_for_a_pdf_does_not_grow_with_its_pages(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(noise).save(encoded, "JPEG", quality=80)

    def peak(count: int) -> int:
        # By the iterator, so that none of the pages is kept here.
        save_pages((page([FIRST], source=noise) for _ in range(count)), tmp_path / "a.pdf")
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        save_pages((page([FIRST], source=noise) for _ in range(count)), tmp_path / "a.pdf")
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    try:
        few, many = peak(2), peak(40)
    finally:
        tracemalloc.stop()
    assert (tmp_path / "a.pdf").stat().st_size > 40 * len(encoded.getvalue())
    assert many < few + 4 * len(encoded.getvalue())


def test_a_pdf_has_as_many_characters_as_a_font(tmp_path: Path) -> None:
    import pypdfium2 as pdfium

    characters = "".join(c for c in map(chr, range(0x3400, 0x30000)) if c.isprintable())[: 1 << 16]
    many = [Word(characters[i : i + 256], 1, box(10, 20, 60, 20)) for i in range(0, len(characters), 256)]
    last = Word(many[-1].text[:-1], 1, box(10, 20, 60, 20))
    save_pages([page([*many[:-1], last])], tmp_path / "a.pdf")
    with pdfium.PdfDocument(tmp_path / "a.pdf") as document:
        assert document[0].get_textpage().get_text_range().endswith(characters[-2])
    with pytest.raises(SpecError, match="65,535 different characters"):
        save_pages([page(many)], tmp_path / "a.pdf")


def test_pictures_are_drawn_pages(tmp_path: Path) -> None:
    first, second = page([FIRST]), page([SECOND])
    save_pages([first, BROKEN, second], tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), first.draw())
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.page-2.png")), second.draw())
    save_pages([first, second], tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as pages:
        assert pages.n_frames == 2  # type: ignore[attr-defined]


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    for path, kind in (("a.doc", None), ("a", None), ("a.txt", "docx"), ("missing/a.txt", None)):
        with pytest.raises(OptionError, match=r"give|did you mean"):
            save_pages([READ], tmp_path / path, format=kind)
    with pytest.raises(ImageError, match=r"scan\.png"):
        READ.save(tmp_path / "a.pdf")
    with pytest.raises(SpecError, match="give a list"):
        save_pages(5, tmp_path / "a.txt")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="among the pages"):
        save_pages(["text"], tmp_path / "a.txt")  # type: ignore[list-item]
    with pytest.raises(OptionError, match="format='pdf'"):
        page_text([READ], "pdf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["scan.png", "scan.tif", "scan.pdf", "scan.txt", "./link.png"])
def test_a_file_that_a_page_was_read_from_is_not_written_over(name: str, tmp_path: Path) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "scan", "PNG")
    before = (tmp_path / "scan").read_bytes()
    (tmp_path / name).symlink_to(tmp_path / "scan")
    first = page([FIRST])
    for source in (tmp_path / "scan", ImagePage(str(tmp_path / name))):
        for pages in ([page([FIRST], source=source)], [first, page([SECOND], source=source)]):
            if name.endswith("png") and len(pages) > 1:
                continue  # The second page has a file of its own.
            with pytest.raises(OptionError, match="the file that a page was read from"):
                save_pages(pages, tmp_path / name)
    assert (tmp_path / "scan").read_bytes() == before
    os.link(tmp_path / "scan", tmp_path / "a.page-2.png")
    with pytest.raises(OptionError, match=r"a\.page-2\.png"):
        save_pages([first, page([SECOND], source=tmp_path / "scan")], tmp_path / "a.png")
    assert (tmp_path / "a.page-2.png").read_bytes() == before


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fpdf.bidi", None)
    with pytest.raises(NeuronKitError, match=r"neuronkit\[pdf\]"):
        page([FIRST]).save(tmp_path / "a.pdf")


def test_a_printed_page_is_its_text_with_a_header() -> None:
    assert str(READ) == (
        "scan.png: 400 x 300 pixels, 3 words in 2 lines, mean confidence 0.54\n(small)\n\nGröße <42>\n안녕"
    )
    assert str(BROKEN) == "gone.png: not read: no image"
    assert str(page(source=ImagePage("a/b.tif", 2))) == "b.tif: 400 x 300 pixels, 0 words in 0 lines"


def test_a_page_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Image.Image] = []
    monkeypatch.setattr(Image.Image, "show", lambda self, title=None: shown.append(self))
    page([FIRST]).show()
    np.testing.assert_array_equal(np.asarray(shown[0]), page([FIRST]).draw())


def test_nothing_but_a_file_is_replaced(tmp_path: Path) -> None:
    page = Page((10, 20), ())
    pipe, file, link = tmp_path / "pipe.md", tmp_path / "file.md", tmp_path / "link.md"
    os.mkfifo(pipe)
    (tmp_path / "folder.md").mkdir()
    for path, kind in ((pipe, "a named pipe"), (tmp_path / "folder.md", "a folder")):
        with pytest.raises(OptionError, match=f"cannot be written \\({kind} is there\\)"):
            page.save(path)
    assert pipe.is_fifo()
    file.write_text("old")
    link.symlink_to(file)
    page.save(link)
    assert link.is_symlink()
    assert file.read_text() != "old"
