"""The demo's pictures, a receipt and a sign, and their texts.

``python -m neuronkit.demo.picture`` renders the receipt again; `tools.demo.scenes.sign` renders the sign.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neuronkit.demo.pages import PageStyle, PageWord, RenderedPage, render_page

IMAGE = Path(__file__).parent / "receipt.png"
TRUTH = Path(__file__).parent / "receipt.json"
SIGN = Path(__file__).parent / "sign.png"
SIZE = (690, 450)
"""(height, width) in pixels; not a multiple of CRAFT's stride, so that the demo shows padding."""

_LINES = (
    ("neuron", "cafe"),
    ("station", "road", "48"),
    ("friday", "23", "october"),
    ("coffee", "350"),
    ("apple", "cake", "420"),
    ("orange", "juice", "390"),
    ("subtotal", "1160"),
    ("service", "116"),
    ("total", "1276"),
    ("order", "7hk52"),
    ("thank", "you"),
)
_STYLE = PageStyle(font_sizes=(25, 34), max_turn=5.0, max_noise=12.0)
_SEED = 13
_COLOURS = 48


@dataclass(frozen=True)
class Truth:
    """A word of the picture.

    Attributes:
        text: Lower-case letters and digits.
        quad: (4, 2) float32, (x, y) clockwise from top-left, in pixels of the picture.

    Examples:
        >>> neuronkit.demo.picture.load_truth()[0].quad.shape
        (4, 2)
    """

    text: str
    quad: NDArray[np.float32]


def render_receipt(seed: int = _SEED) -> RenderedPage:
    """Render the receipt, turned and noisy.

    Args:
        seed: Decides colours, noise and turns.

    Returns:
        The page, (690, 450, 3) uint8, and its words.

    Examples:
        >>> neuronkit.demo.picture.render_receipt().image.shape
        (690, 450, 3)
    """
    return render_page(np.random.default_rng(seed), SIZE, _STYLE, _LINES)


def load_truth(image: Path = IMAGE) -> list[Truth]:
    """Read the words of a committed picture, in reading order.

    Args:
        image: The picture, beside which its text lies: `IMAGE`, the receipt, or `SIGN`.

    Returns:
        Text and place of each word, in pixels of the picture.

    Examples:
        >>> neuronkit.demo.picture.load_truth()[0].text
        'neuron'
    """
    words = json.loads(image.with_suffix(".json").read_text(encoding="utf-8"))["words"]
    return [Truth(word["text"], np.array(word["quad"], dtype=np.float32)) for word in words]


def save(page: RenderedPage, image: Path, truth: Path) -> None:
    """Write picture and text. The picture has a palette, because noise makes true colour large.

    Args:
        page: What `render_receipt` gave.
        image: Where the picture goes, as PNG.
        truth: Where texts and places go, as JSON.

    Examples:
        >>> page = neuronkit.demo.picture.render_receipt()
        >>> neuronkit.demo.picture.save(page, Path("receipt.png"), Path("receipt.json"))
    """
    Image.fromarray(page.image).quantize(_COLOURS, dither=Image.Dither.NONE).save(image, optimize=True)
    content = {"height": page.image.shape[0], "width": page.image.shape[1], "words": [_plain(w) for w in page.words]}
    truth.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _plain(word: PageWord) -> dict[str, Any]:
    return {"text": word.text, "quad": [[round(float(x), 1), round(float(y), 1)] for x, y in word.quad]}


def _main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m neuronkit.demo.picture", description=__doc__)
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--image", type=Path, default=IMAGE)
    parser.add_argument("--truth", type=Path, default=TRUTH)
    given = parser.parse_args()
    save(render_receipt(given.seed), given.image, given.truth)


if __name__ == "__main__":
    _main()
