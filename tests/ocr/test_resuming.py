"""Pages of one file that are read one after the other, each by a call of its own."""

from __future__ import annotations

import gc
import io
import multiprocessing
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import GifImagePlugin, Image

from neuronkit.errors import ImageError
from neuronkit.ocr import image_pages, load_image, load_images
from neuronkit.ocr.images.resuming import close_idle

FRAMES = 40


def animation(format: str, count: int = FRAMES, **options: Any) -> bytes:
    rng, file = np.random.default_rng(0), io.BytesIO()
    frames = [Image.fromarray(rng.integers(0, 256, (6, 9, 3), np.uint8)) for _ in range(count)]
    frames[0].save(file, format, save_all=True, append_images=frames[1:], **options)
    return file.getvalue()


def alone(page: Any) -> Any:
    """A page of a file that is opened anew."""
    close_idle()
    return load_image(page)


def test_every_frame_of_an_animation_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, decoded, seek = animation("GIF"), [], GifImagePlugin.GifImageFile._seek
    path = tmp_path / "scan.gif"
    path.write_bytes(data)

    def count(self: Any, frame: int, update_image: bool = True) -> None:
        decoded.extend([frame] * update_image)
        seek(self, frame, update_image)

    monkeypatch.setattr(GifImagePlugin.GifImageFile, "_seek", count)
    for make in (lambda: path, lambda: data, lambda: bytearray(data), lambda: io.BytesIO(data)):
        decoded.clear()
        pages = [load_image(page) for page in image_pages(make())]
        # Opening, and going back after counting, decode the first one too.
        assert len(decoded) <= FRAMES + 10
        decoded.clear()
        with ThreadPoolExecutor(2) as threads:
            assert all(map(np.array_equal, threads.map(load_image, image_pages(make())), pages))
        # At most one file for each of two threads.
        assert len(decoded) <= 2 * FRAMES + 20
        decoded.clear()
        assert all(map(np.array_equal, load_images(make()), pages))
        assert len(decoded) <= FRAMES + 10


@pytest.mark.parametrize("format", ["GIF", "PNG", "TIFF", "WEBP"])
def test_pages_in_any_order_are_those_of_a_file_opened_anew(format: str) -> None:
    pages = image_pages(animation(format, 6))
    expected = [alone(page) for page in pages]
    for order in ([0, 1, 2, 3, 4, 5], [1, 0, 3, 2, 5, 4], [0, 0, 3, 3, 1, 5], [5, 4, 3, 2, 1, 0]):
        for i in order:
            np.testing.assert_array_equal(load_image(pages[i]), expected[i])


def test_frames_that_are_taken_away_again() -> None:
    """Pillow forgets what was before such a frame, once its pixels were looked at."""
    red, blue = (Image.new("RGBA", (4, 4), colour) for colour in ((255, 0, 0, 255), (0, 0, 255, 255)))
    dot = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    dot.putpixel((3, 3), (0, 255, 0, 255))
    blue = blue.crop((0, 0, 2, 4)).transform((4, 4), Image.Transform.EXTENT, (0, 0, 4, 4), fill=1)
    file = io.BytesIO()
    red.save(file, "PNG", save_all=True, append_images=[blue, dot], disposal=[0, 2, 0], blend=[0, 1, 1])
    pages = image_pages(file.getvalue())
    expected = [alone(page) for page in pages]
    assert expected[2][0, 0].tolist() == [255, 0, 0]
    for found in (load_images(file.getvalue()), [load_image(page) for page in pages]):
        assert all(map(np.array_equal, found, expected))


def test_a_file_that_changes_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    for grey in (50, 100):
        frames = [Image.new("L", (5 + grey, 5), grey + i) for i in range(3)]
        frames[0].save(path, save_all=True, append_images=frames[1:])
        pages = image_pages(path)
        assert [int(load_image(page)[0, 0, 0]) for page in pages[:2]] == [grey, grey + 1]
    path.unlink()
    with pytest.raises(ImageError):
        load_image(pages[2])


def test_no_file_stays_open_after_its_last_page(tmp_path: Path) -> None:
    close_idle()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for i in range(5):
            path = tmp_path / f"{i}.tif"
            path.write_bytes(animation("TIFF", 3))
            for page in image_pages(path):
                load_image(page)
            assert not _open_files(path)
            load_image(image_pages(path)[1])
        gc.collect()
    # Files whose last page nobody has read: as many as a pipeline opens at once.
    assert len(_open_files(tmp_path)) <= 2
    close_idle()
    assert not _open_files(tmp_path)


def _open_files(place: Path) -> list[str]:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("open files are known on Linux alone")
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return [os.readlink(link) for link in links if os.path.islink(link) and str(place) in os.readlink(link)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_reads_on_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "scan.gif"
    path.write_bytes(animation("GIF"))
    pages = image_pages(path)
    expected = [alone(page) for page in pages]
    close_idle()
    load_image(pages[0])
    fork = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = fork.Process(target=_same, args=(pages[1:], expected[1:]))
        child.start()
    assert all(np.array_equal(load_image(page), image) for page, image in zip(pages[1:], expected[1:], strict=True))
    child.join(60)
    assert child.exitcode == 0


def _same(pages: Any, expected: Any) -> None:
    wrong = [not np.array_equal(load_image(page), image) for page, image in zip(pages, expected, strict=True)]
    os._exit(sum(wrong))
