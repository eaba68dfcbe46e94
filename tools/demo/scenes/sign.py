"""The demo's second picture, a sign as a camera shows it: ``python -m tools.demo.scenes.sign`` renders it again.

It is in the faces of DejaVu and on drawn grounds, so that nothing in it is another project's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from neuronkit.demo import picture
from neuronkit.demo.glyphs import draw_mask
from neuronkit.demo.pages import PageWord, RenderedPage, project
from tools.demo.scenes.camera import photograph
from tools.demo.scenes.pages import Place, print_places, shift
from tools.demo.scenes.texts import simple_text

SIZE = (500, 460)
_LINES = (
    ("HARBOUR", "DejaVuSans-Bold.ttf", 62, 74),
    ("Coffee", "DejaVuSerif-Bold.ttf", 58, 160),
    ("fresh", "DejaVuSans.ttf", 34, 246),
    ("bread", "DejaVuSans.ttf", 34, 246),
    ("open", "DejaVuSansMono-Bold.ttf", 32, 312),
    ("daily", "DejaVuSansMono-Bold.ttf", 32, 312),
    ("SUNDAY", "DejaVuSans-Bold.ttf", 40, 372),
)
_BOARD, _WALL, _INK = (70.0, 62.0, 30.0), (120.0, 150.0, 178.0), (215.0, 236.0, 240.0)


def render_sign(seed: int = 4) -> RenderedPage:
    """Render the sign: turned, lit from one side, half in shadow, noisy.

    Args:
        seed: Decides bricks, noise and JPEG.

    Returns:
        The picture, (500, 460, 3) uint8, RGB, and its words in small letters and digits.
    """
    rng = np.random.default_rng(seed)
    height, width = SIZE
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = _WALL
    for y in range(0, height, 24):
        canvas[y : y + 2] *= 0.75
        for x in range(-24 * (y // 24 % 2), width, 48):
            canvas[y : y + 24, max(x, 0) : x + 46] += rng.normal(0, 7)
            canvas[y : y + 24, max(x, 0) : max(x, 0) + 2] *= 0.75
    view = shift(width / 2, height / 2) @ np.array([[0.992, 0.07, 0], [-0.06, 0.99, 0], [2e-4, 1e-4, 1]])
    view = view @ shift(-width / 2, -height / 2)
    corners = np.array([(36, 48), (width - 36, 48), (width - 36, height - 54), (36, height - 54)])
    board = np.rint(project(view, corners)).astype(np.int32)
    cv2.fillPoly(canvas, [board + 5], (60.0, 75.0, 90.0), cv2.LINE_AA)
    cv2.fillPoly(canvas, [board], _BOARD, cv2.LINE_AA)
    cv2.polylines(canvas, [board], True, _INK, 4, cv2.LINE_AA)
    words = print_places(rng, canvas, view, _places(), np.array(_INK, np.float32))
    light = np.linspace(1.15, 0.75, width, dtype=np.float32)[None].repeat(height, axis=0)
    cv2.fillPoly(light, [np.array([(0, 330), (width, 180), (width, height), (0, height)])], 0.62)
    canvas *= cv2.GaussianBlur(light, (0, 0), 3)[..., None]
    image = photograph(rng, canvas, 12.0)
    shown = tuple(PageWord(simple_text(word.text), word.quad, word.characters) for word in words)
    return RenderedPage(np.ascontiguousarray(image[..., ::-1]), shown)


def _places() -> list[Place]:
    """Lay the lines out, each centred on the board."""
    places = []
    for top in dict.fromkeys(line[3] for line in _LINES):
        inks = [(text, draw_mask(text, font, size), size) for text, font, size, y in _LINES if y == top]
        gap = 0.5 * inks[0][2]
        left = (SIZE[1] - sum(ink.mask.width for _, ink, _ in inks) - gap * (len(inks) - 1)) / 2
        for text, ink, _ in inks:
            places.append(Place(text, ink, left, float(top)))
            left += ink.mask.width + gap
    return places


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo.scenes.sign", description=__doc__)
    parser.add_argument("--image", type=Path, default=picture.IMAGE.with_name("sign.png"))
    parser.add_argument("--truth", type=Path, default=picture.TRUTH.with_name("sign.json"))
    given = parser.parse_args(arguments)
    picture.save(render_sign(), given.image, given.truth)


if __name__ == "__main__":
    main()
