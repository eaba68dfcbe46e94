"""A page of coloured words, and models that find and read them: real tensors in, real tensors out, nothing learned."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from neuronkit.ocr import CraftProcessor, ParseqProcessor

Spec = namedtuple("Spec", "name shape")

CHARSET = "abcdefgh"
# One colour a word: red, green and blue each say one bit of its character.
COLOURS = {c: np.array([60 + 120 * (i >> bit & 1) for bit in range(3)], np.uint8) for i, c in enumerate(CHARSET)}


def draw_page(words, size=(200, 320)):
    """A white page; `words` holds (character, left, top, width, height)."""
    page = np.full((*size, 3), 255, np.uint8)
    for character, left, top, width, height in words:
        page[top : top + height, left : left + width] = COLOURS[character]
    return page


def grid(text="abcdefgh", columns=4):
    """A page with the characters of `text` as words, row by row."""
    places = [(c, 20 + 70 * (i % columns), 20 + 40 * (i // columns), 40, 16) for i, c in enumerate(text)]
    return draw_page(places, (40 + 40 * -(-len(text) // columns), 60 + 70 * columns))


def detect(images):
    """Score 1 where the page is not white, at half the size; nothing links."""
    processor = CraftProcessor()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (processor.mean, processor.std))
    dark = ((images * std + mean).amin(dim=1, keepdim=True) < 0.8) & (images[:, :1] > -2.1)
    region = F.avg_pool2d(dark.float(), 2)[:, 0]
    return torch.stack([region, torch.zeros_like(region)], dim=-1), images


class Detector:
    """The toy detector with a fixed input shape, and a valid size, as a static one has."""

    def __init__(self, batch=1, canvas=(320, 480), valid=True) -> None:
        self.specs = [Spec("images", (batch, 3, *canvas))] + ([Spec("valid_size", (batch, 2))] if valid else [])
        self.calls: list[Any] = []

    def __call__(self, images, *valid):
        assert tuple(images.shape) == self.specs[0].shape
        assert len(valid) == len(self.specs) - 1
        if valid:
            assert valid[0].dtype == torch.int32
            assert tuple(valid[0].shape) == (len(images), 2)
            self.calls.append(valid[0].tolist())
        return detect(images)


def recognize(images):
    """Logits of a word of one character, by the colour in the middle of the image."""
    middle = (images[:, :, 12:20, 48:80].mean(dim=(2, 3)) / 2 + 0.5) * 255 > 120
    index = (middle * torch.tensor([1, 2, 4])).sum(dim=1)
    logits = torch.zeros(len(images), 3, len(CHARSET) + 1)
    logits[torch.arange(len(images)), 0, index + 1] = 12.0
    logits[:, 1, 0] = 12.0
    return logits


class Recognizer:
    """The toy recogniser with a fixed batch."""

    processor = ParseqProcessor(CHARSET)

    def __init__(self, batch) -> None:
        self.specs = [Spec("images", (batch, 3, 32, 128))]
        self.batches = 0

    def __call__(self, images):
        assert tuple(images.shape) == self.specs[0].shape
        # Rows of zeros are no image: what fills the last batch has to be valid too.
        assert (images.abs().amax(dim=(1, 2, 3)) > 0).all()
        self.batches += 1
        return recognize(images)
