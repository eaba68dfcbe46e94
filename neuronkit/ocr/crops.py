"""Word images cut out of a page and set straight."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuronkit.errors import SpecError
from neuronkit.ocr import _checks
from neuronkit.ocr._cv2 import load_cv2
from neuronkit.ocr.geometry import TextBox
from neuronkit.ocr.images import RGBImage, load_image


def crop_words(image: RGBImage, boxes: Sequence[TextBox], *, vertical_ratio: float | None = 1.5) -> list[RGBImage]:
    """Cut words out of a page, with the perspective taken out.

    Args:
        image: (H, W, 3) uint8, RGB.
        boxes: B boxes, in pixels of `image`. What lies outside of it repeats its border.
        vertical_ratio: Words with height / width of at least this are turned by 90 degrees counter-clockwise, so that
            text running down the page reads from left to right. None turns none.

    Returns:
        B images, (h, w, 3) uint8, RGB, as large as the word is in the page.

    Raises:
        ImageError: If `image` is not an image.
        OptionError: If `vertical_ratio` is not a number of at least 1.
        SpecError: If something in `boxes` is not a `TextBox`.
    """
    image = load_image(image)
    if vertical_ratio is not None:
        vertical_ratio = _checks.number("vertical_ratio", vertical_ratio, 1)
    crops = []
    for box in boxes:
        if not isinstance(box, TextBox):
            raise SpecError(f"a {type(box).__name__} is not a box; give TextBox objects")
        crop = _warp_quad(image, box.quad)
        if vertical_ratio is not None and crop.shape[0] >= vertical_ratio * crop.shape[1]:
            crop = np.ascontiguousarray(np.rot90(crop))
        crops.append(crop)
    return crops


def _warp_quad(image: RGBImage, quad: NDArray[np.float32]) -> RGBImage:
    cv2 = load_cv2()
    sides = np.linalg.norm(np.roll(quad, -1, axis=0).astype(np.float64) - quad, axis=1)
    # No word is longer than the page's diagonal; a box that is asks for no more detail than that.
    longest = math.ceil(math.hypot(*image.shape[:2]))
    width, height = (int(np.clip(round(max(sides[i], sides[i + 2])), 1, longest)) for i in (0, 1))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    # Pixel centres lie half a pixel inside the corners of a crop.
    matrix = cv2.getPerspectiveTransform(quad, target - np.float32(0.5))
    crop: RGBImage = cv2.warpPerspective(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return crop
