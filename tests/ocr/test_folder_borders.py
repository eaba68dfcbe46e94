"""Folders and sources that are not as they should be: what cannot be done is said, and everything else is done."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neuronkit.errors import ImageError, OptionError, SpecError
from neuronkit.ocr import CraftProcessor, OCRPipeline, ParseqProcessor, image_pages, load_image, page_stream
from neuronkit.ocr.pipeline.files import RECORD

from .toys import CHARSET, detect, grid, recognize

pytestmark = pytest.mark.arrays
OCR = OCRPipeline(detect, recognize, detector_processor=CraftProcessor(), recognizer_processor=ParseqProcessor(CHARSET))


def picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(grid("ab")).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "z.png"):
        (folder / name).write_bytes(picture())
    return folder


@pytest.fixture(params=["read_folder", "read_files"])
def read(request: pytest.FixtureRequest) -> Callable[[Path, Path], Any]:
    if request.param == "read_folder":
        return OCR.read_folder
    return lambda folder, output: OCR.read_files(folder, output, format="json")


def names(paths: Any) -> list[str]:
    return [path.name for path in paths]


def test_a_name_that_leaves_no_room_for_an_ending_fails_alone(read: Any, images: Path, tmp_path: Path) -> None:
    (images / ("x" * 251 + ".png")).write_bytes(picture())
    report = read(images, tmp_path / "out")
    assert names(report.read) == ["a.png", "z.png"]
    (reason,) = report.failed.values()
    assert "File name too long" in reason


@pytest.mark.parametrize("kind", ["a named pipe", "a folder", "a device", "a link to a picture"])
def test_what_is_no_result_stays_and_is_not_waited_for(read: Any, kind: str, images: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    place, before = output / "a.png.json", (images / "a.png").read_bytes()
    {
        "a named pipe": lambda: os.mkfifo(place),
        "a folder": place.mkdir,
        "a device": lambda: place.symlink_to("/dev/null"),
        "a link to a picture": lambda: place.symlink_to(images / "a.png"),
    }[kind]()
    report = read(images, output)
    assert names(report.read) == ["z.png"]
    (reason,) = report.failed.values()
    assert f"{kind} is there" in reason
    assert place.is_symlink() or place.is_dir() or place.is_fifo()
    assert (images / "a.png").read_bytes() == before


def test_a_record_that_is_none_is_named(images: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / RECORD).mkdir(parents=True)
    with pytest.raises(OptionError, match=f"{RECORD}', a folder; expected a regular file"):
        OCR.read_files(images, tmp_path / "out")


def test_text_that_a_file_gives_is_no_path(images: Path) -> None:
    path = images / "a.png"
    for call in (load_image, image_pages, lambda source: list(OCR.read_pages(source))):
        with pytest.raises(ImageError, match="a StringIO, which cannot be read as an image"):
            call(io.StringIO(str(path)))


@pytest.mark.parametrize("address", ["http://example.org/a.png", "s3://bucket/a.png"])
def test_addresses_are_no_paths(address: str) -> None:
    (page,) = OCR.read(page_stream([address]))
    assert "is an address; download it and give its bytes" in str(page.error)


def test_masked_arrays_are_refused_where_something_is_masked() -> None:
    image = np.ma.masked_array(grid("ab"), grid("ab") > 300)
    np.testing.assert_array_equal(load_image(image), grid("ab"))
    image[3, 4] = np.ma.masked
    with pytest.raises(ImageError, match="masked entries; expected numbers everywhere; fill them, such as"):
        load_image(image)
    with pytest.raises(SpecError, match="masked entries"):
        ParseqProcessor(CHARSET).postprocess(np.ma.masked_less(np.zeros((1, 3, len(CHARSET) + 1), np.float32), 1))
