"""Renders single words, as a detector would crop them.

Every function takes a NumPy generator and depends on nothing else, so the same seed gives the same picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from neuronkit.demo.glyphs import FONTS, WordMask, draw_mask
from neuronkit.demo.vocabulary import sample_text

_MIN_CONTRAST = 90.0


@dataclass(frozen=True)
class WordStyle:
    """Font and case of a word."""

    text: str
    font: str

    @classmethod
    def sample(cls, rng: np.random.Generator, label: str) -> WordStyle:
        """Choose a font, and lower, upper or, for words, title case."""
        case = rng.random()
        text = label
        if case < 0.35:
            text = label.upper()
        elif case < 0.55 and label.isalpha() and label[0] != "l":
            text = label.title()
        return cls(text, FONTS[rng.integers(len(FONTS))])


def render_word(rng: np.random.Generator, *, difficulty: float = 1.0) -> tuple[NDArray[np.uint8], str]:
    """Render one word as a detector would crop it.

    Args:
        rng: Source of every choice.
        difficulty: 0 for clean, large and straight words, 1 for the full range of margins, rotation, perspective,
            contrast, blur, noise and size.

    Returns:
        The crop, (H, W, 3) uint8, RGB; and its label: lower-case letters and digits.
    """
    label = sample_text(rng)
    style = WordStyle.sample(rng, label)
    smallest = round(26 - 12 * difficulty)
    ink = draw_mask(style.text, style.font, int(rng.integers(smallest, 41)))
    mask = _crop_askew(ink, rng, difficulty)
    height = mask.height
    if rng.random() < 0.5 * difficulty:
        mask = mask.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 0.035 * height + 0.25))))
    paper, colour = sample_colours(rng, extra_contrast=60 * (1 - difficulty))
    background = gradient(rng, (height, mask.width), paper, 30 * difficulty)
    alpha = np.asarray(mask, dtype=np.float32)[..., None] / np.float32(255)
    image: NDArray[np.float32] = background + (colour - background) * alpha
    return add_noise(rng, image, rng.uniform(0, 14) * difficulty), label


def _crop_askew(ink: WordMask, rng: np.random.Generator, difficulty: float) -> Image.Image:
    """Cut the word out with uneven margins and slightly wrong corners."""
    width, height = ink.mask.size
    # Words without ascenders are cropped tighter, so margins depend on the height of the word.
    margins = rng.uniform(0.02, 0.08 + 0.27 * difficulty, size=4) - 0.05 * difficulty
    left, top, right, bottom = margins * max(height, 10)
    corners = np.array(
        [(-left, -top), (-left, height + bottom), (width + right, height + bottom), (width + right, -top)]
    )
    tilt = np.radians(rng.normal(0, 1.6) * difficulty)
    # Rotation moves the ends of long words most, and real crops of long words are nearly straight.
    tilt = float(np.clip(tilt, -0.22 * height / width, 0.22 * height / width))
    middle = np.array([width / 2, height / 2])
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    corners = (corners - middle) @ turn + middle
    corners += rng.uniform(-0.06, 0.06, size=(4, 2)) * height * difficulty
    size = (max(4, round(width + left + right)), max(4, round(height + top + bottom)))
    quad = tuple(float(c) for c in corners.ravel())
    return ink.mask.transform(size, Image.Transform.QUAD, quad, resample=Image.Resampling.BILINEAR)


def sample_colours(
    rng: np.random.Generator, *, extra_contrast: float = 0.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Choose the colours of paper and text, (3,) float32 each, RGB, 0..255, with enough contrast in luminance."""
    luminance = np.array([0.299, 0.587, 0.114])
    needed = _MIN_CONTRAST + extra_contrast
    while True:
        paper = rng.uniform(130, 256, size=3) if rng.random() < 0.75 else rng.uniform(0, 130, size=3)
        ink = rng.uniform(0, 256, size=3)
        if rng.random() < 0.5:
            ink = np.full(3, ink.mean())
        if abs((paper - ink) @ luminance) >= needed:
            return paper.astype(np.float32), ink.astype(np.float32)


def add_noise(rng: np.random.Generator, image: NDArray[np.float32], sigma: float) -> NDArray[np.uint8]:
    """Add Gaussian noise, and round to (H, W, 3) uint8."""
    noisy = image + rng.standard_normal(image.shape, dtype=np.float32) * np.float32(sigma)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def gradient(
    rng: np.random.Generator, size: tuple[int, int], colour: NDArray[np.float32], strength: float
) -> NDArray[np.float32]:
    """Return unevenly lit paper, (H, W, 3) float32."""
    height, width = size
    down, across = rng.uniform(-strength, strength, size=2)
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None, None]
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :, None]
    return (colour + np.float32(down) * y + np.float32(across) * x).astype(np.float32)
