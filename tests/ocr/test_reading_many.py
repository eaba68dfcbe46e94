"""Many pages: overlapped stages, folders in several goes, steady memory."""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from PIL import Image

from neuronkit.errors import ImageError, OptionError, SpecError
from neuronkit.ocr import CraftProcessor, OCRPipeline, ParseqProcessor
from neuronkit.ocr.pipeline.folder import NO_IMAGE, READ_BEFORE
from neuronkit.static.shapes.rows import Carry

from .toys import CHARSET, Detector, Recognizer, detect, draw_page, grid, recognize

pytestmark = pytest.mark.arrays


def reader(detector=detect, recognizer=recognize, **options):
    return OCRPipeline(
        detector,
        recognizer,
        detector_processor=CraftProcessor(),
        recognizer_processor=ParseqProcessor(CHARSET),
        **options,
    )


def test_pages_come_in_order_and_share_the_detectors_batch() -> None:
    detector = Detector(batch=3)
    texts = ["abc", "d", "ef", "gh", "a", "b", "c"]
    pages = reader(detector, Recognizer(4))([grid(text) for text in texts])
    assert [page.text.replace(" ", "") for page in pages] == texts
    assert len(detector.calls) == 3


def test_words_of_pages_one_after_the_other_share_the_recognisers_batches() -> None:
    recognizer, texts = Recognizer(8), ["abc", "", "d", "efgh", "ab", "cdefgh", "a", "b"]
    pages = reader(Detector(), recognizer)([grid(text) for text in texts])
    assert [page.text.split() for page in pages] == [list(text) for text in texts]
    assert recognizer.batches == 3  # of 18 words


class UnsettledRecognizer(Recognizer):
    """One that settles a word at its second call, and some not before the third."""

    carry = Carry(3, 3)

    def step(self, images: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits = self(images)
        tokens = start.clamp(min=0) + 1
        settled = (tokens[:, 0] > 1) & (logits[:, 0].argmax(-1) % 3 > 0)
        return logits, tokens.to(torch.int32), settled.to(torch.int32)


def test_words_that_have_not_settled_ride_with_those_of_later_pages() -> None:
    recognizer, texts = UnsettledRecognizer(8), ["abcd", "efgh", "abcd", "efgh", "ab"]
    pages = reader(Detector(), recognizer)([grid(text) for text in texts])
    assert [page.text.split() for page in pages] == [list(text) for text in texts]
    # 18 words of two calls, of which 5 take a third, in batches of 8.
    assert recognizer.batches == -(-(2 * 18 + 5) // 8)
    together = reader(Detector(), recognizer).read_batch([grid(text) for text in texts])
    assert [page.text for page in together.pages] == [page.text for page in pages]


def test_a_page_waits_for_a_few_others_at_most_until_its_words_are_read() -> None:
    taken: list[int] = []

    def endless() -> Iterator[np.ndarray[Any, Any]]:
        for i in itertools.count():
            taken.append(i)
            yield grid("a")

    pages = reader(Detector(), Recognizer(64)).read(endless())
    assert next(pages).text == "a"
    assert len(taken) <= 7
    pages.close()


def test_bad_images_leave_the_others_of_their_batch_alone() -> None:
    pages = reader(Detector(batch=3))([grid("a"), b"x", grid("b"), b"y", b"z", b""])
    assert [page.text for page in pages] == ["a", "", "b", "", "", ""]
    assert [page.error is None for page in pages] == [True, False, True, False, False, False]


def test_lines_of_millions_of_pixels_leave_the_others_alone() -> None:
    thread = np.full((1, 2_000_000, 3), 255, np.uint8)
    pages = reader()([grid("ab"), thread, thread.transpose(1, 0, 2), grid("cd")])
    assert [page.text for page in pages] == ["a b", "", "", "c d"]


def test_a_page_is_searched_while_the_one_before_is_read() -> None:
    searching, reading = threading.Event(), threading.Event()
    searches = itertools.count()

    def slow_detect(images):
        if next(searches) == 1:
            searching.set()
            # Released by the reading of the first page only: one after the other, this would wait in vain.
            assert reading.wait(20)
        return detect(images)

    def slow_recognize(images):
        assert searching.wait(20)
        reading.set()
        return recognize(images)

    assert [page.text for page in reader(slow_detect, slow_recognize)([grid("a"), grid("b")])] == ["a", "b"]


def test_only_a_few_images_are_held() -> None:
    taken = []

    def endless():
        for i in itertools.count():
            taken.append(i)
            yield grid("a")

    pages = reader().read(endless())
    for _ in range(5):
        next(pages)
    assert len(taken) <= 8
    threads = threading.active_count()
    pages.close()
    assert threading.active_count() < threads


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_images_before_an_error_of_their_source_are_read(batch) -> None:
    def failing():
        yield from (grid("a"), grid("b"), grid("c"))
        raise ConnectionError("the camera is gone")

    pages = reader(Detector(batch)).read(failing())
    assert [next(pages).text for _ in range(3)] == ["a", "b", "c"]
    with pytest.raises(ConnectionError, match="the camera is gone"):
        next(pages)


def test_errors_of_a_model_reach_the_caller() -> None:
    def broken(images) -> NoReturn:
        raise RuntimeError("the device is gone")

    with pytest.raises(RuntimeError, match="the device is gone"):
        reader(broken)([grid("a"), grid("b"), grid("c")])
    with pytest.raises(RuntimeError, match="the device is gone"):
        reader(detect, broken)([grid("a"), grid("b"), grid("c")])
    with pytest.raises(SpecError, match="expected an iterable of images"):
        list(reader().read(5))


def test_a_progress_bar_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    reader(progress=True)([grid("a")] * 2)
    assert "2/2" in capsys.readouterr().err
    reader(progress=False)([grid("a")] * 20)
    assert capsys.readouterr().err == ""
    reader()([grid("a")] * 20)  # not a terminal
    assert capsys.readouterr().err == ""


def test_scores_are_kept_when_asked_for() -> None:
    (page,) = reader(keep_scores=True)([grid("a")])
    assert page.scores.shape == (page.letterbox.canvas_size[0] // 2, page.letterbox.canvas_size[1] // 2, 2)
    assert (page.draw(heat_map=True) != page.draw()).any()
    assert reader()(grid("a")).scores is None


def write(path, text) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grid(text)).save(path)


def test_folders_are_read_in_several_goes(tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    write(images / "a.png", "abc")
    write(images / "deep" / "b.PNG", "de")
    (images / "bad.jpg").write_bytes(b"broken")
    (images / "notes.txt").write_text("no image")
    calls = []

    def counting(batch):
        calls.append(len(batch))
        return detect(batch)

    first = reader(counting).read_folder(images, out)
    assert [p.name for p in first.read] == ["a.png", "b.PNG"]
    assert [p.name for p in first.failed] == ["bad.jpg"]
    assert first.skipped == {images / "notes.txt": NO_IMAGE}
    assert str(first).startswith("2 read, 1 failed, 1 skipped (1 not an image")
    assert "bad.jpg" in str(first)
    assert json.loads((out / "a.png.json").read_text())["text"] == "a b c"
    assert json.loads((out / "deep" / "b.PNG.json").read_text())["text"] == "d e"
    assert sorted(p.name for p in out.rglob("*") if p.is_file()) == ["a.png.json", "b.PNG.json"]

    second = reader(counting).read_folder(images, out)
    assert [p.name for p, why in second.skipped.items() if why == READ_BEFORE] == ["a.png", "b.PNG"]
    assert second.read == []
    assert len(calls) == 2

    write(images / "a.png", "hg")
    (out / "deep" / "b.PNG.json").write_text("{")
    third = reader(counting).read_folder(images, out)
    assert [p.name for p in third.read] == ["a.png", "b.PNG"]
    assert json.loads((out / "a.png.json").read_text())["text"] == "h g"


def test_a_folder_that_is_stopped_goes_on_later(tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    for i in range(6):
        write(images / f"{i}.png", "a")
    seen = itertools.count()

    def failing(batch):
        if next(seen) == 3:
            raise KeyboardInterrupt
        return recognize(batch)

    with pytest.raises(KeyboardInterrupt):
        reader(detect, failing).read_folder(images, out)
    report = reader().read_folder(images, out)
    assert [p.name for p in report.skipped] == ["0.png", "1.png", "2.png"]
    assert [p.name for p in report.read] == ["3.png", "4.png", "5.png"]


def test_threads_share_a_folder(tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    for i in range(8):
        write(images / f"{i}.png", "a")
    meeting = threading.Barrier(2, timeout=60)

    def together(batch):
        meeting.wait()
        return recognize(batch)

    with ThreadPoolExecutor(2) as threads:
        goes = [threads.submit(reader(detect, together).read_folder, images, out) for _ in range(2)]
    assert [go.result().failed for go in goes] == [{}, {}]
    assert sorted(p.name for p in out.iterdir()) == [f"{i}.png.json" for i in range(8)]


def test_what_is_no_pattern_is_named(tmp_path: Path) -> None:
    for pattern in ("", ".", "/*", "../*", 3, "x" * 5_000):
        with pytest.raises(OptionError, match=r"^got pattern=.{,1500}$"):
            reader().read_folder(tmp_path, tmp_path, pattern=pattern)


def test_what_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is not a folder"):
        reader().read_folder(tmp_path / "none", tmp_path)


def resident_megabytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads Linux's account of memory")
def test_thousands_of_pages_do_not_grow_the_memory() -> None:
    pictures = [draw_page([("abcdefgh"[i % 8], 8 + i % 5, 8, 30, 16)], (40, 64)) for i in range(16)]
    processor = CraftProcessor(mag_ratio=1.0)
    many = OCRPipeline(detect, recognize, detector_processor=processor, recognizer_processor=ParseqProcessor(CHARSET))
    before = 0.0
    pages = many.read(pictures[i % 16].copy() for i in range(3000))
    for i, page in enumerate(pages):
        assert page.text == "abcdefgh"[i % 8]
        if i == 500:
            before = resident_megabytes()
    # Two kilobytes a page.
    assert resident_megabytes() - before < 5
