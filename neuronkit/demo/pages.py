"""Renders whole pages of text, such as signs and receipts, with the position of every word and character."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from neuronkit.demo.glyphs import WordMask, draw_mask
from neuronkit.demo.render import WordStyle, add_noise, gradient, sample_colours
from neuronkit.demo.vocabulary import sample_text

Matrix = NDArray[np.float64]
_MARGIN = 0.04


@dataclass(frozen=True)
class PageWord:
    """A word on a page.

    Attributes:
        text: Lower-case letters and digits; the page may show them in another case.
        quad: (4, 2) float32, (x, y) clockwise from top-left, in pixels of the page; encloses the ink.
        characters: (n, 4, 2) float32, the same for each character.
    """

    text: str
    quad: NDArray[np.float32]
    characters: NDArray[np.float32]


@dataclass(frozen=True)
class RenderedPage:
    """A page and what is printed on it.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        words: In reading order.
    """

    image: NDArray[np.uint8]
    words: tuple[PageWord, ...]


@dataclass(frozen=True)
class PageStyle:
    """How pages look.

    Attributes:
        font_sizes: Smallest and largest, in pixels.
        max_words: Most words on a page.
        max_turn: Largest rotation of the page, in degrees.
        max_word_turn: Largest further rotation of a word, in degrees; less for long words, so that none
            touch.
        max_noise: Largest standard deviation of the noise, in grey levels.
        bar_share: Share of lines that are printed on a bar of another colour.
    """

    font_sizes: tuple[int, int] = (14, 48)
    max_words: int = 40
    max_turn: float = 6.0
    max_word_turn: float = 6.0
    max_noise: float = 12.0
    bar_share: float = 0.15


def render_page(
    rng: np.random.Generator,
    size: tuple[int, int],
    style: PageStyle | None = None,
    lines: Iterable[Iterable[str]] | None = None,
) -> RenderedPage:
    """Render a page.

    Args:
        rng: Source of every choice.
        size: (height, width) in pixels.
        style: How it looks; None for the default.
        lines: The texts to print, lower-case letters and digits; None for random ones.

    Returns:
        The page; words that would be cut by its border are left out.
    """
    style = style or PageStyle()
    page = _PageCanvas(rng, size, style)
    words: list[PageWord] = []
    top = _MARGIN * size[0]
    for texts in _random_lines(rng) if lines is None else lines:
        font_size = _sample_size(rng, style.font_sizes)
        if len(words) >= style.max_words or top + 1.3 * font_size > size[0] * (1 - _MARGIN):
            break
        words += islice(page.print_line(texts, top, font_size), style.max_words - len(words))
        top += font_size * rng.uniform(1.6, 2.3)
    return RenderedPage(_finish(rng, page.canvas, style.max_noise), tuple(words))


def project(matrix: Matrix, points: NDArray[np.floating]) -> NDArray[np.float32]:
    """Map points (..., 2) by a homography (3, 3)."""
    mapped = np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1) @ matrix.T
    return (mapped[..., :2] / mapped[..., 2:]).astype(np.float32)


def _random_lines(rng: np.random.Generator) -> Iterator[Iterator[str]]:
    def texts() -> Iterator[str]:
        while True:
            yield sample_text(rng)
            if rng.random() < 0.1:
                return

    while True:
        yield texts()


class _PageCanvas:
    """A canvas, (H, W, 3) float32, and the perspective in which words are printed on it."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int], style: PageStyle) -> None:
        self.rng, self.style = rng, style
        self.paper, self.colour = sample_colours(rng)
        self.canvas = gradient(rng, size, self.paper, 40)
        self.view = _sample_view(rng, size, style.max_turn)

    def print_line(self, texts: Iterable[str], top: float, font_size: int) -> Iterator[PageWord]:
        """Print words from left to right until the line is full."""
        rng, width = self.rng, self.canvas.shape[1]
        colour = self._choose_colour(top, font_size)
        left = width * rng.uniform(_MARGIN, 0.25)
        font = WordStyle.sample(rng, "").font
        for text in texts:
            look = WordStyle.sample(rng, text)
            font = look.font if rng.random() < 0.5 else font
            ink = draw_mask(look.text, font, font_size)
            if left + ink.mask.width > width * (1 - _MARGIN):
                return
            place = self.view @ _turned_place(rng, left, top + ink.top, ink, font_size, self.style.max_word_turn)
            left += ink.mask.width + font_size * rng.uniform(0.45, 1.6)
            word = _locate(text, ink, place)
            if self._holds(word.quad):
                self._print(ink, place, word.quad, _other_colour(rng, self.paper) if colour is None else colour)
                yield word

    def _choose_colour(self, top: float, font_size: int) -> NDArray[np.float32] | None:
        """Choose the text colour of a line, and sometimes draw a bar behind it; None where each word has its own."""
        rng, width = self.rng, self.canvas.shape[1]
        if rng.random() >= self.style.bar_share:
            return self.colour if rng.random() < 0.8 else None
        bar_paper, colour = sample_colours(rng)
        low, high = top - 0.1 * font_size, top + 1.4 * font_size
        corners = np.array([(0, low), (width, low), (width, high), (0, high)])
        _fill(self.canvas, project(self.view, corners), bar_paper)
        return colour

    def _holds(self, quad: NDArray[np.float32]) -> bool:
        height, width = self.canvas.shape[:2]
        return bool((quad > 1).all() and (quad < [width - 1, height - 1]).all())

    def _print(self, ink: WordMask, place: Matrix, quad: NDArray[np.float32], colour: NDArray[np.float32]) -> None:
        x0, y0 = np.floor(quad.min(axis=0)).astype(int) - 1
        x1, y1 = np.ceil(quad.max(axis=0)).astype(int) + 1
        back = np.linalg.inv(place) @ _shift(x0, y0)
        coefficients = tuple(float(c) for c in (back / back[2, 2]).ravel()[:8])
        size = (int(x1 - x0), int(y1 - y0))
        warped = ink.mask.transform(size, Image.Transform.PERSPECTIVE, coefficients, resample=Image.Resampling.BILINEAR)
        area = self.canvas[y0:y1, x0:x1]
        alpha = np.asarray(warped, dtype=np.float32)[..., None] / np.float32(255)
        area += (colour - area) * alpha


def _locate(text: str, ink: WordMask, place: Matrix) -> PageWord:
    width, height = ink.mask.size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float32)
    boxes = ink.characters[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    return PageWord(text, project(place, corners), project(place, boxes))


def _finish(rng: np.random.Generator, canvas: NDArray[np.float32], max_noise: float) -> NDArray[np.uint8]:
    image = add_noise(rng, canvas, 0)
    if rng.random() < 0.5:
        blur = ImageFilter.GaussianBlur(float(rng.uniform(0.2, 0.7)))
        image = np.asarray(Image.fromarray(image).filter(blur))
    return add_noise(rng, image.astype(np.float32), rng.uniform(0, max_noise))


def _sample_size(rng: np.random.Generator, bounds: tuple[int, int]) -> int:
    low, high = np.log(bounds)
    return round(float(np.exp(rng.uniform(low, high))))


def _sample_view(rng: np.random.Generator, size: tuple[int, int], max_turn: float) -> Matrix:
    """A random camera position: a rotation about the middle and a slight perspective."""
    height, width = size
    turn = _rotation(np.radians(rng.uniform(-max_turn, max_turn)))
    tilt = np.eye(3)
    tilt[2, :2] = rng.uniform(-0.06, 0.06, size=2) / max(height, width)
    return _shift(width / 2, height / 2) @ tilt @ turn @ _shift(-width / 2, -height / 2)


def _turned_place(
    rng: np.random.Generator, left: float, top: float, ink: WordMask, font_size: int, max_turn: float
) -> Matrix:
    """Return the matrix from pixels of the mask to pixels of the page before its rotation."""
    width, height = ink.mask.size
    limit = min(np.radians(max_turn), 0.2 * font_size / (width / 2))
    turn = _rotation(float(rng.uniform(-limit, limit)))
    return _shift(left + width / 2, top + height / 2) @ turn @ _shift(-width / 2, -height / 2)


def _rotation(angle: float) -> Matrix:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _shift(x: float, y: float) -> Matrix:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def _other_colour(rng: np.random.Generator, paper: NDArray[np.float32]) -> NDArray[np.float32]:
    while True:
        colour = rng.uniform(0, 256, size=3).astype(np.float32)
        if abs((colour - paper) @ np.array([0.299, 0.587, 0.114])) >= 90:
            return colour


def _fill(canvas: NDArray[np.float32], corners: NDArray[np.float32], colour: NDArray[np.float32]) -> None:
    stencil = Image.new("1", (canvas.shape[1], canvas.shape[0]))
    ImageDraw.Draw(stencil).polygon([(float(x), float(y)) for x, y in corners], fill=1)
    canvas[np.asarray(stencil)] = colour
