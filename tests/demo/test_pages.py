"""Rendered pages: the truth is where the ink is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from neuronkit.demo.pages import PageStyle, render_page

pytestmark = pytest.mark.tooling

SIZE = (320, 288)
PLAIN = PageStyle(max_noise=0.0, bar_share=0.0)
seeds = st.integers(0, 2**32)


def page(seed, style=None, lines=None, size=SIZE):
    return render_page(np.random.default_rng(seed), size, style, lines)


def inside(words, size, grow):
    """(H, W) bool: what lies in a word's quad, or within `grow` pixels of it."""
    stencil = Image.new("L", size[::-1])
    pen = ImageDraw.Draw(stencil)
    for word in words:
        pen.polygon([(float(x) - 0.5, float(y) - 0.5) for x, y in word.quad], fill=1, outline=1)
    # OpenCV's dilation: the rank filters of Pillow 12.3 stop the process with SIGFPE on some machines.
    return cv2.dilate(np.asarray(stencil), np.ones((2 * grow + 1, 2 * grow + 1), np.uint8)) > 0


def edges(image):
    """(H, W) bool: where brightness jumps from a pixel to the next one."""
    grey = np.asarray(Image.fromarray(image).convert("L"), dtype=float)
    down = np.abs(np.diff(grey, axis=0, append=grey[-1:]))
    across = np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
    return np.maximum(down, across) > 20


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_a_seed_stands_for_a_page(seed) -> None:
    first, second = page(seed), page(seed)
    np.testing.assert_array_equal(first.image, second.image)
    assert [word.text for word in first.words] == [word.text for word in second.words]
    assert first.image.shape == (*SIZE, 3)
    assert first.image.dtype == np.uint8


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_all_ink_lies_in_the_quads_and_every_quad_holds_ink(seed) -> None:
    made = page(seed, PLAIN)
    found = edges(made.image)
    assert not (found & ~inside(made.words, SIZE, 3)).any()
    for word in made.words:
        assert (found & inside([word], SIZE, 0)).sum() >= 5


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_quads_are_clockwise_within_the_page_and_hold_their_characters(seed) -> None:
    for word in page(seed).words:
        assert word.quad.shape == (4, 2)
        assert word.characters.shape == (len(word.text), 4, 2)
        for quad in (word.quad, *word.characters):
            x, y = quad.T.astype(float)
            area = 0.5 * np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)
            assert area > 0
        assert (word.quad >= 0).all()
        assert (word.quad <= [SIZE[1], SIZE[0]]).all()
        assert (word.characters >= word.quad.min(axis=0) - 1).all()
        assert (word.characters <= word.quad.max(axis=0) + 1).all()


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_words_do_not_overlap(seed) -> None:
    words = page(seed).words
    together = inside(words, SIZE, 0).sum()
    apart = sum(inside([word], SIZE, 0).sum() for word in words)
    assert apart == together


def test_given_lines_are_printed_in_order() -> None:
    lines = [("coffee", "350"), ("total", "350")]
    made = page(3, PageStyle(font_sizes=(20, 24)), lines)
    assert [word.text for word in made.words] == ["coffee", "350", "total", "350"]


def test_a_page_holds_at_most_so_many_words() -> None:
    style = PageStyle(font_sizes=(14, 18), max_words=12)
    assert len(page(0, style, size=(640, 640)).words) == 12


def test_pages_of_usual_size_hold_a_dozen_words_and_more() -> None:
    counts = [len(page(seed, size=(640, 480)).words) for seed in range(6)]
    assert np.mean(counts) > 20
    assert min(counts) >= 12
