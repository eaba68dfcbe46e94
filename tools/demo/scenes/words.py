"""One word as a camera or scanner shows it, cropped as a detector would."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from neuronkit.demo.vocabulary import WORDS
from tools.demo.scenes.camera import photograph, shade, shrink
from tools.demo.scenes.faces import Faces, load_face
from tools.demo.scenes.grounds import Grounds, Pixels
from tools.demo.scenes.texts import dictionary, sample_label, sample_text

_RECEIPT_SHARE = 0.4
_LUMINANCE = np.array([0.114, 0.587, 0.299], np.float32)


@dataclass(frozen=True)
class Scenery:
    """What scenes are made of.

    Attributes:
        faces: Font faces.
        grounds: Photographs to print on.
        words: A dictionary.
    """

    faces: Faces
    grounds: Grounds = field(default_factory=Grounds)
    words: tuple[str, ...] = WORDS

    @classmethod
    def installed(cls) -> Scenery:
        """Everything that the packages of `packages.txt` and of ``requirements/train.txt`` install."""
        return cls(Faces.installed(), Grounds.installed(), dictionary())


def render_crop(
    rng: np.random.Generator, scenery: Scenery, *, characters: int = 94, unseen: bool = False
) -> tuple[NDArray[np.uint8], str]:
    """Render a word.

    Args:
        rng: Source of every choice.
        scenery: Faces, grounds and words.
        characters: 94 for labels as written, 36 for small letters and digits alone.
        unseen: Take only words that are kept from training.

    Returns:
        The crop, (H, W, 3) uint8, RGB, and its label.
    """
    receipt = rng.random() < _RECEIPT_SHARE and not unseen
    text, label = sample_label(rng, scenery.words, characters=characters, unseen=unseen, receipt=receipt)
    face = scenery.faces.choose(rng)
    if receipt and rng.random() < 0.7 and scenery.faces.monospaced:
        face = scenery.faces.monospaced[rng.integers(len(scenery.faces.monospaced))]
    mask = draw_text(rng, text, face)
    mask = _bend(rng, mask) if rng.random() < (0.05 if receipt else 0.25) else mask
    inner, outer = _margins(rng, mask.shape)
    mask = np.pad(mask, (outer[:2], outer[2:]))
    if rng.random() < 0.35:
        _add_neighbours(rng, mask, outer, scenery, face)
    ground = scenery.grounds.paper(rng, mask.shape[:2]) if receipt else scenery.grounds.cut(rng, mask.shape[:2])
    if rng.random() < 0.15:
        _draw_frame(rng, ground)
    image = _paint(rng, ground, mask)
    image = _cut_out(rng, image, inner)
    image = shrink(rng, shade(rng, image))
    return photograph(rng, image, image.shape[0])[..., ::-1], label


def draw_text(rng: np.random.Generator, text: str, face: Path) -> NDArray[np.uint8]:
    """Draw a text as a mask, cut to its ink, with its own spacing, weight, slant and printing."""
    font = load_face(face)
    if rng.random() < 0.25:
        mask = _draw_spaced(rng, text, face)
    else:
        left, top, right, bottom = font.getbbox(text)
        picture = Image.new("L", (max(1, round(right - left)), max(1, round(bottom - top))))
        ImageDraw.Draw(picture).text((-left, -top), text, font=font, fill=255)
        mask = np.array(picture)
    mask = mask if mask.any() else np.full((4, 4), 255, np.uint8)
    shape = rng.random()
    if shape < 0.1:
        kernel = np.ones((int(rng.integers(2, 4)),) * 2, np.uint8)
        mask = np.asarray(cv2.dilate(np.pad(mask, 2), kernel), np.uint8)
    elif shape < 0.25:
        mask = _print_thermally(rng, mask)
    # Condensed and wide, slanted either way.
    stretch = float(np.exp(rng.normal(0, 0.18)))
    slant = float(rng.normal(0, 0.15)) if rng.random() < 0.25 else 0.0
    height, width = mask.shape
    new = max(4, round(width * stretch))
    if slant or abs(new - width) > 2:
        reach = abs(slant) * height
        matrix = np.array([[new / width, -slant, max(slant, 0.0) * height], [0, 1, 0]])
        mask = np.asarray(cv2.warpAffine(mask, matrix, (round(new + reach), height)), np.uint8)
    return mask


def _draw_spaced(rng: np.random.Generator, text: str, face: Path) -> NDArray[np.uint8]:
    """Draw character by character: spaced wider or closer, and out of line now and then."""
    font = load_face(face)
    extra = float(rng.uniform(-0.06, 0.5)) * 48
    jitter = float(rng.uniform(0, 4)) if rng.random() < 0.5 else 0.0
    width = sum(font.getlength(c) for c in text) + max(extra, 0) * len(text) + 96
    picture = Image.new("L", (int(width), 160))
    pen, draw = 40.0, ImageDraw.Draw(picture)
    for character in text:
        draw.text((pen, 40 + float(rng.normal(0, 1)) * jitter), character, font=font, fill=255)
        pen += font.getlength(character) + extra
    box = picture.getbbox()
    return np.array(picture if box is None else picture.crop(box))


def _print_thermally(rng: np.random.Generator, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Dots, faint bands and worn ink, as tills and dot matrix printers leave them."""
    height, width = mask.shape
    if rng.random() < 0.4:
        pitch = int(rng.integers(2, 6))
        dots = np.ones((pitch, pitch), np.float32)
        dots[0, :] = rng.uniform(0.2, 0.7)
        dots[:, 0] = rng.uniform(0.2, 0.7)
        worn = np.tile(dots, (height // pitch + 1, width // pitch + 1))[:height, :width]
    else:
        coarse = rng.uniform(0.15, 1.6, size=(max(2, height // 6), max(2, width // 6))).astype(np.float32)
        worn = np.clip(cv2.resize(coarse, (width, height)), 0, 1)
    return np.asarray(mask * worn, np.uint8)


def _bend(rng: np.random.Generator, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bend a line of text into an arc or a wave; each column keeps its direction."""
    height, width = mask.shape
    depth = float(rng.uniform(-0.25, 0.25)) * min(width, 5 * height)
    u = np.linspace(-1, 1, width, dtype=np.float32)
    shift = depth * (u**2 if rng.random() < 0.7 else np.sin(u * rng.uniform(1, 4)))
    shift -= shift.min()
    out = height + int(np.ceil(shift.max()))
    # Letters lean with the line.
    lean = np.gradient(shift)
    y = np.arange(out, dtype=np.float32)[:, None] - shift[None]
    x = np.arange(width, dtype=np.float32)[None] + (y - height / 2) * lean[None] * 0.7
    return np.asarray(cv2.remap(mask, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR), np.uint8)


def _margins(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[NDArray[np.float32], list[int]]:
    """Choose the four corners to cut out, and the border (top, bottom, left, right) that they need."""
    height, width = shape[:2]
    near = max(height, 24)
    border = [int(0.45 * near)] * 4
    wide = 0.05 if rng.random() < 0.3 else 0.32
    left, top, right, bottom = rng.uniform(-0.04, wide, size=4) * near
    upper = [(-left, -top), (width + right, -top)]
    corners = np.array([*upper, (width + right, height + bottom), (-left, height + bottom)])
    spread = float(rng.choice([0.01, 0.06, 0.14], p=[0.4, 0.4, 0.2]))
    corners += rng.uniform(-spread, spread, size=(4, 2)) * near
    steep = float(rng.choice([1.0, 3.0, 9.0], p=[0.45, 0.4, 0.15]))
    tilt = float(np.clip(np.radians(rng.normal(0, steep)), -0.35 * near / width, 0.35 * near / width))
    middle = np.array([width / 2, height / 2])
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    corners = (corners - middle) @ turn + middle + [border[2], border[0]]
    return corners.astype(np.float32), border


def _add_neighbours(
    rng: np.random.Generator, mask: NDArray[np.uint8], border: list[int], scenery: Scenery, face: Path
) -> None:
    """Let text of the lines above and below, and of the same line, reach into the border."""
    height, width = mask.shape
    top, bottom, left, right = border
    gap = int(rng.integers(4, 14))
    for side in rng.permutation(4)[: rng.integers(1, 4)]:
        other = draw_text(rng, sample_text(rng, scenery.words), face)
        h, w = other.shape
        if side < 2:
            x = int(rng.integers(-w // 2, max(1, width - w // 2)))
            y = top - gap - h if side == 0 else height - bottom + gap
        else:
            y = top + int(rng.integers(-4, 5))
            x = left - gap * 2 - w if side == 2 else width - right + gap * 2
        y0, x0, y1, x1 = max(y, 0), max(x, 0), min(y + h, height), min(x + w, width)
        if y0 < y1 and x0 < x1:
            area = mask[y0:y1, x0:x1]
            np.maximum(area, other[y0 - y : y1 - y, x0 - x : x1 - x], out=area)


def _draw_frame(rng: np.random.Generator, ground: Pixels) -> None:
    """Draw lines near the border, as of signs, tables and buttons."""
    height, width = ground.shape[:2]
    colour = tuple(float(c) for c in rng.uniform(0, 256, size=3))
    thick = int(rng.integers(1, 5))
    inset = int(rng.integers(0, max(2, height // 5)))
    for side in rng.permutation(4)[: rng.integers(1, 5)]:
        ends = [
            ((0, inset), (width, inset)),
            ((0, height - inset), (width, height - inset)),
            ((inset, 0), (inset, height)),
            ((width - inset, 0), (width - inset, height)),
        ][side]
        cv2.line(ground, ends[0], ends[1], colour, thick)


def _paint(rng: np.random.Generator, ground: Pixels, mask: NDArray[np.uint8]) -> Pixels:
    """Print a mask on its ground: ink of enough contrast, sometimes with an outline or a shadow."""
    ink = contrasting(rng, ground, mask)
    alpha = mask.astype(np.float32)[..., None] / np.float32(255)
    style = rng.random()
    if style < 0.16:
        # A shadow or a block behind the letters.
        dx, dy = rng.integers(-4, 5, size=2)
        shadow = cv2.warpAffine(mask, np.array([[1.0, 0, dx], [0, 1, dy]]), mask.shape[::-1])
        if rng.random() < 0.6:
            shadow = cv2.GaussianBlur(shadow, (0, 0), float(rng.uniform(0.5, 3)))
        dark = np.float32(rng.uniform(0, 90)) if ink @ _LUMINANCE > 120 else np.float32(rng.uniform(150, 256))
        ground = ground + (dark - ground) * (shadow[..., None].astype(np.float32) / np.float32(255 / 0.8))
    elif style < 0.28:
        size = int(rng.integers(2, 6))
        edge = cv2.dilate(mask, np.ones((size, size), np.uint8))
        rim = np.float32(255) - ink if rng.random() < 0.6 else rng.uniform(0, 256, size=3).astype(np.float32)
        ground = ground + (rim - ground) * (edge[..., None].astype(np.float32) / np.float32(255))
        if rng.random() < 0.25:
            return ground
    elif style < 0.36:
        ink = ink + np.linspace(-60, 60, mask.shape[0], dtype=np.float32)[:, None, None] * rng.choice([-1, 1])
    opacity = np.float32(rng.uniform(0.65, 1)) if rng.random() < 0.2 else np.float32(1)
    return np.asarray(ground + (ink - ground) * alpha * opacity, np.float32)


def contrasting(rng: np.random.Generator, ground: Pixels, mask: NDArray[np.uint8] | None = None) -> Pixels:
    """Choose an ink, (3,) float32, that stands out from the mean of its ground."""
    mean = ground.mean(axis=(0, 1))
    luminance = float(mean @ _LUMINANCE)
    spread = float((ground @ _LUMINANCE).std())
    needed = float(np.exp(rng.uniform(np.log(48), np.log(180)))) + spread
    needed = min(needed, max(luminance, 255 - luminance) - 1)
    for _ in range(20):
        ink = rng.uniform(0, 256, size=3) if rng.random() < 0.5 else np.full(3, rng.uniform(0, 256))
        if rng.random() < 0.3:
            ink = np.full(3, rng.uniform(0, 40) if rng.random() < 0.5 else rng.uniform(215, 256))
        if abs(float(ink @ _LUMINANCE) - luminance) >= needed:
            return ink.astype(np.float32)
    return np.full(3, 0 if luminance > 127 else 255, np.float32)


def _cut_out(rng: np.random.Generator, image: Pixels, corners: NDArray[np.float32]) -> Pixels:
    """Straighten the four corners into a crop."""
    width = float(np.linalg.norm(corners[1] - corners[0]))
    height = float(np.linalg.norm(corners[3] - corners[0]))
    size = (max(8, round(width)), max(8, round(height)))
    target = np.array([(0, 0), (size[0], 0), size, (0, size[1])], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, target)
    return np.asarray(cv2.warpPerspective(image, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.float32)
