"""CraftProcessor: preprocessing as in the original, boxes back in source pixels, settings that survive JSON."""

from __future__ import annotations

import json
from typing import NoReturn

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronkit.errors import ImageError, OptionError, SpecError
from neuronkit.ocr import CraftProcessor, Letterbox, find_boxes, processor_from_dict
from tests.pictures import noise

from .score_maps import make_score_maps

pytestmark = pytest.mark.arrays


def defined(image, canvas_size, mag_ratio):
    """Preprocess by the definition: scale on uint8, zeros around it, then normalise everything."""
    height, width = image.shape[:2]
    ratio = min(mag_ratio * max(height, width), canvas_size) / max(height, width)
    resized = cv2.resize(image, (int(width * ratio), int(height * ratio)))
    canvas = np.zeros((-(-resized.shape[0] // 32) * 32, -(-resized.shape[1] // 32) * 32, 3), np.float32)
    canvas[: resized.shape[0], : resized.shape[1]] = resized
    mean = np.float32([0.485 * 255, 0.456 * 255, 0.406 * 255])
    return ((canvas - mean) / np.float32([0.229 * 255, 0.224 * 255, 0.225 * 255])).transpose(2, 0, 1)


@given(st.integers(2, 200), st.integers(2, 200), st.sampled_from([64, 100, 160]), st.sampled_from([0.5, 1.0, 1.5]))
@settings(max_examples=60, deadline=None)
def test_preprocessing_is_the_originals(height, width, canvas_size, mag_ratio) -> None:
    image = noise(height, width, height * 211 + width)
    ratio = min(mag_ratio * max(height, width), canvas_size) / max(height, width)
    if min(int(height * ratio), int(width * ratio)) == 0:
        return  # the original raises here
    canvas, _ = CraftProcessor(canvas_size=canvas_size, mag_ratio=mag_ratio).preprocess([image])
    np.testing.assert_array_equal(canvas[0], defined(image, canvas_size, mag_ratio))


@pytest.mark.peers
@pytest.mark.parametrize("size", [(77, 60), (300, 400), (1000, 2100)], ids=str)
def test_preprocessing_is_easyocrs(size) -> None:
    from easyocr.imgproc import normalizeMeanVariance, resize_aspect_ratio

    image = noise(*size)
    expected, ratio, _ = resize_aspect_ratio(image, 1280, interpolation=cv2.INTER_LINEAR, mag_ratio=1.5)
    canvas, (letterbox,) = CraftProcessor().preprocess([image])
    np.testing.assert_allclose(canvas[0], normalizeMeanVariance(expected).transpose(2, 0, 1), rtol=0, atol=1e-6)
    assert letterbox.scale == ratio
    assert letterbox.canvas_size == letterbox.valid_size == canvas.shape[2:]


def test_a_fixed_canvas_holds_every_image_at_its_top_left() -> None:
    images = [noise(40, 200), noise(200, 40), noise(1, 1), noise(20_000, 30)]
    processor = CraftProcessor(canvas=(64, 96))
    canvas, letterboxes = processor.preprocess(images)
    assert canvas.shape == (4, 3, 64, 96)
    assert [box.resized_size for box in letterboxes] == [(19, 96), (64, 12), (1, 1), (64, 1)]
    assert [box.valid_size for box in letterboxes] == [(32, 96), (64, 32), (32, 32), (64, 32)]
    zero = -np.array(processor.mean) / processor.std
    for planes, box in zip(canvas, letterboxes, strict=True):
        height, width = box.resized_size
        for outside in (planes[:, height:], planes[:, :, width:]):
            np.testing.assert_allclose(outside, np.broadcast_to(zero[:, None, None], outside.shape), rtol=1e-6)


def test_a_batch_takes_the_largest_canvas_and_changes_no_image() -> None:
    images = [noise(64, 64), noise(30, 100)]
    processor = CraftProcessor(mag_ratio=1.0)
    canvas, letterboxes = processor.preprocess(images)
    assert canvas.shape == (2, 3, 64, 128)
    for image, planes, box in zip(images, canvas, letterboxes, strict=True):
        alone, (own,) = processor.preprocess([image])
        assert own.valid_size == box.valid_size
        np.testing.assert_array_equal(planes[:, : own.canvas_size[0], : own.canvas_size[1]], alone[0])
        assert box.canvas_size == (64, 128)


def test_boxes_come_back_in_source_pixels_and_padding_is_not_searched() -> None:
    region, affinity = make_score_maps(160, 16, 5)
    maps = np.ones((2, 192, 200, 2), np.float32)
    maps[:, :160, :160] = np.stack([region, affinity], -1)
    # The padding is all text: if it were searched it would join and add boxes.
    letterboxes = [Letterbox((640, 600), (320, 300), (384, 400), 0.5), Letterbox((80, 80), (320, 320), (384, 400), 4.0)]
    expected = [box.quad for box in find_boxes(region, affinity)]
    assert len(expected) > 8
    for boxes, factor in zip(CraftProcessor().postprocess(maps, letterboxes), (4.0, 0.5), strict=True):
        np.testing.assert_allclose([box.quad for box in boxes], np.multiply(expected, factor), rtol=1e-6)


@pytest.mark.parametrize(
    "shape", [(1, 160, 160), (2, 160, 160, 2), (1, 159, 160, 2), (1, 160, 160, 1), (0, 160, 160, 2)]
)
def test_score_maps_that_belong_to_other_letterboxes_are_refused(shape) -> None:
    with pytest.raises(SpecError, match="do not belong"):
        CraftProcessor().postprocess(np.zeros(shape, np.float32), [Letterbox((320, 320), (320, 320), (320, 320), 1.0)])


def test_settings_survive_json() -> None:
    processor = CraftProcessor(canvas=(640, 1280), mag_ratio=2.75, mean=(0.5, 0.4, 0.3), low_text=0.3, min_area=5)
    settings = json.loads(json.dumps(processor.to_dict()))
    assert settings["kind"] == "craft"
    assert processor_from_dict(settings) == processor
    assert CraftProcessor.from_dict(settings) == processor


def test_defaults_are_the_originals() -> None:
    processor = CraftProcessor()
    assert (processor.canvas_size, processor.mag_ratio) == (1280, 1.5)
    assert (processor.text_threshold, processor.link_threshold, processor.low_text) == (0.7, 0.4, 0.4)
    assert CraftProcessor(canvas=(64, 2560)).canvas_size == 2560


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"canvas_size": 0}, "canvas_size=0"),
        ({"canvas_size": 12.5}, "canvas_size=12.5"),
        ({"mag_ratio": 0}, "mag_ratio=0"),
        ({"mag_ratio": float("nan")}, "mag_ratio=nan"),
        ({"canvas": (100, 64)}, r"give \(128, 64\)"),
        ({"canvas": 64}, "expected 2 whole numbers"),
        ({"canvas": (64, 1 << 40)}, "canvas"),
        ({"mean": (0.5, 0.5)}, "expected 3 numbers"),
        ({"std": (0.5, 0, 0.5)}, "std"),
        ({"min_area": -1}, "min_area=-1"),
    ],
)
def test_options_are_checked(options, message) -> None:
    with pytest.raises(OptionError, match=message):
        CraftProcessor(**options)


@pytest.mark.parametrize("settings", [{"kind": "parseq"}, {"kind": "craft", "colour": 1}, {"kind": "x"}, {}, None, []])
def test_foreign_settings_are_refused(settings) -> None:
    with pytest.raises(OptionError):
        processor_from_dict(settings) if settings != {"kind": "parseq"} else CraftProcessor.from_dict(settings)


def test_a_canvas_without_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(shape, dtype) -> NoReturn:
        raise MemoryError("Unable to allocate")

    monkeypatch.setattr(np, "empty", empty)
    with pytest.raises(SpecError, match="expected a smaller one; give fewer images"):
        CraftProcessor().preprocess([np.zeros((9, 9, 3), np.uint8)])


def test_batches_are_lists_of_images() -> None:
    with pytest.raises(SpecError, match="empty"):
        CraftProcessor().preprocess([])
    with pytest.raises(SpecError, match="expected a list"):
        CraftProcessor().preprocess(noise(4, 4))
    with pytest.raises(ImageError):
        CraftProcessor().preprocess([noise(4, 4), b"x"])
