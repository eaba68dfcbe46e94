"""Reading order, and crops that stand upright."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronkit.errors import NeuronKitError, OptionError, SpecError
from neuronkit.ocr import TextBox, crop_words
from neuronkit.ocr.layout import reading_order

pytestmark = pytest.mark.arrays


def word(left, top, width, height=20.0, angle=0.0):
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) + np.array([left, top])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return TextBox(corners @ turn.T)


@given(st.randoms(use_true_random=False), st.floats(-0.3, 0.3), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_lines_are_found_on_tilted_pages_whatever_the_order_of_the_words(random, angle, lines, words) -> None:
    boxes = {
        (row, column): word(100 * column + random.uniform(0, 10), 40 * row + random.uniform(-4, 4), 90, 20, angle)
        for row in range(lines)
        for column in range(words)
    }
    keys = list(boxes)
    random.shuffle(keys)
    found = reading_order([boxes[key] for key in keys])
    assert [[keys[i] for i in line] for line in found] == [[(r, c) for c in range(words)] for r in range(lines)]


def test_lines_of_uneven_height_stay_apart() -> None:
    boxes = [word(0, 0, 100, 40), word(120, 8, 60, 20), word(0, 50, 100, 20), word(120, 46, 60, 28)]
    assert reading_order(boxes) == [[0, 1], [2, 3]]


def test_no_words_make_no_lines() -> None:
    assert reading_order([]) == []


@pytest.mark.parametrize(("left", "top", "right", "bottom"), [(0, 0, 80, 60), (10, 20, 50, 40), (79, 58, 80, 59)])
def test_upright_crops_are_slices(left, top, right, bottom) -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    quad = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    (crop,) = crop_words(image, [TextBox(quad)])
    np.testing.assert_array_equal(crop, image[top:bottom, left:right])
    # The same edges as a polygon of five corners above and five below.
    x = np.linspace(left, right, 5)
    polygon = np.concatenate([np.column_stack([x, [top] * 5]), np.column_stack([x[::-1], [bottom] * 5])])
    (crop,) = crop_words(image, [TextBox(quad, polygon=polygon)])
    np.testing.assert_array_equal(crop, image[top:bottom, left:right])


@pytest.mark.parametrize("degrees", [-40, -10, 25, 60])
def test_crops_of_turned_words_are_level(degrees) -> None:
    y, x = np.mgrid[:200, :200] - 99.5
    angle = math.radians(degrees)
    along, across = x * math.cos(angle) + y * math.sin(angle), -x * math.sin(angle) + y * math.cos(angle)
    # Red grows along the word, green across it.
    image = np.stack([128 + along, 128 + 3 * across, np.zeros_like(x)], -1).clip(0, 255).astype(np.uint8)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    quad = np.array([[-40, -12], [40, -12], [40, 12], [-40, 12]]) @ turn.T + 100
    (crop,) = crop_words(image, [TextBox(quad)])
    assert crop.shape == (24, 80, 3)
    np.testing.assert_allclose(crop[:, :, 0], np.broadcast_to(128 - 39.5 + np.arange(80), (24, 80)), atol=2)
    np.testing.assert_allclose(
        crop[:, :, 1], np.broadcast_to(128 + 3 * (np.arange(24)[:, None] - 11.5), (24, 80)), atol=4
    )


def test_words_across_the_border_repeat_it() -> None:
    image = np.full((20, 20, 3), 77, np.uint8)
    (crop,) = crop_words(image, [TextBox([[-10, -10], [30, -10], [30, 5], [-10, 5]])])
    assert (crop == 77).all()


@pytest.mark.parametrize("side", [20_000, 70_000])
def test_words_of_images_longer_than_opencv_samples(side) -> None:
    page = np.zeros((30, side, 3), np.uint8)
    page[10:20, side - 50 : side - 10] = 255
    corners = np.array([[side - 50, 10], [side - 10, 10], [side - 10, 20], [side - 50, 20]])
    whole = np.array([[0, 0], [side, 0], [side, 30], [0, 30]])
    for image, boxes in (
        (page, (corners, whole)),
        (np.ascontiguousarray(page.transpose(1, 0, 2)), (corners[:, ::-1], whole[:, ::-1])),
    ):
        word, line = crop_words(image, [TextBox(box) for box in boxes], vertical_ratio=None)
        assert sorted(word.shape[:2]) == [10, 40]
        assert word.mean() > 220
        assert max(line.shape) >= 10_000


def test_vertical_words_are_turned_unless_told_otherwise() -> None:
    image = np.zeros((80, 80, 3), np.uint8)
    tall = TextBox([[10, 10], [30, 10], [30, 60], [10, 60]])
    assert crop_words(image, [tall])[0].shape == (20, 50, 3)
    assert crop_words(image, [tall], vertical_ratio=None)[0].shape == (50, 20, 3)
    with pytest.raises(OptionError, match="vertical_ratio"):
        crop_words(image, [tall], vertical_ratio=0.5)
    with pytest.raises(SpecError, match="among the boxes; expected a TextBox"):
        crop_words(image, [np.zeros((4, 2))])


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=8, max_size=8), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_any_quad_gives_a_crop_or_a_documented_error(numbers, height, width) -> None:
    image = np.full((height, width, 3), 9, np.uint8)
    try:
        (crop,) = crop_words(image, [TextBox(np.reshape(numbers, (4, 2)))])
    except NeuronKitError:
        return
    assert crop.ndim == 3
    assert crop.size > 0


def test_bent_words_are_straightened() -> None:
    # A ring of text: red depends on the angle alone and green on the radius, so straightened, red is the same in all
    # rows and green in all columns.
    y, x = np.mgrid[:300, :300] - 149.5
    angle = np.arctan2(y, x)
    image = np.stack([128 + 100 * np.sin(6 * angle), np.hypot(x, y).clip(0, 255), 0 * x], axis=2).astype(np.uint8)
    angles = np.linspace(math.radians(200), math.radians(340), 7)
    top, bottom = (150 + r * np.stack([np.cos(angles), np.sin(angles)], -1) for r in (130, 100))
    bent = TextBox([top[0], top[-1], bottom[-1], bottom[0]], polygon=np.concatenate([top, bottom[::-1]]))
    (crop,) = crop_words(image, [bent])
    assert abs(crop.shape[0] - 30) <= 1
    assert abs(crop.shape[1] - 130 * math.radians(140)) < 8
    middle = 128 + 100 * np.sin(6 * np.linspace(angles[0], angles[-1], crop.shape[1]))
    np.testing.assert_allclose(crop[:, :, 0].astype(float), np.broadcast_to(middle, crop.shape[:2]), atol=16)
    np.testing.assert_allclose(crop[:, :, 1].astype(float).std(axis=1), 0, atol=2)
    (straight,) = crop_words(image, [TextBox(bent.quad)])
    assert straight[:, :, 1].astype(float).std(axis=1).min() > 10


def test_bent_words_down_the_page_are_turned() -> None:
    left = np.stack([np.full(7, 10.0), np.linspace(80, 10, 7)], -1)
    image = np.zeros((100, 100, 3), np.uint8)
    down = TextBox([[10, 10], [30, 10], [30, 80], [10, 80]], polygon=np.concatenate([left[:1], left[:1] + 1, left]))
    assert crop_words(image, [down])[0].size > 0  # nine corners have no upper and lower edge: the quad serves
    # Seven corners down the left side and seven up the right: "top" is what is left.
    polygon = np.concatenate([[[x, 10] for x in np.linspace(10, 30, 7)], [[x, 80] for x in np.linspace(30, 10, 7)]])
    (crop,) = crop_words(image, [TextBox([[10, 10], [30, 10], [30, 80], [10, 80]], polygon=polygon)])
    assert crop.shape == (20, 70, 3)


def column(left: float, top: float, lines: int, widths: tuple[float, ...] = (60, 50, 70), leading: float = 28.0):
    """Rows of words with a space of 8 pixels between them."""
    rows = []
    for i in range(lines):
        x, row = left, []
        for width in widths[i % 2 :] + widths[: i % 2]:
            row.append(word(x, top + leading * i, width))
            x += width + 8
        rows.append(row)
    return rows


def order(blocks, *, angle=0.0):
    """Number the blocks' lines in the order in which they are read when the words are shuffled and the page turned."""
    rows = [row for block in blocks for row in block]
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    placed = [(n, TextBox(box.quad @ turn.T)) for n, row in enumerate(rows) for box in row]
    np.random.default_rng(0).shuffle(placed)
    lines = [[placed[i][0] for i in line] for line in reading_order([box for _, box in placed])]
    assert all(len(set(line)) == 1 for line in lines), "words of several lines in one"
    return [line[0] for line in lines]


@pytest.mark.parametrize("angle", [0.0, 0.06, -0.06])
@pytest.mark.parametrize("shift", [0.0, 9.0, 14.0])
def test_columns_are_read_one_after_the_other(angle, shift) -> None:
    title, footer = [[word(0, 0, 460, 40)]], [[word(30, 400, 200), word(238, 400, 150)]]
    two = [title, column(0, 60, 9), column(260, 60 + shift, 10), footer]
    assert order(two, angle=angle) == list(range(21))
    three = [column(0, 60, 9), column(240, 60 + shift, 8), column(480, 60, 10, leading=25)]
    assert order(three, angle=angle) == list(range(27))


def test_columns_within_columns_and_below_each_other() -> None:
    above = [column(0, 0, 6), column(260, 0, 6)]
    below = [column(0, 250, 5, (90, 80, 90, 70, 82)), column(0, 420, 5), column(260, 420, 5)]
    assert order([*above, *below]) == list(range(27))


def test_prices_stay_beside_their_items() -> None:
    items = [[word(0, 30 * i, 150), word(300, 30 * i, 60)] for i in range(12)]
    assert order([items]) == list(range(12))
    label_and_value = [[word(0, 30 * i, 80), word(120, 30 * i, 200)] for i in range(12)]
    assert order([label_and_value]) == list(range(12))


def test_a_wide_space_in_a_few_lines_makes_no_columns() -> None:
    assert order([column(0, 0, 2, (140, 140)), column(330, 0, 2, (140, 140))][:1]) == [0, 1]
    rows = [[word(0, 30 * i, 150), word(174, 30 * i, 150)] for i in range(4)]
    assert order([rows]) == list(range(4))
