"""Pages: what they say as JSON, hOCR, pictures and in notebooks."""

from __future__ import annotations

import io
import json
import shutil
import sysconfig
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFont

from neuronkit.errors import ImageError, OptionError, SpecError
from neuronkit.ocr import ImageWarning, Letterbox, Line, Page, TextBox, Word

pytestmark = pytest.mark.arrays

QUAD = np.array([[10, 10], [50, 12], [49, 30], [9, 28]])
IMAGE = np.full((40, 80, 3), 250, np.uint8)


def page(*texts, **fields):
    words = tuple(Word(text, 0.876, TextBox(QUAD), (0.9,) * len(text)) for text in texts)
    return Page((40, 80), (Line(words),) if words else (), IMAGE, **fields)


def words_of(hocr):
    root = ElementTree.fromstring(hocr)
    return [e for e in root.iter() if e.get("class") == "ocrx_word"]


@given(st.lists(st.text(max_size=10), max_size=5))
def test_hocr_is_xml_whatever_the_text(texts) -> None:
    found = [e.text or "" for e in words_of(page(*texts).to_hocr())]
    allowed = [
        "".join(c for c in t if c in "\t\n" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff")
        for t in texts
    ]
    assert found == allowed


def test_hocr_holds_boxes_and_confidences() -> None:
    hocr = page("a<b>&").to_hocr()
    (word,) = words_of(hocr)
    assert word.get("title") == "bbox 9 10 50 30; x_wconf 88"
    root = ElementTree.fromstring(hocr)
    assert [e.get("title") for e in root.iter() if e.get("class") == "ocr_page"] == ["bbox 0 0 80 40; ppageno 0"]
    assert [e.get("title") for e in root.iter() if e.get("class") == "ocr_line"] == ["bbox 9 10 50 30"]


def test_drawing_shows_what_is_asked_for() -> None:
    plain = page("hello").draw(boxes=False, text=False)
    np.testing.assert_array_equal(plain, IMAGE)
    assert not np.shares_memory(plain, IMAGE)
    boxes, text = page("hello").draw(text=False), page("hello").draw(boxes=False)
    assert (boxes != IMAGE).any()
    assert (text != IMAGE).any()
    assert (boxes != text).any()


def test_heat_maps_are_red_where_the_score_is() -> None:
    scores = np.zeros((32, 48, 2), np.float32)
    scores[:20, :20, 0] = 1
    drawn = page(scores=scores, letterbox=Letterbox((40, 80), (40, 80), (64, 96), 1.0)).draw(heat_map=True)
    assert drawn[10, 10, 0] > drawn[10, 10, 2]
    assert drawn[10, 70, 0] < drawn[10, 70, 2]
    with pytest.raises(OptionError, match="keep_scores=True"):
        page("a").draw(heat_map=True)


def test_numbers_of_numpy_are_written_as_json() -> None:
    word = Word("ab", np.float32(0.5), TextBox(QUAD), np.array([0.5, 0.25], np.float32))
    made = Page(np.array([40, 80]), [Line([word])])
    assert json.loads(made.to_json(indent=1)) == made.to_dict()
    assert made.words[0].char_confidences == (0.5, 0.25)
    assert isinstance(made.lines, tuple)
    assert isinstance(made.lines[0].words, tuple)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Word(None, 0.5, TextBox(QUAD)),
        lambda: Word("a", float("nan"), TextBox(QUAD)),
        lambda: Word("a", 0.5, QUAD),
        lambda: Word("a", 0.5, TextBox(QUAD), ("x",)),
        lambda: Line(("a",)),
        lambda: Line("a"),
        lambda: Page(9, ()),
        lambda: Page((9, -1), ()),
        lambda: Page((9, 9), (Word("a", 0.5, TextBox(QUAD)),)),
        lambda: page().to_json(indent=[]),
        lambda: page(scores=np.zeros(3), letterbox=Letterbox.fit((40, 80))).draw(heat_map=True),
    ],
)
def test_what_is_no_page_is_refused(make) -> None:
    with pytest.raises((SpecError, OptionError), match=r"give|with keep_scores=True"):
        make()


def test_drawing_needs_the_image() -> None:
    with pytest.raises(ImageError, match=r"the page's \(40, 80\)"):
        page("a").draw(IMAGE[:20])
    with pytest.raises(ImageError):
        Page((40, 80), (), "/gone.png").draw()
    assert Page((40, 80), (), "/gone.png").draw(IMAGE).shape == IMAGE.shape


def test_notebooks_show_the_page() -> None:
    shown = page("<b>")
    assert Image.open(io.BytesIO(shown._repr_png_())).size == (80, 40)
    assert "data:image/png;base64," in shown._repr_html_()
    assert "<pre>&lt;b&gt;</pre>" in shown._repr_html_()
    assert "<img" not in Page((40, 80), (), "/gone.png")._repr_html_()
    assert "bad &lt;file&gt;" in Page((0, 0), (), None, ImageError("bad <file>"))._repr_html_()


def test_pages_compare_and_print_without_their_image() -> None:
    assert page() == page()
    assert "array" not in repr(page())


def fonts_in(monkeypatch: pytest.MonkeyPatch, *folders) -> None:
    from neuronkit.ocr.page import fonts

    monkeypatch.setattr(fonts, "_font_folders", lambda: list(folders))
    fonts.system_font.cache_clear()
    fonts._system_fonts.cache_clear()


@pytest.fixture
def dejavu():
    """A font with Arabic letters, which Pillow's own lacks."""
    places = [Path(p) for p in sysconfig.get_paths().values()] + [Path("/usr/share/fonts")]
    found = next((file for place in places for file in place.rglob("DejaVuSans.ttf")), None)
    if found is None:
        pytest.skip("no DejaVu Sans on this machine")
    return found


def test_characters_without_a_font_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fonts_in(monkeypatch, tmp_path)
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    try:
        with pytest.warns(ImageWarning, match=r"no font was found for '.*' \(U\+1F642, cjk, hangul\)"):
            drawn = page("a안녕", "中", "🙂").draw(boxes=False)
        labelled = page("a[2 hangul]", "[1 cjk]", "[1 U+1F642]").draw(boxes=False)
        np.testing.assert_array_equal(drawn, labelled)
    finally:
        monkeypatch.undo()
        fonts_in(monkeypatch, *())
        monkeypatch.undo()


def test_a_font_of_the_system_is_taken_where_the_default_lacks_letters(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dejavu
) -> None:
    (tmp_path / "fonts").mkdir()
    shutil.copy(dejavu, tmp_path / "fonts")
    expected = page("مرحبا").draw(font=dejavu)
    fonts_in(monkeypatch, tmp_path)
    try:
        np.testing.assert_array_equal(page("مرحبا").draw(), expected)
    finally:
        monkeypatch.undo()
        fonts_in(monkeypatch, *())
        monkeypatch.undo()


def test_the_font_is_chosen(tmp_path: Path, dejavu) -> None:
    default, chosen = page("hello").draw(), page("hello").draw(font=str(dejavu))
    assert (default != chosen).any()
    np.testing.assert_array_equal(page("hello").draw(font=ImageFont.truetype(str(dejavu), 12)), chosen)
    (tmp_path / "no.ttf").write_bytes(b"no font")
    for bad in (tmp_path / "no.ttf", tmp_path, tmp_path / "gone.ttf", 5, b"x", "\0"):
        with pytest.raises(OptionError, match="font="):
            page("hello").draw(font=bad)


def test_control_characters_are_no_boxes() -> None:
    np.testing.assert_array_equal(page("a\u200b\x07b\ue000").draw(), page("ab").draw())


@pytest.mark.parametrize("confidence", [1.01, -0.1, float("nan"), 97.0])
def test_confidences_are_probabilities(confidence) -> None:
    with pytest.raises(OptionError, match="confidence"):
        TextBox(QUAD, confidence)
    with pytest.raises(OptionError, match="confidence"):
        Word("a", confidence, TextBox(QUAD))


def test_rounding_is_no_error() -> None:
    assert TextBox(QUAD, 1.0000001).confidence == 1.0
    assert Word("a", np.float32(1.0000001), TextBox(QUAD)).confidence == 1.0


def test_turned_pages_are_drawn_turned() -> None:
    turned = Page((80, 40), (), IMAGE, rotation=90)
    np.testing.assert_array_equal(turned.draw(), np.rot90(IMAGE))
    for bad in (45, 360, "90", None):
        with pytest.raises(OptionError, match="rotation"):
            Page((80, 40), (), IMAGE, rotation=bad)


def test_a_script_without_a_font_is_not_searched_for_each_word(monkeypatch: pytest.MonkeyPatch) -> None:
    from neuronkit.ocr.page import fonts

    searched = []
    monkeypatch.setattr(fonts, "system_font", lambda wanted: searched.append(wanted))
    with pytest.warns(ImageWarning, match="hangul"):
        page(*(chr(0xAC00 + i) for i in range(50))).draw()
    assert len(searched) == 3
