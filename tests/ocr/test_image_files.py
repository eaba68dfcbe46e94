"""What image files hold besides one opaque picture of 8 bits: pages, transparency, deep levels, unknown formats."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from neuronkit.errors import ImageError, OptionError
from neuronkit.ocr import ImagePage, ImageWarning, image_pages, load_image, load_images
from neuronkit.ocr.images.resuming import close_idle
from tests.pictures import encode

pytestmark = pytest.mark.arrays

GREYS = (10, 90, 200)


def pages(format="TIFF", greys=GREYS, **options):
    first, *others = (Image.new("RGB", (9, 6), (grey,) * 3) for grey in greys)
    return encode(first, format, save_all=True, append_images=others, **options)


# Pages


@pytest.mark.parametrize("format", ["TIFF", "GIF", "PNG", "WEBP"])
def test_all_pages_are_read_and_a_single_call_says_how_many_it_left(format, tmp_path: Path) -> None:
    data = pages(format, **({"lossless": True} if format == "WEBP" else {}))
    path = tmp_path / "scan"
    path.write_bytes(data)
    for source in (path, str(path), data, io.BytesIO(data), Image.open(io.BytesIO(data))):
        assert [int(image[3, 4, 0]) for image in load_images(source)] == list(GREYS)
    with pytest.warns(ImageWarning, match=r"'.*scan': the file has 3 pages and one was read; load_images"):
        assert load_image(path)[0, 0, 0] == GREYS[0]


def test_pages_that_are_too_much_together_are_refused() -> None:
    data = pages()
    height, width = load_image(image_pages(data)[0]).shape[:2]
    frame = Image.open(io.BytesIO(data))
    many = io.BytesIO()
    frame.save(many, "TIFF", save_all=True, append_images=[frame.copy() for _ in range(8)])
    with pytest.raises(ImageError, match="whose first 9 of 11 pages have more pixels together than 8 times"):
        load_images(many.getvalue(), max_pixels=height * width)
    assert len(load_images(many.getvalue(), max_pixels=2 * height * width)) == 11


@pytest.mark.parametrize("format", ["TIFF", "GIF", "WEBP", "PNG"])
def test_a_file_is_opened_once_for_all_its_pages(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, file, opened, open_ = np.random.default_rng(0), io.BytesIO(), [], Image.open
    frames = [Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)) for _ in range(9)]
    frames[0].save(file, format, save_all=True, append_images=frames[1:])
    one_by_one = []
    for page in image_pages(file.getvalue()):
        close_idle()
        one_by_one.append(load_image(page))

    def count(*arguments: object, **options: object) -> Image.Image:
        opened.append(arguments)
        return open_(*arguments, **options)

    monkeypatch.setattr(Image, "open", count)
    for found, expected in zip(load_images(file.getvalue()), one_by_one, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert len(opened) == 2  # to count the pages, and to read them


def test_pages_are_taken_one_by_one() -> None:
    data = pages()
    listed = image_pages(data)
    assert [page.index for page in listed] == [0, 1, 2]
    assert load_image(listed[2])[0, 0, 0] == GREYS[2]
    with pytest.raises(ImageError, match=r"got page 4 of \d+ bytes; expected a page that is there"):
        load_image(ImagePage(data, 3))
    with pytest.raises(OptionError, match="index=-1"):
        ImagePage(data, -1)
    with pytest.raises(ImageError, match="give its own source"):
        ImagePage(listed[0])


def test_what_has_one_page_is_a_list_of_one() -> None:
    array = np.full((4, 5, 3), 7, np.uint8)
    for source in (array, encode(Image.fromarray(array)), Image.fromarray(array), ImagePage(array)):
        (found,) = load_images(source)
        np.testing.assert_array_equal(found, array)


def test_whoever_turns_pages_is_not_warned() -> None:
    image = Image.open(io.BytesIO(pages()))
    image.seek(1)
    assert load_image(image)[0, 0, 0] == GREYS[1]


def test_thumbnails_and_further_views_are_no_pages() -> None:
    first, second = (Image.new("RGB", (9, 6), (grey,) * 3) for grey in GREYS[:2])
    second.encoderinfo = {"tiffinfo": {254: 1}}
    thumbnails = io.BytesIO()
    first.save(thumbnails, "TIFF", save_all=True, append_images=[second])
    assert len(load_images(thumbnails.getvalue())) == 1
    views = encode(first, "MPO", save_all=True, append_images=[second])
    assert getattr(Image.open(io.BytesIO(views)), "n_frames") == 2  # noqa: B009
    assert len(load_images(views)) == 1
    load_image(views)


def test_a_broken_page_is_an_error() -> None:
    data = pages()
    with pytest.raises(ImageError, match="cannot be read as an image"):
        load_images(data[: len(data) // 2])


# Transparency


def lettering(ink, mode="RGBA"):
    """Letters on a transparent ground whose colours, unseen, are the ink's own."""
    image = Image.new("RGBA", (80, 30), (*ink, 0))
    ImageDraw.Draw(image).rectangle((20, 10, 60, 20), fill=(*ink, 255))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("ink", "ground"), [((0, 0, 0), 255), ((255, 255, 255), 0), ((40, 40, 160), 255), ((250, 230, 90), 0)]
)
@pytest.mark.parametrize("kind", ["array", "floats", "PNG", "WEBP", "image"])
def test_the_ground_contrasts_with_what_is_drawn(ink, ground, kind) -> None:
    image = lettering(ink)
    given = {
        "array": lambda: np.asarray(image),
        "floats": lambda: np.asarray(image) / 255.0,
        "PNG": lambda: encode(image),
        "WEBP": lambda: encode(image, "WEBP", lossless=True, exact=True),
        "image": lambda: image,
    }[kind]()
    found = load_image(given)
    np.testing.assert_array_equal(found[0, 0], [ground] * 3)
    np.testing.assert_array_equal(found[15, 40], ink)


@pytest.mark.parametrize("mode", ["LA", "PA", "La", "RGBa"])
def test_every_mode_with_opacity_has_a_ground(mode) -> None:
    by_way_of = {"LA": "LA", "La": "LA", "PA": "P", "RGBa": "RGBA"}[mode]
    found = load_image(lettering((0, 0, 0), by_way_of).convert(mode))
    assert found[0, 0].tolist() == [255] * 3
    assert found[15, 40].tolist() == [0] * 3


def test_colour_keys_have_a_ground() -> None:
    image = Image.new("RGB", (80, 30), (1, 2, 3))
    ImageDraw.Draw(image).rectangle((20, 10, 60, 20), fill=(0, 0, 0))
    for data in (encode(image, transparency=(1, 2, 3)), encode(image.quantize(4), "GIF", transparency=0)):
        found = load_image(data)
        assert {tuple(found[0, 0]), tuple(found[15, 40])} in ({(255,) * 3, (0,) * 3}, {(255,) * 3, (1, 2, 3)})


def test_black_and_white_letters_are_both_seen() -> None:
    image = lettering((0, 0, 0))
    ImageDraw.Draw(image).rectangle((20, 23, 60, 28), fill=(255, 255, 255, 255))
    assert load_image(image)[0, 0].tolist() == [128] * 3


@pytest.mark.parametrize("background", ["red", "#ff0000", (255, 0, 0), np.array([255, 0, 0])])
def test_the_ground_is_chosen(background) -> None:
    assert load_image(lettering((0, 0, 0)), background=background)[0, 0].tolist() == [255, 0, 0]
    assert load_images(lettering((0, 0, 0)), background=background)[0][0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("background", ["rot", 5, (1, 2), (1, 2, 300), b"red", "\0"])
def test_what_is_no_colour_is_named(background) -> None:
    with pytest.raises(OptionError, match="background"):
        load_image(lettering((0, 0, 0)), background=background)


@given(st.integers(0, 255), st.integers(0, 255), st.integers(1, 254))
@settings(max_examples=40, deadline=None)
def test_half_transparent_pixels_are_mixed_as_pillow_mixes_them(ink, ground, opacity) -> None:
    image = Image.new("RGBA", (4, 4), (ink, ink, ink, opacity))
    expected = Image.alpha_composite(Image.new("RGBA", (4, 4), (ground, ground, ground, 255)), image)
    found = load_image(image, background=(ground,) * 3)
    assert np.abs(found.astype(int) - np.asarray(expected)[:, :, :3]).max() <= 1


# Levels


def deep(bits, low=0):
    """A ramp that reaches white in `bits` bits, as uint16."""
    return np.linspace(low, 2**bits - 1, 64).round().astype(np.uint16).reshape(8, 8)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_few_bits_in_sixteen_are_stretched(bits) -> None:
    ramp = deep(bits)
    expected = np.rint(ramp * (255 / (2**bits - 1))).astype(np.uint8)
    ways = [ramp, ramp.astype(np.int64), encode(Image.fromarray(ramp)), encode(Image.fromarray(ramp), "TIFF")]
    for way in ways:
        np.testing.assert_array_equal(load_image(way)[:, :, 0], expected)


def png_with_significant_bits(grey, bits):
    data = encode(Image.fromarray(grey))
    body = b"sBIT" + bytes([bits])
    chunk = struct.pack(">I", 1) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]


def test_the_file_says_how_many_bits_there_are() -> None:
    dark = deep(12) // 8
    tiff = encode(Image.fromarray(dark), "TIFF", tiffinfo={281: 4095})
    expected = np.rint(dark * (255 / 4095))
    for data in (tiff, png_with_significant_bits(dark, 12)):
        np.testing.assert_array_equal(load_image(data)[:, :, 0], expected)
    # Of sixteen bits, these are dark.
    np.testing.assert_array_equal(load_image(png_with_significant_bits(deep(12), 16))[:, :, 0], np.rint(deep(12) / 257))


def test_a_file_that_declares_too_little_is_not_cut() -> None:
    data = png_with_significant_bits(deep(14), 12)
    np.testing.assert_array_equal(load_image(data)[:, :, 0], np.rint(deep(14) * (255 / 16383)))


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_few_bits_in_sixteen_bit_colours_are_stretched(bits, channels, ending) -> None:
    import cv2

    colours = np.random.default_rng(bits).integers(0, 2**bits, (9, 7, channels)).astype(np.uint16)
    colours[0, 0] = 2**bits - 1
    colours[:, :, 3:] = 65535
    data = cv2.imencode(ending, colours)[1].tobytes()
    expected = np.rint(colours[:, :, 2::-1] * (255 / (2**bits - 1)))
    np.testing.assert_array_equal(load_image(data), expected)
    np.testing.assert_array_equal(load_image(np.dstack([colours[:, :, 2::-1], colours[:, :, 3:]])), expected)


def test_sixteen_bit_colours_of_full_range_are_those_of_pillow() -> None:
    import cv2

    colours = np.random.default_rng(0).integers(0, 65536, (9, 7, 3)).astype(np.uint16)
    data = cv2.imencode(".png", colours)[1].tobytes()
    np.testing.assert_array_equal(load_image(data), np.asarray(Image.open(io.BytesIO(data))))


def test_sixteen_bit_tiffs_in_which_zero_is_white() -> None:
    ramp = deep(16)
    data = encode(Image.fromarray(ramp), "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(load_image(data)[:, :, 0], 255 - np.rint(ramp / 257))


# Formats

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)


@pytest.mark.parametrize(
    ("data", "name", "advice"),
    [
        (HEIC, "HEIC", "pip install pillow-heif"),
        (b"\xff\x0a" + bytes(40), "JPEG XL", "pip install pillow-jxl-plugin"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL", "pip install pillow-jxl-plugin"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG", "PNG"),
        (b"  <!DOCTYPE html><html></html>", "a web page", "download the image itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS", "git lfs pull"),
    ],
)
def test_formats_that_pillow_lacks_are_named(data, name, advice, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(data)
    for source in (data, path, io.BytesIO(data)):
        with pytest.raises(ImageError, match=f"it is {name}; expected .*{advice}"):
            load_image(source)


# Memory

PEAK = """
import resource, sys
import numpy as np
from PIL import Image
from neuronkit.errors import ImageError
from neuronkit.ocr import load_image
load_image(np.zeros((8, 8, 3), np.uint8))
from PIL import PngImagePlugin
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(load_image(sys.argv[1]).shape)
except ImageError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def png_of_zeros(side, bits, colour_type):
    """A PNG of one colour, as small as its format allows."""
    channels = {0: 1, 2: 3, 3: 1, 6: 4}[colour_type]
    row = bytes(1 + -(-side * bits * channels // 8))
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, bits, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def test_many_pixels_are_refused_without_a_warning_of_pillows(tmp_path: Path) -> None:
    data = png_of_zeros(12_000, 1, 0)
    path = tmp_path / "image.png"
    path.write_bytes(data)
    for source in (data, path, io.BytesIO(data)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            filters = list(warnings.filters)
            with pytest.raises(ImageError, match="12000 x 12000 pixels, more than max_pixels"):
                load_image(source)
            assert warnings.filters == filters
        if hasattr(source, "seek"):
            continue
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with pytest.raises(ImageError, match="more than max_pixels"):
                load_image(source)
        assert not caught


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's account of memory")
@pytest.mark.parametrize(
    ("side", "bits", "colour_type", "said"),
    [(13376, 1, 0, "more than max_pixels"), (8192, 1, 0, "(8192, 8192, 3)"), (8192, 8, 6, "(8192, 8192, 3)")],
)
def test_small_files_take_no_more_than_half_a_gigabyte(side, bits, colour_type, said, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(png_of_zeros(side, bits, colour_type))
    out = subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, text=True, check=True).stdout
    assert said in out
    assert float(out.split()[-1]) < 500


def test_arrays_larger_than_files_may_be_are_prepared() -> None:
    from neuronkit.ocr import CraftProcessor
    from neuronkit.ocr.images import MAX_PIXELS, load_pixels

    large = np.broadcast_to(np.uint8(7), (MAX_PIXELS // 8192 + 1, 8192, 3))
    assert load_pixels(large).shape == large.shape
    with pytest.raises(ImageError, match="max_pixels"):
        load_image(large)
    with pytest.raises(ImageError, match="max_pixels"):
        CraftProcessor().preprocess([np.broadcast_to(np.uint8(7), (1 << 20, 1 << 20, 3))])


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for read in (load_image, load_images):
        with pytest.raises(ImageError, match="a named pipe; expected a regular file"):
            read(str(tmp_path / "pipe"))
