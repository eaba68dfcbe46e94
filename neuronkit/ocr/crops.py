"""Word images cut out of a page and set straight, each in one pass over its pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuronkit import checks
from neuronkit.ocr._cv2 import load_cv2
from neuronkit.ocr.geometry import TextBox, as_boxes
from neuronkit.ocr.images import ImageLike, RGBImage, load_pixels

Points = NDArray[np.float32]

_CENTRE = np.float32(0.5)
"""Boxes count from the edge of the first pixel, OpenCV from its centre."""

_LONGEST = 32_766
"""Longest side, in pixels, of an image that OpenCV 4 samples."""


def crop_words(image: ImageLike, boxes: Sequence[TextBox], *, vertical_ratio: float | None = 1.5) -> list[RGBImage]:
    """Cut words out of a page, with perspective and bends taken out.

    Args:
        image: The page; see `load_image`.
        boxes: B boxes, in pixels of the upright image, (0, 0) its top left corner: an upright quad of whole numbers
            is a slice of it. What lies outside repeats its border. A polygon with as many corners above as below, as
            CRAFT's have, is straightened; any other box is cut along its quad.
        vertical_ratio: Words with height / width of at least this are turned by 90 degrees counter-clockwise, so that
            text running down the page reads from left to right. None turns none.

    Returns:
        B images, (h, w, 3) uint8, RGB, as large as the word is in the page.

    Raises:
        ImageError: If `image` is not an image.
        OptionError: If `vertical_ratio` is not a number of at least 1.
        SpecError: If something in `boxes` is not a `TextBox`.

    Examples:
        >>> box = neuronkit.ocr.TextBox(np.array([[2, 2], [42, 2], [42, 12], [2, 12]], np.float32))
        >>> neuronkit.ocr.crop_words(np.zeros((20, 60, 3), np.uint8), [box])[0].shape[:2]
        (10, 40)
    """
    pixels = load_pixels(image)
    if vertical_ratio is not None:
        vertical_ratio = checks.number("vertical_ratio", vertical_ratio, 1)
    return [_crop(pixels, box, vertical_ratio) for box in as_boxes(boxes)]


def _crop(image: RGBImage, box: TextBox, vertical_ratio: float | None) -> RGBImage:
    bent = box.polygon is not None and len(box.polygon) > 4 and len(box.polygon) % 2 == 0
    image, outline = _window(image, box.outline if bent else box.quad)
    top, bottom = _edges(outline)
    width = max(_length(top), _length(bottom))
    height = float(np.hypot(*(bottom - top).T).max())
    turned = vertical_ratio is not None and height >= vertical_ratio * width
    # No word is longer than the page's diagonal, or larger than the page; a box that is gets no more pixels than that.
    longest = min(math.ceil(math.hypot(*image.shape[:2])), _LONGEST)
    width, height = (min(max(round(side), 1), longest) for side in (width, height))
    shrink = min(1.0, math.sqrt(4 * image.shape[0] * image.shape[1] / (width * height)))
    width, height = (max(math.floor(side * shrink), 1) for side in (width, height))
    if bent:
        crop = _straighten(image, top, bottom, width, height)
        return np.ascontiguousarray(np.rot90(crop)) if turned else crop
    corners = np.stack([top[0], top[1], bottom[1], bottom[0]])
    if turned:
        return _warp(image, np.roll(corners, -1, axis=0), height, width)
    return _warp(image, corners, width, height)


def _window(image: RGBImage, outline: Points) -> tuple[RGBImage, Points]:
    """The part of an image that holds a word, no larger than OpenCV takes, and the word's outline in it."""
    size = np.array(image.shape[1::-1])
    if size.max() <= _LONGEST:
        return image, outline
    begin = np.clip(outline.min(axis=0) - 2, 0, size - 1).astype(np.int64)
    end = np.clip(outline.max(axis=0) + 3, begin + 1, size).astype(np.int64)
    image, outline = image[begin[1] : end[1], begin[0] : end[0]], outline - begin.astype(np.float32)
    scale = np.minimum(1.0, _LONGEST / (end - begin))
    if scale.min() < 1:
        width, height = np.maximum(np.floor((end - begin) * scale), 1).astype(int).tolist()
        image = load_cv2().resize(image, (width, height), interpolation=load_cv2().INTER_LINEAR)
    return image, outline * scale.astype(np.float32)


def _edges(outline: Points) -> tuple[Points, Points]:
    """The upper and the lower edge of an outline, both from left to right."""
    half = len(outline) // 2
    return outline[:half], outline[half:][::-1]


def _length(edge: Points) -> float:
    return float(np.hypot(*np.diff(edge, axis=0).T).sum())


def _warp(image: RGBImage, corners: Points, width: int, height: int) -> RGBImage:
    cv2 = load_cv2()
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners - _CENTRE, target - _CENTRE)
    crop: RGBImage = cv2.warpPerspective(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return crop


def _straighten(image: RGBImage, top: Points, bottom: Points, width: int, height: int) -> RGBImage:
    """Sample along lines from the upper to the lower edge, at equal steps along the middle between them."""
    cv2 = load_cv2()
    steps = np.hypot(*np.diff((top + bottom) / 2, axis=0).T)
    places = np.concatenate([[0], np.cumsum(steps)])
    columns = (np.arange(width) + 0.5) / width * places[-1]
    upper, lower = (
        np.stack([np.interp(columns, places, edge[:, axis]) for axis in (0, 1)]).astype(np.float32)
        for edge in (top, bottom)
    )
    down = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
    x, y = (upper[axis] + (lower[axis] - upper[axis]) * down - _CENTRE for axis in (0, 1))
    crop: RGBImage = cv2.remap(image, x, y, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return crop
