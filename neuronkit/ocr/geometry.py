"""Boxes, and the frames that they are measured in: the source image, and the detector's canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronkit import checks
from neuronkit.errors import SpecError
from neuronkit.ocr._arrays import real_numbers

STRIDE = 32
"""CRAFT halves its input five times, so both sides of a canvas are multiples of this."""

_ROUNDED_ONE = 1 + 1e-3

LONGEST_SIDE = (1 << 31) - 1
"""What OpenCV counts pixels in."""


@dataclass(frozen=True, eq=False)
class TextBox:
    """Where a word is.

    Attributes:
        quad: (4, 2) float32, (x, y), clockwise from the corner nearest the top left.
        confidence: Highest region score inside the word, 0..1; higher scores count as 1.
        polygon: (K, 2) float32, (x, y), clockwise from the top left, following a curved word; None where the
            quad fits or without ``polygons=True``.
        characters: How many characters the region score shows; None unless they were counted.

    Raises:
        SpecError: If a quad or polygon is not an array of finite points, or has another number of corners.
        OptionError: If the confidence or the number of characters is not a number of at least 0.

    Examples:
        >>> neuronkit.ocr.TextBox(np.array([[0, 0], [9, 0], [9, 5], [0, 5]], np.float32)).confidence
        1.0
    """

    quad: NDArray[np.float32]
    confidence: float = 1.0
    polygon: NDArray[np.float32] | None = None
    characters: int | None = None

    def __post_init__(self) -> None:
        quad = _points("quad", self.quad)
        if quad.shape != (4, 2):
            raise SpecError(f"got quad of shape {quad.shape}; expected (4, 2); give four (x, y) corners, clockwise")
        object.__setattr__(self, "quad", quad)
        if self.polygon is not None:
            polygon = _points("polygon", self.polygon)
            if len(polygon) < 3:
                raise SpecError(f"got a polygon of {len(polygon)} corners; expected at least 3; leave it None")
            object.__setattr__(self, "polygon", polygon)
        checks.set_field(self, "confidence", probability)
        checks.set_field(self, "characters", checks.integer, 0, 1 << 31, optional=True)

    @property
    def outline(self) -> NDArray[np.float32]:
        """(K, 2) float32: the polygon where there is one, the quad otherwise."""
        return self.quad if self.polygon is None else self.polygon

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of the upright rectangle around the outline."""
        left, top = self.outline.min(axis=0)
        right, bottom = self.outline.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    def to_dict(self) -> dict[str, Any]:
        """Give the box as JSON can hold it: corners to a tenth of a pixel, the confidence to four digits."""
        return {
            "quad": _rounded(self.quad),
            "polygon": None if self.polygon is None else _rounded(self.polygon),
            "confidence": round(self.confidence, 4),
            "characters": self.characters,
        }


@dataclass(frozen=True)
class Letterbox:
    """How a source image lies in a canvas: scaled, at the top left, with zeros to its right and below.

    Attributes:
        source_size: (height, width) of the source image, in its own pixels.
        resized_size: (height, width) of the scaled image, in canvas pixels.
        canvas_size: (height, width) of the whole canvas, multiples of 32.
        scale: Canvas pixels per source pixel. As in the original one number serves both axes, although the scaled
            sides are cut to whole pixels.

    Raises:
        OptionError: If a size is not two whole numbers above 0, or the scale no number above 0.
        SpecError: If the canvas does not hold the resized image, rounded up to multiples of 32.

    Examples:
        >>> _, (letterbox,) = CraftProcessor(canvas=(64, 96)).preprocess([np.zeros((32, 96, 3), np.uint8)])
        >>> letterbox.source_size
        (32, 96)
    """

    source_size: tuple[int, int]
    resized_size: tuple[int, int]
    canvas_size: tuple[int, int]
    scale: float

    def __post_init__(self) -> None:
        for name in ("source_size", "resized_size", "canvas_size"):
            checks.set_field(self, name, checks.integers, 2, 1, LONGEST_SIDE)
        checks.set_field(self, "scale", checks.number, 0.0, open_low=True)
        if any(v > c for v, c in zip(self.valid_size, self.canvas_size, strict=True)):
            raise SpecError(
                f"got canvas_size={self.canvas_size} (height, width); expected at least {self.valid_size}, "
                f"{self.resized_size} rounded up to multiples of {STRIDE}; give a larger canvas"
            )

    @classmethod
    def fit(
        cls,
        source_size: tuple[int, int],
        *,
        canvas_size: int = 1280,
        mag_ratio: float = 1.5,
        canvas: tuple[int, int] | None = None,
    ) -> Letterbox:
        """Plan how an image is scaled into its canvas (clovaai/CRAFT-pytorch, imgproc.py).

        Args:
            source_size: (height, width) of the image.
            canvas_size: The longer side after scaling, at most.
            mag_ratio: How much the image may grow, at most.
            canvas: (height, width) of a fixed canvas that both sides have to fit as well, multiples of 32. None
                takes the smallest one that holds the scaled image.

        Returns:
            The letterbox. Sides are cut to whole pixels as in the original; where that left none (a line of
            pixels) one pixel stays.

        Raises:
            OptionError: If a size is not a whole number above 0, or `mag_ratio` no number above 0.
            SpecError: If the canvas does not hold the resized image, rounded up to multiples of 32.
        """
        height, width = checks.integers("source_size", source_size, 2, 1, LONGEST_SIDE)
        canvas_size = checks.integer("canvas_size", canvas_size, 1, LONGEST_SIDE)
        mag_ratio = checks.number("mag_ratio", mag_ratio, 0, open_low=True)
        if canvas is not None:
            canvas = checks.integers("canvas", canvas, 2, STRIDE, LONGEST_SIDE)  # type: ignore[assignment]
        longest = max(height, width)
        scale = min(mag_ratio * longest, canvas_size) / longest
        if canvas is not None:
            scale = min(scale, canvas[0] / height, canvas[1] / width)
        resized = (max(1, int(height * scale)), max(1, int(width * scale)))
        return cls((height, width), resized, canvas or (_round_up(resized[0]), _round_up(resized[1])), scale)

    @property
    def valid_size(self) -> tuple[int, int]:
        """(height, width) of the original's canvas: the scaled image rounded up to multiples of 32.

        CRAFT treats all of it as image. What a fixed canvas adds to it is padding, which an exact static model masks.
        """
        return _round_up(self.resized_size[0]), _round_up(self.resized_size[1])

    def to_source(self, points: NDArray[Any], *, stride: int = 1) -> NDArray[np.float32]:
        """Move points from the canvas to the source image.

        Args:
            points: (..., 2), (x, y), in canvas pixels divided by `stride`.
            stride: 2 for points in CRAFT's score maps, which are half the canvas.

        Returns:
            (..., 2) float32, (x, y), in source pixels, not clipped to the image.

        Raises:
            SpecError: If `points` are not an array of points.
            OptionError: If `stride` is not a whole number of at least 1.
        """
        stride = checks.integer("stride", stride, 1, LONGEST_SIDE)
        return _scaled(points, 1 / self.scale * stride)

    def to_canvas(self, points: NDArray[Any], *, stride: int = 1) -> NDArray[np.float32]:
        """Move points from the source image to the canvas; the inverse of `to_source`.

        Args:
            points: (..., 2), (x, y), in source pixels.
            stride: What canvas pixels are divided by; 2 for CRAFT's score maps.

        Returns:
            (..., 2) float32, (x, y), in canvas pixels divided by `stride`.

        Raises:
            SpecError: If `points` are not an array of points.
            OptionError: If `stride` is not a whole number of at least 1.
        """
        return _scaled(points, self.scale / checks.integer("stride", stride, 1, LONGEST_SIDE))


def surrounding(boxes: Sequence[TextBox]) -> TextBox:
    """Give the smallest rectangle around boxes, one or more, whose sides run as the boxes' do.

    Its confidence is the mean of theirs. It is upright where no box is clearly wider than high.
    """
    turn = rotation(tilt(np.stack([box.quad for box in boxes])))
    corners = np.concatenate([box.outline for box in boxes]).astype(np.float64) @ turn
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    quad = np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) @ turn.T
    furthest = float(np.finfo(np.float32).max)
    return TextBox(
        np.clip(quad, -furthest, furthest).astype(np.float32), float(np.mean([box.confidence for box in boxes]))
    )


def tilt(quads: NDArray[Any]) -> float:
    """Median direction, in radians, of the long side of the quads (N, 4, 2) that are clearly wider than high."""
    first, second, third, fourth = quads.astype(np.float64).transpose(1, 2, 0)
    across, down = second - first + third - fourth, fourth - first + third - second
    x, y = across[:, np.hypot(*across) > 1.5 * np.hypot(*down)]
    return float(np.median(np.arctan2(y, x))) if len(x) else 0.0


def rotation(angle: float) -> NDArray[np.float64]:
    """The (2, 2) matrix that turns columns (x, y) by an angle in radians, clockwise on a page, whose y points down."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def probability(name: str, value: Any) -> float:
    """Return `value` as a float in [0, 1]; what rounding put above 1 is 1.

    Raises:
        OptionError: If it is not such a number.
    """
    return min(checks.number(name, value, 0, _ROUNDED_ONE), 1.0)


def as_boxes(boxes: Any) -> list[TextBox]:
    """Check that `boxes` is a list of boxes.

    Raises:
        SpecError: If it is not a list or tuple, or something in it is not a `TextBox`.
    """
    if not isinstance(boxes, (list, tuple)):
        raise SpecError(f"got boxes={checks.shown(boxes)}; expected a list of boxes; give TextBox objects")
    for box in boxes:
        if not isinstance(box, TextBox):
            raise SpecError(f"got {checks.shown(box)} among the boxes; expected a TextBox; give TextBox objects")
    return list(boxes)


def _scaled(points: NDArray[Any], factor: float) -> NDArray[np.float32]:
    # In float64 and then cut, as NumPy multiplies float32 arrays in place by a pair of numbers in the original.
    given = real_numbers(points)
    if given is None or given.shape[-1:] != (2,):
        found = checks.shown(points) if given is None else f"shape {given.shape}"
        raise SpecError(f"got points={found}; expected an array of points; give (..., 2), one (x, y) for each")
    with np.errstate(over="ignore"):
        return (given.astype(np.float64) * factor).astype(np.float32)


def _rounded(points: NDArray[np.float32]) -> list[list[float]]:
    # Adding 0 makes -0.0 a plain 0.0.
    return [[round(float(x), 1) + 0.0, round(float(y), 1) + 0.0] for x, y in points]


def _round_up(side: int) -> int:
    return -(-side // STRIDE) * STRIDE


def _points(name: str, value: Any) -> NDArray[np.float32]:
    given = real_numbers(value)
    if given is None:
        raise SpecError(f"got {name}={checks.shown(value)}; expected an array of numbers; give (K, 2) float32")
    with np.errstate(over="ignore"):
        points = given.astype(np.float32, copy=False)
    if points.ndim != 2 or points.shape[1] != 2:
        raise SpecError(f"got {name} of shape {points.shape}; expected (K, 2); give one (x, y) for each corner")
    if not np.isfinite(points).all():
        raise SpecError(f"got {name} with NaN or infinity; expected finite coordinates; leave such boxes out")
    return points
