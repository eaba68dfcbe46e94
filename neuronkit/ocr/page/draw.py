"""Boxes, text and heat maps drawn over a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronkit.ocr._cv2 import load_cv2

if TYPE_CHECKING:
    from neuronkit.ocr.geometry import Letterbox, TextBox
    from neuronkit.ocr.images import RGBImage
    from neuronkit.ocr.page.fonts import TextWriter

_BOX = (214, 39, 40)
_TEXT = (31, 72, 180)
_PAPER = (255, 255, 255)


def draw_boxes(image: RGBImage, boxes: Sequence[TextBox]) -> RGBImage:
    """Draw the outline of each word.

    Args:
        image: (H, W, 3) uint8, RGB; left as it is.
        boxes: Places of words, in pixels of `image`.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    from PIL import Image, ImageDraw

    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    for box in boxes:
        outline = [(x, y) for x, y in _near(image, box.outline).tolist()]
        pen.line([*outline, outline[0]], fill=_BOX, width=_stroke(image))
    return np.array(canvas)


def draw_text(image: RGBImage, words: Sequence[tuple[str, TextBox]], writer: TextWriter) -> RGBImage:
    """Write what was read above each word.

    Args:
        image: (H, W, 3) uint8, RGB; left as it is.
        words: Texts and their places, in pixels of `image`.
        writer: Chooses the fonts.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    from PIL import Image, ImageDraw

    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    for read, box in words:
        left, top = _near(image, box.outline).min(axis=0).tolist()
        text, font = writer.layout(read, _font_size(box))
        _, _, right, bottom = pen.textbbox((0, 0), text, font=font)
        x, y = max(0.0, left), max(0.0, top - bottom - _stroke(image))
        pen.rectangle((x, y, x + right, y + bottom), fill=_PAPER)
        pen.text((x, y), text, fill=_TEXT, font=font)
    return np.array(canvas)


def draw_heat_map(image: RGBImage, scores: NDArray[Any], letterbox: Letterbox) -> RGBImage:
    """Lay a score map over the image: blue where it is 0, red where it is 1.

    Args:
        image: (H, W, 3) uint8, RGB, the letterbox's source; left as it is.
        scores: (h, w) floating point, half the size of the letterbox's canvas.
        letterbox: How the image lay in the canvas.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    cv2 = load_cv2()
    height, width = (max(1, round(side / 2)) for side in letterbox.resized_size)
    levels = (np.clip(scores[:height, :width].astype(np.float32), 0, 1) * 255).astype(np.uint8)
    levels = cv2.resize(levels, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)
    blended: RGBImage = cv2.addWeighted(image, 0.5, colours, 0.5, 0)
    return blended


def _near(image: RGBImage, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points no further away than Pillow draws lines to in finite time."""
    reach = 4 * max(image.shape[:2])
    return np.clip(points, -reach, reach)


def _stroke(image: RGBImage) -> int:
    return max(1, round(max(image.shape[:2]) / 800))


def _font_size(box: TextBox) -> float:
    quad = box.quad.astype(np.float64)
    height = min(np.hypot(*(quad[3] - quad[0])), np.hypot(*(quad[1] - quad[0])))
    return float(np.clip(0.6 * height, 9, 48))
