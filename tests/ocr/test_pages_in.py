"""Pages of PDF, of several files, and of formats that a plugin reads."""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neuronkit.errors import ImageError, OptionError
from neuronkit.ocr import (
    CraftProcessor,
    ImagePage,
    ImageWarning,
    OCRPipeline,
    ParseqProcessor,
    image_pages,
    load_image,
    load_images,
    page_stream,
    save_pages,
)
from tests.pictures import encode

from .toys import CHARSET, detect, recognize

pytestmark = pytest.mark.arrays

RED, BLUE = (200, 30, 30), (30, 30, 200)


def make_pdf(pages: int = 3, *, rotate: dict[int, int] | None = None) -> bytes:
    """Pages of 2 x 1 inches, red on the left and blue on the right; some noted as turned, in degrees clockwise."""
    import fpdf

    document = fpdf.FPDF(unit="in", format=(2, 1))
    document.set_auto_page_break(False)
    for _ in range(pages):
        document.add_page()
        for left, colour in ((0.0, RED), (1.0, BLUE)):
            document.set_fill_color(*colour)
            document.rect(left, 0, 1, 1, style="F")
    return turned(bytes(document.output()), rotate or {})


def turned(data: bytes, rotate: dict[int, int]) -> bytes:
    import pypdfium2 as pdfium

    out = io.BytesIO()
    with pdfium.PdfDocument(data) as document:
        for number, degrees in rotate.items():
            document[number].set_rotation(degrees)
        document.save(out)
    return out.getvalue()


def corners(image: Any) -> list[str]:
    """The colours of the corners, clockwise from the top left."""
    names = {RED: "red", BLUE: "blue"}
    return [names[tuple(image[y, x].tolist())] for y, x in ((2, 2), (2, -3), (-3, -3), (-3, 2))]


def test_a_pdf_is_drawn_at_the_resolution_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(make_pdf())
    for source in (tmp_path / "a.pdf", str(tmp_path / "a.pdf"), make_pdf(), io.BytesIO(make_pdf())):
        with pytest.warns(ImageWarning, match="3 pages and one was read"):
            image = load_image(source)
        assert image.shape == (200, 400, 3)
        assert corners(image) == ["red", "blue", "blue", "red"]
    assert [image.shape for image in load_images(make_pdf(2))] == [(200, 400, 3)] * 2
    assert load_image(image_pages(make_pdf(), dpi=72)[2]).shape == (72, 144, 3)


def test_pages_are_turned_as_the_file_says_and_as_asked() -> None:
    pages = image_pages(make_pdf(2, rotate={1: 90}))
    assert corners(load_image(pages[0])) == ["red", "blue", "blue", "red"]
    assert load_image(pages[1]).shape == (400, 200, 3)
    assert corners(load_image(pages[1])) == ["red", "red", "blue", "blue"]
    (first, second) = image_pages(make_pdf(2, rotate={1: 90}), rotation=90)
    assert corners(load_image(first)) == ["blue", "blue", "red", "red"]
    assert corners(load_image(second)) == ["red", "blue", "blue", "red"]
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    np.testing.assert_array_equal(load_image(ImagePage(image, 0, rotation=270)), np.rot90(image, 3))


@pytest.mark.parametrize("wrong", [{"dpi": 5}, {"dpi": "200"}, {"rotation": 45}, {"rotation": "90"}])
def test_wrong_settings_of_pages_are_refused(wrong: dict[str, Any]) -> None:
    for call in (lambda: image_pages(make_pdf(1), **wrong), lambda: list(page_stream(make_pdf(1), **wrong))):
        with pytest.raises(OptionError, match=r"give|write|convert"):
            call()


def test_what_is_no_page_of_a_pdf_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match=r"page 4 of .*, which has 3"):
        load_image(ImagePage(make_pdf(), 3))
    with pytest.raises(ImageError, match="max_pixels=1000"):
        load_image(ImagePage(make_pdf(), 0), max_pixels=1000)
    with pytest.raises(ImageError, match="check that it is whole"):
        load_image(b"%PDF-1.7\n nothing")
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(ImageError, match=r"pip install 'neuronkit\[pdf\]'"):
        load_image(b"%PDF-1.7\n nothing")


def test_forms_are_drawn_as_they_were_filled_in() -> None:
    import pypdfium2 as pdfium

    # The least PDF with a text field, whose appearance is a black square.
    objects = [
        "<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[4 0 R]>>>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]/Annots[4 0 R]>>",
        "<</Type/Annot/Subtype/Widget/FT/Tx/T(a)/F 4/Rect[0 0 36 36]/AP<</N 5 0 R>>>>",
        "<</Type/XObject/Subtype/Form/BBox[0 0 36 36]/Length 17>>stream\n0 0 36 36 re f   \nendstream",
    ]
    body = b"%PDF-1.4\n" + b"".join(f"{i} 0 obj\n{o}\nendobj\n".encode() for i, o in enumerate(objects, start=1))
    data = body + b"trailer\n<</Root 1 0 R/Size 6>>\nstartxref\n0\n%%EOF\n"
    assert len(pdfium.PdfDocument(data)) == 1
    image = load_image(ImagePage(data, dpi=72))
    assert image[60, 10].max() < 30
    assert image[10, 10].min() == 255


def test_a_stream_takes_folders_patterns_and_lists(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "b.pdf").write_bytes(make_pdf(3))
    (tmp_path / "in" / "deep" / "a.PNG").write_bytes(png())
    (tmp_path / "in" / "notes.txt").write_text("no image")
    (tmp_path / "in" / "scan").write_bytes(make_pdf(1))
    tiff = tmp_path / "c.tif"
    frames = [Image.new("L", (9, 9), i) for i in range(4)]
    frames[0].save(tiff, save_all=True, append_images=frames[1:])

    def names(*args: Any, **kwargs: Any) -> list[str]:
        return [f"{Path(page.source).name}:{page.index}" for page in page_stream(*args, **kwargs)]

    folder = ["b.pdf:0", "b.pdf:1", "b.pdf:2", "a.PNG:0", "scan:0"]
    assert names(tmp_path / "in") == folder
    assert names([tmp_path / "in", [str(tiff)]]) == [*folder, *(f"c.tif:{i}" for i in range(4))]
    assert names(str(tmp_path / "*.tif"), pages="2,4-") == ["c.tif:1", "c.tif:3"]
    assert names(tmp_path / "in", pages=[1, 3]) == ["b.pdf:0", "b.pdf:2", "a.PNG:0", "scan:0"]
    assert [type(page.source) for page in page_stream([png(), np.zeros((4, 4), np.uint8)])] == [bytes, np.ndarray]
    endless = (tiff for _ in iter(int, 1))
    assert len(list(islice(page_stream(endless), 9))) == 9
    circular: list[Any] = []
    circular.append(circular)
    with pytest.raises(ImageError, match="in lists of more than 32 levels"):
        list(page_stream(circular))


def png() -> bytes:
    return encode(Image.new("RGB", (64, 32), "white"), dpi=(150, 150))


@pytest.mark.parametrize("pages", ["", "0", "3-1", "a", "1;2", "1--2", [], [0], 5, [1.5], "-3"])
def test_ranges_that_mean_nothing_are_refused(pages: Any) -> None:
    with pytest.raises(OptionError, match="pages"):
        list(page_stream(png(), pages=pages))


def test_sources_without_images_are_errors_and_broken_files_are_pages(tmp_path: Path) -> None:
    for nothing in (tmp_path, str(tmp_path / "*.png")):
        with pytest.raises(ImageError, match="expected"):
            list(page_stream(nothing))
    (page,) = page_stream(tmp_path / "gone.png")
    with pytest.raises(ImageError, match=r"gone\.png"):
        load_image(page)


def test_pages_of_a_pdf_are_read_and_saved_as_one(tmp_path: Path) -> None:
    read = OCRPipeline(
        detect, recognize, detector_processor=CraftProcessor(), recognizer_processor=ParseqProcessor(CHARSET)
    )
    (tmp_path / "a.pdf").write_bytes(make_pdf(5, rotate={2: 90}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pages = list(read.read(page_stream([tmp_path / "a.pdf", png(), b"no image"], dpi=100)))
    assert [page.size for page in pages] == [(100, 200)] * 2 + [(200, 100)] + [(100, 200)] * 2 + [(32, 64), (0, 0)]
    assert [page.dpi for page in pages] == [100] * 5 + [150, None]
    assert pages[2].name == "a.pdf"
    save_pages(pages, tmp_path / "b.pdf")
    assert [load_image(page).shape[:2] for page in image_pages(tmp_path / "b.pdf", dpi=100)[:5]] == [
        page.size for page in pages[:5]
    ]
    assert read.read_folder(tmp_path, tmp_path / "out").read == [tmp_path / "a.pdf", tmp_path / "b.pdf"]
    assert (tmp_path / "out" / "a.pdf.page-5.json").exists()


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
PLUGIN = """
from PIL import Image, ImageFile


class Heic(ImageFile.ImageFile):
    format = "STANDIN"

    def _open(self):
        self.fp.read(12)
        self._mode, self._size, self.tile = "L", (5, 7), []

    def load(self):
        self.im = Image.new("L", self.size, 9).im
        return Image.Image.load(self)


def register_heif_opener():
    Image.register_open("STANDIN", Heic, lambda head: head[4:12] == b"ftypheic")
"""


def test_an_installed_plugin_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pillow_heif.py").write_text(PLUGIN)
    (tmp_path / "a.heic").write_bytes(HEIC)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    try:
        for source in (HEIC, io.BytesIO(HEIC), tmp_path / "a.heic"):
            forget("STANDIN")
            assert load_image(source).shape == (7, 5, 3)
    finally:
        forget("STANDIN")
        sys.modules.pop("pillow_heif", None)


@pytest.mark.tooling  # whose Pillow is one that reads AVIF
def test_avif_is_read(tmp_path: Path) -> None:
    image = np.full((40, 60, 3), (200, 60, 30), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.avif", quality=90)
    for source in (tmp_path / "a.avif", (tmp_path / "a.avif").read_bytes()):
        np.testing.assert_allclose(load_image(source).astype(int), image, atol=4)
    assert [page.source for page in page_stream(tmp_path)] == [tmp_path / "a.avif"]


def forget(name: str) -> None:
    Image.OPEN.pop(name, None)
    Image.ID[:] = [known for known in Image.ID if known != name]
