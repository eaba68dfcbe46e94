"""Pages on which something was not read, or may have been read wrongly: they say so, or it is mended."""

from __future__ import annotations

import io
import json
import os
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from neuronkit.demo.reader import demo_reader
from neuronkit.errors import ImageError, OptionError
from neuronkit.ocr import CraftProcessor, ImagePage, ImageWarning, OCRPipeline, ParseqProcessor
from neuronkit.ocr.pipeline.folder import NO_FILE, NO_IMAGE, OWN_RESULT, READ_BEFORE
from tests.pictures import encode

from .toys import CHARSET, Detector, Recognizer, detect, draw_page, grid, recognize

pytestmark = pytest.mark.arrays


def reader(detector=detect, recognizer=recognize, **options):
    options.setdefault("detector_processor", CraftProcessor())
    return OCRPipeline(detector, recognizer, recognizer_processor=ParseqProcessor(CHARSET), **options)


# Files of several pages


def scan(*texts, format="TIFF"):
    first, *others = (Image.fromarray(grid(text)) for text in texts)
    return encode(first, format, save_all=True, append_images=others)


def test_a_single_call_says_how_many_pages_it_did_not_read() -> None:
    with pytest.warns(ImageWarning, match="the file has 3 pages and one was read"):
        page = reader()(scan("ab", "cd", "ef"))
    assert page.text == "a b"
    (said,) = page.warnings
    assert page.to_dict()["warnings"] == [said]
    (page,) = reader().read([scan("ab", "cd")])
    assert "2 pages" in page.warnings[0]


def test_all_pages_of_a_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    path.write_bytes(scan("ab", "cd", "ef"))
    with Image.open(path) as opened:
        for source in (path, path.read_bytes(), io.BytesIO(path.read_bytes()), opened):
            pages = list(reader().read_pages(source))
            assert [page.text for page in pages] == ["a b", "c d", "e f"]
            assert [page.warnings for page in pages] == [()] * 3
    pages = list(reader().read_pages(path))
    assert [page.source for page in pages] == [ImagePage(path, i) for i in range(3)]
    assert pages[2].draw(text=False).shape == grid("ef").shape
    assert "<title>scan.tif</title>" in pages[2].to_hocr()


def test_folders_keep_every_page_and_say_what_they_skip(tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    (images / "scan.tif").write_bytes(scan("ab", "cd", "ef"))
    Image.fromarray(grid("gh")).save(images / "no_ending", "PNG")
    Image.fromarray(grid("ha")).save(images / "b.tga")
    (images / "notes.txt").write_text("no image")
    os.mkfifo(images / "pipe.png")
    (images / "gone.png").symlink_to(images / "nowhere.png")
    report = reader().read_folder(images, out)
    assert [path.name for path in report.read] == ["b.tga", "no_ending", "scan.tif"]
    assert report.failed == {}
    reasons = {path.name: why for path, why in report.skipped.items()}
    assert reasons == {"notes.txt": NO_IMAGE, "pipe.png": NO_FILE, "gone.png": NO_FILE}
    found = {path.name: json.loads(path.read_text()) for path in out.iterdir()}
    assert {name: page["text"] for name, page in found.items()} == {
        "b.tga.json": "h a",
        "no_ending.json": "g h",
        "scan.tif.json": "a b",
        "scan.tif.page-2.json": "c d",
        "scan.tif.page-3.json": "e f",
    }
    assert [found["scan.tif.page-2.json"]["source"][name] for name in ("name", "page", "pages")] == ["scan.tif", 2, 3]
    # Where a page is missing, the next call reads that one alone.
    (out / "scan.tif.page-2.json").unlink()
    read = []

    def spy(canvas):
        read.append(len(canvas))
        return detect(canvas)

    again = reader(spy).read_folder(images, out)
    assert [path.name for path in again.read] == ["scan.tif"]
    assert len(read) == 1
    assert list(again.skipped.values()).count(READ_BEFORE) == 2
    assert json.loads((out / "scan.tif.page-2.json").read_text())["text"] == "c d"


def test_files_of_one_name_do_not_hide_each_other(tmp_path: Path) -> None:
    files = []
    for folder, text in (("a", "ab"), ("b", "cd")):
        (tmp_path / folder).mkdir()
        files.append(tmp_path / folder / "x.tif")
        files[-1].write_bytes(scan(text))
    for _ in range(2):
        report = reader().read_files([*files, files[0]], tmp_path / "out")
        assert list(report.failed) == [files[1]]
        assert "has the same name, and so the same result" in report.failed[files[1]]
    assert len(reader().read_files([tmp_path / "a", tmp_path / "b"], tmp_path / "others").failed) == 1
    # Within one folder they have places of their own.
    both = tmp_path / "both"
    both.mkdir()
    for file in files:
        file.parent.rename(both / file.parent.name)
    assert len(reader().read_files(both, tmp_path / "each").read) == 2


def test_results_in_the_folder_that_is_read_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for place in ("x.tif", "sub/x.tif"):
        (tmp_path / place).write_bytes(scan("ab"))
    assert len(reader().read_files(tmp_path, tmp_path, format="picture").read) == 2
    for folder in (tmp_path, tmp_path / "sub" / ".."):
        report = reader().read_files(tmp_path, folder, format="picture")
        assert not report.read
        assert set(report.skipped.values()) == {READ_BEFORE, OWN_RESULT}
    assert len(reader().read_files(tmp_path, tmp_path, format="text").read) == 2


def test_a_result_is_that_of_its_file_and_its_settings(tmp_path: Path) -> None:
    """Another file of the same name, an older one in its place, other pages: each is read."""
    out = tmp_path / "out"
    for folder, text in (("a", "ab"), ("b", "cd")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.tif").write_bytes(scan(text, text))
        os.utime(tmp_path / folder / "x.tif", (2e9, 2e9))

    def read(folder: str, **options: Any) -> tuple[int, int]:
        report = reader().read_files([tmp_path / folder / "x.tif"], out, format="text", **options)
        assert not report.failed
        return len(report.read), len(report.skipped)

    assert [read(folder) for folder in ("a", "a", "b", "b")] == [(1, 0), (0, 1), (1, 0), (0, 1)]
    assert "c d" in (out / "x.tif.txt").read_text()
    older = tmp_path / "a" / "x.tif"
    os.utime(older, (1e9, 1e9))
    older.replace(tmp_path / "b" / "x.tif")
    assert [read("b"), read("b")] == [(1, 0), (0, 1)]
    assert "a b" in (out / "x.tif.txt").read_text()
    assert [read("b", pages=iter([2])), read("b", pages=[2]), read("b")] == [(1, 0), (0, 1), (1, 0)]
    # Half a line of a process that was killed.
    with open(out / ".neuronkit-read.jsonl", "a") as record:
        record.write('{"result": "x.t')
    assert read("b") == (0, 1)
    (out / "x.tif.txt").unlink()
    assert read("b") == (1, 0)


@pytest.mark.parametrize("sources", [None, 3, b"page.tif", [["page.tif"]]])
def test_what_is_no_path_of_a_file_is_refused(sources, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="expected a path"):
        reader().read_files(sources, tmp_path / "out")


def test_a_broken_page_does_not_lose_the_others(tmp_path: Path) -> None:
    whole = bytearray(scan("ab", "cd", format="GIF"))
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    (images / "scan.gif").write_bytes(whole[: len(whole) - 40])
    report = reader().read_folder(images, out)
    assert report.read == []
    assert "page 2: " in report.failed[images / "scan.gif"]
    assert json.loads((out / "scan.gif.json").read_text())["text"] == "a b"


# Scale and strips


def rows(count, columns=4, width=330):
    """A strip of coloured words, and its text."""
    texts = ["".join(CHARSET[(3 * i + j) % 8] for j in range(columns)) for i in range(count)]
    words = [(c, 20 + 70 * j, 20 + 40 * i, 40, 16) for i, text in enumerate(texts) for j, c in enumerate(text)]
    return draw_page(words, (40 + 40 * count, width)), texts


@pytest.mark.parametrize("detector", [detect, Detector(canvas=(1280, 480)), Detector(batch=3, canvas=(640, 640))])
def test_long_strips_are_read_in_tiles(detector) -> None:
    strip, texts = rows(200)
    page = reader(detector)(strip)
    assert page.text.replace(" ", "").split("\n") == texts
    assert page.scale >= 0.5
    assert page.warnings == ()
    assert page.size == strip.shape[:2]
    for word, i in zip(page.words, range(800)):
        left, top = 20 + 70 * (i % 4), 20 + 40 * (i // 4)
        np.testing.assert_allclose(word.box.bounds, [left, top, left + 40, top + 16], atol=10)


def test_wide_strips_are_read_in_tiles() -> None:
    texts = ["".join(CHARSET[(i + j) % 8] for j in range(150)) for i in range(3)]
    words = [(c, 20 + 60 * j, 20 + 40 * i, 40, 16) for i, text in enumerate(texts) for j, c in enumerate(text)]
    page = reader()(draw_page(words, (160, 9060)))
    assert page.text.replace(" ", "").split("\n") == texts


@given(st.integers(900, 3000), st.data())
@settings(max_examples=15, deadline=None)
def test_no_word_of_a_strip_is_cut_or_doubled(height, data) -> None:
    """Whatever lies on the borders of tiles: words everywhere, one above the other."""
    offset = data.draw(st.integers(0, 40))
    words = [(CHARSET[i % 8], 10, top, 60, 17) for i, top in enumerate(range(offset, height - 20, 29))]
    processor = CraftProcessor(canvas_size=320, mag_ratio=1.0)
    page = reader(detector_processor=processor)(draw_page(words, (height, 90)))
    assert page.scale == 1.0
    assert [word.text for word in page.words] == [word[0] for word in words]
    for found, (_, _, top, _, _) in zip(page.words, words):
        np.testing.assert_allclose(found.box.bounds, [10, top, 70, top + 17], atol=8)


def test_the_score_map_of_a_strip_is_that_of_the_whole() -> None:
    strip, _ = rows(40)
    whole = reader(keep_scores=True, detector_processor=CraftProcessor(canvas_size=4096, mag_ratio=1.0))(strip)
    tiled = reader(keep_scores=True, detector_processor=CraftProcessor(canvas_size=640, mag_ratio=1.0))(strip)
    assert whole.letterbox == tiled.letterbox
    np.testing.assert_array_equal(tiled.scores, whole.scores)
    assert (tiled.draw(heat_map=True) == whole.draw(heat_map=True)).all()


def test_a_scale_that_loses_text_is_said() -> None:
    strip, _ = rows(200)
    with pytest.warns(ImageWarning, match="the detector saw the page at scale 0.16"):
        page = reader(min_scale=0)(strip)
    assert page.scale == pytest.approx(1280 / len(strip))
    assert page.to_dict()["scale"] == page.scale
    assert any("text lower than 50 pixels is lost" in text for text in page.to_dict()["warnings"])
    # Large letters are read at any scale, and nothing is said.
    large = draw_page([("a", 400, 400, 1200, 480), ("b", 2000, 400, 1200, 480)], (3000, 4000))
    page = reader()(large)
    assert (page.text, page.warnings) == ("a b", ())
    assert page.scale < 0.5


def test_a_line_of_pixels_is_no_strip() -> None:
    assert reader()(np.zeros((2, 9000, 3), np.uint8)).warnings == ()


# Turned pages


def read_upright_only(images):
    """Confident where a word is light on its left and dark on its right, as `striped` draws them."""
    logits = torch.zeros(len(images), 2, len(CHARSET) + 1)
    clear = images[:, :, :, 20:50].mean(dim=(1, 2, 3)) > images[:, :, :, 78:108].mean(dim=(1, 2, 3)) + 0.1
    logits[:, 0, 1] = torch.where(clear, 12.0, 1.0)
    logits[:, 1, 0] = torch.where(clear, 12.0, 1.0)
    return logits


def striped(count=6):
    page = np.full((40 + 40 * count, 300, 3), 255, np.uint8)
    for i in range(count):
        page[20 + 40 * i : 44 + 40 * i, 40:130] = 150
        page[20 + 40 * i : 44 + 40 * i, 130:220] = 20
    return page


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("detector", [detect, Detector(canvas=(480, 480))])
def test_turned_pages_are_turned_back(turns, detector) -> None:
    page = np.ascontiguousarray(np.rot90(striped(), turns))
    turning = reader(detector, read_upright_only, rotations=(90, 180, 270))
    for found in (turning(page), next(turning.read([page])), turning.read_batch([page]).pages[0]):
        assert found.rotation == (-turns * 90) % 360
        assert found.to_dict()["rotation"] == found.rotation
        assert found.size == striped().shape[:2]
        assert found.text == "\n".join("aaaaaa")
        assert all(word.confidence > 0.9 for word in found.words)
        assert found.warnings == ()
        np.testing.assert_array_equal(found.draw(boxes=False, text=False), striped())


def test_a_page_that_may_be_turned_says_so() -> None:
    page = np.ascontiguousarray(np.rot90(striped(), 2))
    with pytest.warns(ImageWarning, match=r"the page may be turned; rotations=\(90, 180, 270\) tries that"):
        found = reader(recognizer=read_upright_only)(page)
    assert found.rotation == 0
    assert len(found.to_dict()["warnings"]) == 1


@pytest.fixture(scope="module")
def demo() -> OCRPipeline:
    return demo_reader()


@pytest.mark.parametrize(
    "text", ["window seat", "winter", "orange juice", "fresh bread", "silver spoon", "ill", "1 7 1"]
)
def test_one_turned_line_says_so(text: str, demo: OCRPipeline) -> None:
    font = ImageFont.load_default(28)
    line = Image.new("RGB", (round(font.getlength(text)) + 40, 68), "white")
    ImageDraw.Draw(line).text((20, 20), text, "black", font)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImageWarning)
        upright, *turned = (demo(np.ascontiguousarray(np.rot90(line, turns))) for turns in (0, 1, 3))
    assert upright.warnings == ()
    # Few letters may run in any direction.
    assert len(text) < 6 or all("may be turned" in page.warnings[0] for page in turned)


def test_upright_pages_cost_nothing_more() -> None:
    calls: Counter[str] = Counter()

    def counting(name, function):
        def call(images):
            calls[name] += 1
            return function(images)

        return call

    for rotations in ((), (90, 180, 270)):
        reader(counting(f"detector{rotations}", detect), counting(f"recognizer{rotations}", recognize),
               rotations=rotations)(grid())  # fmt: skip
    assert set(calls.values()) == {1}


@pytest.mark.parametrize("rotations", [45, "90", (45,), (90, 360), (90.0,), None, range(10**9)])
def test_rotations_are_checked(rotations) -> None:
    with pytest.raises(OptionError, match="rotations"):
        reader(rotations=rotations)


# Other settings


def test_the_background_is_chosen() -> None:
    black = np.zeros((60, 200, 4), np.uint8)
    black[20:40, 40:160, 3] = 255
    page = reader(background="white")(black)
    assert len(page.words) == 1
    with pytest.raises(OptionError, match="background"):
        reader(background="no colour")


@pytest.mark.parametrize("value", [-1, 2, "a", None, float("nan")])
def test_the_least_scale_is_checked(value) -> None:
    with pytest.raises(OptionError, match="min_scale"):
        reader(min_scale=value)


# Batches


def test_words_of_several_pages_share_batches() -> None:
    recognizer = Recognizer(batch=16)
    batch = reader(Detector(batch=2), recognizer).read_batch([grid("abcd"), grid("efgh"), grid("abcdefgh")])
    assert [page.text.replace(" ", "").replace("\n", "") for page in batch.pages] == ["abcd", "efgh", "abcdefgh"]
    assert recognizer.batches == 1
    assert batch.word_waste == 0.0
    assert 0 < batch.canvas_waste < 1


def test_images_on_which_a_model_fails_fail_alone() -> None:
    from neuronkit.errors import ModelError

    def fragile(images):
        if (images.amax(dim=(1, 2, 3)) < 0).any():
            raise RuntimeError("a black page")
        return detect(images)

    black = np.zeros((60, 80, 3), np.uint8)
    fixed = Detector(batch=4)
    fixed.__class__ = type("Fragile", (Detector,), {"__call__": lambda self, images, *valid: fragile(images)})
    pages = reader(fixed).read_batch([grid("a"), black, b"no image", grid("b")]).pages
    assert [page.text for page in pages] == ["a", "", "", "b"]
    assert isinstance(pages[1].error, ModelError)
    assert "RuntimeError: a black page" in str(pages[1].error)
    assert isinstance(pages[2].error, ImageError)
    assert reader(fixed).read_batch([]).pages == []
