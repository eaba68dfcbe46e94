"""Rendered words: a seed stands for a picture, and labels are what the recogniser can write."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronkit.demo import glyphs
from neuronkit.demo.glyphs import FONTS, draw_mask
from neuronkit.demo.render import WordStyle, render_word, sample_colours
from neuronkit.demo.vocabulary import MAX_LENGTH, WORDS, sample_text
from neuronkit.errors import MissingDependencyError
from neuronkit.ocr.charset import CHARSET_36

pytestmark = pytest.mark.tooling

seeds = st.integers(0, 2**32)


@given(seeds, st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=30, deadline=None)
def test_a_seed_stands_for_a_picture(seed, difficulty) -> None:
    first, label = render_word(np.random.default_rng(seed), difficulty=difficulty)
    second, again = render_word(np.random.default_rng(seed), difficulty=difficulty)
    assert label == again
    assert first.dtype == np.uint8
    assert first.ndim == 3
    assert first.shape[2] == 3
    np.testing.assert_array_equal(first, second)


def test_seeds_differ() -> None:
    pictures = [render_word(np.random.default_rng(seed)) for seed in range(40)]
    assert len({image.tobytes() for image, _ in pictures}) == 40
    assert len({label for _, label in pictures}) > 25


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_labels_are_short_and_in_the_charset(seed) -> None:
    text = sample_text(np.random.default_rng(seed))
    assert 1 <= len(text) <= MAX_LENGTH
    assert set(text) <= set(CHARSET_36)


def test_texts_are_not_only_words_to_know_by_heart() -> None:
    texts = [sample_text(np.random.default_rng([0, i])) for i in range(400)]
    known = np.mean([text in WORDS for text in texts])
    numbers = np.mean([text.isdigit() for text in texts])
    assert 0.5 < known < 0.7
    assert 0.1 < numbers < 0.3


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_a_look_changes_nothing_but_the_case(seed) -> None:
    rng = np.random.default_rng(seed)
    label = sample_text(rng)
    style = WordStyle.sample(rng, label)
    assert style.text.lower() == label
    assert style.font in FONTS


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_ink_stands_out_from_paper(seed) -> None:
    paper, ink = sample_colours(np.random.default_rng(seed))
    assert abs(float((paper - ink) @ np.array([0.299, 0.587, 0.114]))) >= 90


@pytest.mark.parametrize("font", FONTS)
def test_the_mask_is_cut_to_the_ink_and_the_characters_fill_it(font) -> None:
    ink = draw_mask("Agile", font, 30)
    width, height = ink.mask.size
    assert ink.mask.getbbox() is not None
    left, top, right, bottom = ink.mask.getbbox()
    # Antialiasing may leave a row of ink too faint for 8 bits.
    assert left <= 1
    assert top <= 1
    assert right >= width - 1
    assert bottom >= height - 1
    boxes = ink.characters
    assert boxes.shape == (5, 4)
    assert (np.diff(boxes[:, 0]) > 0).all()
    np.testing.assert_allclose(boxes[1:, 0], boxes[:-1, 2])
    assert boxes[:, 1].min() == 0
    assert boxes[:, 3].max() == height


def test_characters_fill_the_mask_also_where_ink_juts_out_to_the_left() -> None:
    ink = draw_mask("jj", "DejaVuSerif-Italic.ttf", 48)
    assert ink.characters[1, 2] == pytest.approx(ink.mask.width, abs=1)


def test_without_the_fonts_the_error_says_where_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    glyphs._folder.cache_clear()
    glyphs._load.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"neuronkit\[plot\]"):
        draw_mask("word", FONTS[0], 20)
    glyphs._folder.cache_clear()
