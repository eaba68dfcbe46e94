"""Whole pictures for the detector: signs of few large words, posters, receipts and documents in columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from neuronkit.demo.glyphs import WordMask, draw_mask
from neuronkit.demo.pages import Matrix, PageWord, RenderedPage, project
from tools.demo.scenes.camera import photograph, shade
from tools.demo.scenes.grounds import Pixels
from tools.demo.scenes.texts import sample_text
from tools.demo.scenes.words import Scenery, contrasting

# A word of one character in three is enough: a detector finds most of them by their neighbours.
_SHORT_SHARE = 0.35


@dataclass(frozen=True)
class Place:
    """A word to print: where its text line begins, in pixels of the page before it is turned."""

    text: str
    ink: WordMask
    left: float
    top: float


def render_scene(rng: np.random.Generator, size: tuple[int, int], scenery: Scenery) -> RenderedPage:
    """Render a picture.

    Args:
        rng: Source of every choice.
        size: (height, width) in pixels.
        scenery: Faces, grounds and words.

    Returns:
        The picture, RGB; words that its border would cut are left out. Texts are as printed.
    """
    layout = _LAYOUTS[rng.choice(len(_LAYOUTS), p=_SHARES)]
    canvas = scenery.grounds.cut(rng, size)
    view = sample_view(rng, size)
    height, width = size
    inset = rng.uniform(0.02, 0.2)
    area = (width * inset, height * inset, width * (1 - inset), height * (1 - inset))
    if layout is _columns and rng.random() < 0.5:
        canvas[:] = rng.uniform(225, 255)  # a sheet that fills the picture, as scans and drawn PDF do
    elif rng.random() < 0.6:
        draw_panel(rng, canvas, view, area, scenery)
    words = print_places(rng, canvas, view, layout(rng, area, scenery))
    smallest = min((float(np.linalg.norm(word.quad[3] - word.quad[0])) for word in words), default=40.0)
    picture = photograph(rng, shade(rng, canvas), min(smallest, 40.0))
    return RenderedPage(np.ascontiguousarray(picture[..., ::-1]), tuple(words))


def print_places(
    rng: np.random.Generator, canvas: Pixels, view: Matrix, places: Iterable[Place], ink: Pixels | None = None
) -> list[PageWord]:
    """Print words on a canvas, seen from `view`, in place; those that its border would cut are left out.

    Args:
        rng: Source of inks.
        canvas: (H, W, 3) float32, 0..255.
        view: (3, 3), from the page to the canvas.
        places: What to print.
        ink: (3,) of all words; None draws one, and now and then another.
    """
    height, width = canvas.shape[:2]
    words: list[PageWord] = []
    drawn = ink
    for place in places:
        matrix = view @ shift(place.left, place.top + place.ink.top)
        word = _locate(place, matrix)
        if not ((word.quad > 1).all() and (word.quad < [width - 1, height - 1]).all()):
            continue
        # One ink for most words of a page, so that it looks printed.
        if drawn is None or (ink is None and rng.random() < 0.12):
            x0, y0 = np.floor(word.quad.min(axis=0)).astype(int)
            x1, y1 = np.ceil(word.quad.max(axis=0)).astype(int) + 1
            drawn = contrasting(rng, canvas[y0:y1, x0:x1])
        _print(canvas, place.ink, matrix, word.quad, drawn)
        words.append(word)
    return words


def _sign(rng: np.random.Generator, area: tuple[float, ...], scenery: Scenery) -> Iterator[Place]:
    """One to six large words, each line centred or all at one side."""
    face = scenery.faces.choose(rng)
    left, top, right, bottom = area
    y = top + float(rng.uniform(0, 0.3)) * (bottom - top)
    for _ in range(rng.integers(1, 5)):
        text = _word(rng, scenery)
        fitting = (right - left) / max(2, len(text)) * 1.4
        font_size = int(np.clip(rng.uniform(0.5, 1.0) * fitting, 14, 110))
        ink = draw_mask(text, str(face), font_size)
        if ink.mask.width > right - left or y + 1.3 * font_size > bottom:
            continue
        yield Place(text, ink, left + float(rng.uniform(0, 1)) * (right - left - ink.mask.width), y)
        y += font_size * float(rng.uniform(1.25, 2.2))


def _poster(rng: np.random.Generator, area: tuple[float, ...], scenery: Scenery) -> Iterator[Place]:
    """Centred lines of many sizes and faces."""
    left, top, right, bottom = area
    y = top
    while y < bottom:
        font_size = int(np.exp(rng.uniform(np.log(11), np.log(60))))
        if y + 1.3 * font_size > bottom:
            return
        line = _line(rng, scenery, scenery.faces.choose(rng), font_size, right - left)
        wide = line[-1].left + line[-1].ink.mask.width if line else 0
        x = (left + right - wide) / 2
        yield from (Place(p.text, p.ink, x + p.left, y) for p in line)
        y += font_size * float(rng.uniform(1.3, 2.4))


def _receipt(rng: np.random.Generator, area: tuple[float, ...], scenery: Scenery) -> Iterator[Place]:
    """Items at the left, prices at the right."""
    face = scenery.faces.choose(rng)
    left, top, right, bottom = area
    font_size = int(rng.integers(11, 24))
    y = top
    while y + 1.3 * font_size < bottom:
        price = draw_mask(text := f"{int(10 ** rng.uniform(0, 2.5))}.{rng.integers(100):02}", str(face), font_size)
        if right - left > price.mask.width * 2:
            yield Place(text, price, right - price.mask.width, y)
            room = right - left - price.mask.width - 2 * font_size
            line = _line(rng, scenery, face, font_size, room * float(rng.uniform(0.3, 1)))
            yield from (Place(p.text, p.ink, left + p.left, y) for p in line)
        y += font_size * float(rng.uniform(1.3, 1.6))


def _columns(rng: np.random.Generator, area: tuple[float, ...], scenery: Scenery) -> Iterator[Place]:
    """One to three columns of text."""
    face = scenery.faces.choose(rng)
    left, top, right, bottom = area
    count = int(rng.integers(1, 4))
    font_size = int(np.exp(rng.uniform(np.log(10), np.log(36))))
    spacing = float(rng.uniform(1.15, 1.7))
    wide = (right - left) / count
    for column in range(count):
        y = top
        while y + 1.3 * font_size < bottom:
            line = _line(rng, scenery, face, font_size, wide - 1.5 * font_size)
            yield from (Place(p.text, p.ink, left + column * wide + p.left, y) for p in line)
            y += font_size * spacing


_LAYOUTS: tuple[Callable[[np.random.Generator, tuple[float, ...], Scenery], Iterator[Place]], ...] = (
    _sign,
    _poster,
    _receipt,
    _columns,
)
_SHARES = (0.35, 0.15, 0.2, 0.3)


def _line(rng: np.random.Generator, scenery: Scenery, face: Path, font_size: int, room: float) -> list[Place]:
    """Words from left to right, as many as there is room for."""
    line: list[Place] = []
    x = 0.0
    # Proportional faces put about a quarter of their size between two words, monospaced ones more than half.
    gap = font_size * float(np.exp(rng.uniform(np.log(0.22), np.log(0.75))))
    for _ in range(rng.integers(1, 9)):
        text = _word(rng, scenery)
        ink = draw_mask(text, str(face), font_size)
        if x + ink.mask.width > room:
            break
        line.append(Place(text, ink, x, 0.0))
        x += ink.mask.width + gap
    return line


def _word(rng: np.random.Generator, scenery: Scenery) -> str:
    while True:
        text = sample_text(rng, scenery.words).split(" ")[0]
        if len(text) > 1 or rng.random() < _SHORT_SHARE:
            return text


def draw_panel(
    rng: np.random.Generator, canvas: Pixels, view: Matrix, area: tuple[float, ...], scenery: Scenery
) -> None:
    """Put a board or a sheet behind the text."""
    left, top, right, bottom = area
    border = float(rng.uniform(0, 0.05)) * canvas.shape[1]
    corners = [(left - border, top - border), (right + border, top - border)]
    corners += [(right + border, bottom + border), (left - border, bottom + border)]
    stencil = np.zeros(canvas.shape[:2], np.uint8)
    cv2.fillPoly(stencil, [np.rint(project(view, np.array(corners))).astype(np.int32)], 255, cv2.LINE_AA)
    board = scenery.grounds.cut(rng, canvas.shape[:2])
    canvas += (board - canvas) * (stencil[..., None].astype(np.float32) / np.float32(255))


def _locate(place: Place, matrix: Matrix) -> PageWord:
    width, height = place.ink.mask.size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float32)
    boxes = place.ink.characters[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    return PageWord(place.text, project(matrix, corners), project(matrix, boxes))


def _print(canvas: Pixels, ink: WordMask, matrix: Matrix, quad: NDArray[np.float32], colour: Pixels) -> None:
    x0, y0 = np.floor(quad.min(axis=0)).astype(int) - 1
    x1, y1 = np.ceil(quad.max(axis=0)).astype(int) + 1
    to_area = shift(-x0, -y0) @ matrix
    mask = cv2.warpPerspective(np.asarray(ink.mask), to_area, (int(x1 - x0), int(y1 - y0)))
    x, y = max(x0, 0), max(y0, 0)
    area = canvas[y:y1, x:x1]
    alpha = mask[y - y0 :, x - x0 :][: area.shape[0], : area.shape[1], None].astype(np.float32) / np.float32(255)
    area += (colour - area) * alpha


def sample_view(rng: np.random.Generator, size: tuple[int, int]) -> Matrix:
    """A camera before a wall or above a desk: turned a little, and now and then far from straight."""
    height, width = size
    steep = float(rng.choice([1.0, 4.0, 12.0], p=[0.4, 0.4, 0.2]))
    angle = np.radians(rng.normal(0, steep))
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    tilt = np.eye(3)
    tilt[2, :2] = rng.normal(0, 0.12, size=2) / max(height, width)
    return shift(width / 2, height / 2) @ tilt @ turn @ shift(-width / 2, -height / 2)


def shift(x: float, y: float) -> Matrix:
    """The matrix that moves points."""
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])
