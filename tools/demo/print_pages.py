"""Read pages of print, drawn as `neuronkit read` draws PDF: ``python -m tools.demo.print_pages``."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
from fpdf import FPDF

from neuronkit.demo.reader import demo_reader
from neuronkit.demo.vocabulary import WORDS
from neuronkit.ocr import OCRPipeline, image_pages

FACES = ("helvetica", "times", "courier")
SIZES = ((10, 150), (11, 200), (14, 100), (16, 200))
"""Points, and dots an inch."""


def print_page(rng: np.random.Generator, face: str, points: int) -> tuple[bytes, list[str]]:
    """Give a PDF of 32 words on A5, and the words."""
    page = FPDF(format=(148, 210))
    page.add_page()
    page.set_font(face, size=points)
    words = [str(word) for word in rng.choice(WORDS, size=32)]
    for line in range(8):
        page.set_xy(10, 10 + line * 0.55 * points)
        page.cell(text=" ".join(words[4 * line : 4 * line + 4]))
    return bytes(page.output()), words


def words_right(read: OCRPipeline, face: str, points: int, dpi: int) -> tuple[int, int]:
    """Give how many words of a page are found and read, and how many there are."""
    data, words = print_page(np.random.default_rng([points, dpi]), face, points)
    (page,) = read.read(image_pages(io.BytesIO(data), dpi=dpi))
    return (Counter(word.text for word in page.words) & Counter(words)).total(), len(words)


def main() -> None:
    """Print how many words of each face are found and read."""
    read = demo_reader()
    for face in FACES:
        right, total = np.sum([words_right(read, face, *size) for size in SIZES], axis=0)
        print(f"{face}: {right} of {total}")


if __name__ == "__main__":
    main()
