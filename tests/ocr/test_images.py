"""load_image takes what people have, and says what is wrong with the rest."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from neuronkit.errors import ImageError, MissingDependencyError
from neuronkit.ocr import _cv2, load_image
from tests.pictures import encode

pytestmark = pytest.mark.arrays

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


EPS = encode(Image.fromarray(RGB), "EPS")


def test_every_way_to_give_an_image_gives_the_same_pixels(tmp_path: Path) -> None:
    import torch

    data = encode(Image.fromarray(RGB))
    path = tmp_path / "an image.png"
    path.write_bytes(data)
    with path.open("rb") as file:
        ways = [str(path), path, data, bytearray(data), memoryview(data), file, io.BytesIO(data)]
        ways += [Image.fromarray(RGB), RGB, torch.from_numpy(RGB.copy()), RGB.astype(np.int64), RGB[::-1][::-1]]
        ways += [RGB / 255.0, (RGB / 255.0).astype(np.float32), RGB.astype(np.uint16) * 257]
        for way in ways:
            found = load_image(way)
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, RGB, err_msg=str(type(way)))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F", "HSV", "PA", "RGBX"])
def test_pillow_modes_become_rgb(mode) -> None:
    if mode in ("I;16", "I", "F"):
        grey = np.arange(0, 65536, 1024).reshape(8, 8)
        pixels = grey.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode])
        image = Image.fromarray(pixels / np.float32(65535) if mode == "F" else pixels)
        expected = np.rint(grey / 257)[:, :, None].repeat(3, axis=2)
    else:
        image = Image.fromarray(RGB)
        image = image.convert("P").convert(mode) if mode == "PA" else image.convert(mode)
        expected = np.asarray(image.convert("RGB"))
    assert image.mode == mode
    np.testing.assert_array_equal(load_image(image), expected)


def test_transparent_palettes_become_rgb() -> None:
    image = Image.fromarray(RGB).convert("RGBA").convert("P")
    image.info["transparency"] = bytes(256)
    np.testing.assert_array_equal(load_image(encode(image)), np.asarray(image.convert("RGBA"))[:, :, :3])


def test_grey_and_transparent_arrays_become_rgb() -> None:
    grey = RGB[:, :, 0]
    for array in (grey, grey[:, :, None], np.dstack([grey] * 3), np.dstack([grey] * 3 + [np.full_like(grey, 255)])):
        np.testing.assert_array_equal(load_image(array), np.dstack([grey] * 3))
    np.testing.assert_array_equal(load_image(grey > 128), np.dstack([(grey > 128) * np.uint8(255)] * 3))


def test_camera_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    data = encode(Image.fromarray(RGB), exif=exif.tobytes())
    np.testing.assert_array_equal(load_image(data), np.rot90(RGB, -1))


def test_arrays_are_neither_copied_nor_changed() -> None:
    before = RGB.copy()
    assert np.shares_memory(load_image(RGB), RGB)
    np.testing.assert_array_equal(RGB, before)


def test_sixteen_bit_files_keep_their_brightness() -> None:
    grey = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    data = encode(Image.fromarray(grey))
    np.testing.assert_array_equal(load_image(data)[:, :, 0], np.rint(grey / 257))


def test_dark_sixteen_bit_images_stay_dark() -> None:
    dark = np.arange(64, dtype=np.uint16).reshape(8, 8)
    swapped = Image.frombytes("I;16B", (8, 8), dark.astype(">u2").tobytes())
    ppm = b"P5 8 8 65535\n" + dark.astype(">u2").tobytes()
    for way in (dark, dark.astype(">u2"), encode(Image.fromarray(dark)), encode(swapped, "TIFF"), ppm):
        assert load_image(way).max() == 0


def test_a_decompression_bomb_is_refused_from_its_header() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    with pytest.raises(ImageError, match="larger than Pillow opens"):
        load_image(png)
    with pytest.raises(ImageError, match="more than max_pixels=10"):
        load_image(encode(Image.fromarray(RGB)), max_pixels=10)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b"", "0 bytes"),
        (b"not an image", "cannot be read as an image"),
        ("/there/is/nothing.png", "No such file"),
        ("/", "a folder"),
        (os.devnull, "a device; expected a regular file"),
        ("s3://bucket/a.png", "download it"),
        (EPS, "convert it to PNG"),
        ("https://example.org/a.png", "download it"),
        (b"/bytes/path".decode().encode(), "cannot be read"),
        (None, "got a NoneType; expected an image"),
        (3, "got a int; expected an image"),
        (object(), "got a object; expected an image"),
        (np.zeros((0, 4, 3), np.uint8), "is empty"),
        (np.zeros((3, 8, 9), np.uint8), "channels come last"),
        (np.zeros((4, 4, 2), np.uint8), "is not an image"),
        (np.zeros((2, 4, 4, 3), np.uint8), "is not an image"),
        (np.zeros(4), "is not an image"),
        (np.full((4, 4), np.nan), "nan to nan"),
        (np.full((4, 4), 200.0), "expected 0 to 1"),
        (np.full((4, 4), np.inf), "inf"),
        (np.full((4, 4), -1), "from -1 to -1"),
        (np.full((4, 4), 70_000), "expected 0 to 255"),
        (np.zeros((4, 4), complex), "expected brightnesses"),
        (np.full((4, 4), "a"), "expected brightnesses"),
        (np.full((4, 4), None), "expected brightnesses"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_image_is_named(given, message) -> None:
    with pytest.raises(ImageError, match=message):
        load_image(given)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_truncated_files_are_refused(format) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(pixels), format)
    for length in (1, 10, len(data) // 2):
        with pytest.raises(ImageError, match="cannot be read as an image"):
            load_image(data[:length])


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_broken_files_give_pixels_or_an_image_error(data) -> None:
    format = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]))
    whole = bytearray(encode(Image.fromarray(RGB), format))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = load_image(bytes(whole), max_pixels=1_000_000)
    except ImageError:
        return
    assert found.ndim == 3
    assert found.dtype == np.uint8


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_array_gives_pixels_or_an_image_error(data) -> None:
    dtype = data.draw(
        st.sampled_from(["?", "u1", "i1", "u2", "i8", "u8", "f2", "f4", "f8", "c8", "O", "U1", "M8[s]", "V4"])
    )
    shape = data.draw(st.lists(st.integers(0, 5), max_size=4))
    raw = data.draw(st.binary(min_size=8, max_size=8))
    fill = np.frombuffer(raw, dtype="u1").repeat(np.dtype("u8").itemsize)
    size = int(np.prod(shape))
    if dtype in ("O", "U1"):
        array = np.full(shape, "x").astype(dtype)
    else:
        array = np.resize(fill, max(size, 1) * np.dtype(dtype).itemsize).view(dtype)[:size].reshape(shape)
    try:
        found = load_image(array)
    except ImageError:
        return
    assert found.shape == (*array.shape[:2], 3)
    assert found.dtype == np.uint8


def test_a_broken_opencv_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def broken(name, *args, **kwargs):
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
        return real(name, *args, **kwargs)

    _cv2.load_cv2.cache_clear()
    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(MissingDependencyError, match=r"libGL\.so\.1.*pip install opencv-python-headless"):
        _cv2.load_cv2()
    monkeypatch.undo()
    assert _cv2.load_cv2().resize
