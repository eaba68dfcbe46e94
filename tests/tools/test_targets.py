"""CRAFT's targets: the scores it is trained to give are scores that the detector turns back into the words."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronkit.demo.pages import PageStyle, render_page
from neuronkit.ocr.craft import find_boxes
from tools.demo.targets import affinity_quads, score_maps

pytestmark = pytest.mark.tooling

SIZE = (320, 288)
STYLE = PageStyle(font_sizes=(20, 40))


def make(seed, style=STYLE):
    words = render_page(np.random.default_rng(seed), SIZE, style).words
    return words, score_maps(words, SIZE)


def overlap(a, b):
    """Intersection over union of two quads."""
    common = cv2.intersectConvexConvex(a, b)[0]
    return common / (cv2.contourArea(a) + cv2.contourArea(b) - common)


@given(st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_each_character_has_its_peak_and_each_pair_its_link(seed) -> None:
    words, maps = make(seed)
    assert maps.shape == (SIZE[0] // 2, SIZE[1] // 2, 2)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max() <= 1
    for word in words:
        for channel, quads in ((0, word.characters), (1, affinity_quads(word.characters))):
            for x, y in np.floor(quads.mean(axis=1) / 2).astype(int):
                assert maps[y, x, channel] > 0.6


def test_a_single_character_has_no_affinity() -> None:
    words, maps = make(0, PageStyle(font_sizes=(30, 30)))
    alone = [word for word in words if len(word.text) == 1][:1] or [
        type(words[0])("a", words[0].quad, words[0].characters[:1])
    ]
    assert affinity_quads(alone[0].characters).shape == (0, 4, 2)
    assert score_maps(alone, SIZE)[..., 1].max() == 0
    assert score_maps(alone, SIZE)[..., 0].max() > 0.7
    assert maps[..., 1].max() > 0.7


def test_an_empty_page_scores_nothing() -> None:
    assert not score_maps((), SIZE).any()


def test_the_detector_finds_the_words_in_their_targets() -> None:
    total = found = 0
    for seed in range(8):
        words, maps = make(seed)
        boxes = [box.quad * 2 for box in find_boxes(maps[..., 0], maps[..., 1])]
        assert len(boxes) == len(words)
        total += len(words)
        found += sum(max(overlap(word.quad, box) for box in boxes) > 0.6 for word in words)
    assert found >= 0.95 * total
