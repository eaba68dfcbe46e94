"""find_boxes gives the originals' boxes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronkit.errors import NeuronKitError, OptionError, SpecError
from neuronkit.ocr import CraftProcessor, Letterbox, find_boxes

from .score_maps import THRESHOLDS, make_score_maps, slow_boxes, slow_polygon

pytestmark = pytest.mark.arrays

KINDS = [{}, {"spread": 1.15}, {"shift": 0.5}]


def assert_same_boxes(found, expected) -> None:
    assert len(found) == len(expected)
    if len(expected):
        np.testing.assert_allclose([box.quad for box in found], expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("words", [0, 1, 9, 64])
def test_boxes_are_those_of_the_definition(words, kind) -> None:
    region, affinity = make_score_maps(160, words, 3, **kind)
    expected = slow_boxes(region, affinity, **THRESHOLDS)
    if words == 9:
        assert len(expected) >= 5
    assert_same_boxes(find_boxes(region, affinity, **THRESHOLDS), expected)


@given(
    seed=st.integers(0, 2**16),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    low=st.sampled_from([0.2, 0.4, 0.5]),
    link=st.sampled_from([0.2, 0.4, 0.6]),
    text=st.sampled_from([0.5, 0.7]),
    area=st.sampled_from([1, 10]),
)
@settings(max_examples=150, deadline=None)
def test_boxes_of_random_fields_are_those_of_the_definition(seed, height, width, low, link, text, area) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.random((2, -(-height // 3), -(-width // 3)), dtype=np.float32)
    region, affinity = (np.kron(plane, np.ones((3, 3), np.float32))[:height, :width] for plane in coarse)
    options = {"text_threshold": text, "link_threshold": link, "low_text": low, "min_area": area}
    assert_same_boxes(find_boxes(region, affinity, **options), slow_boxes(region, affinity, **options))


@pytest.mark.peers
@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("words", [0, 20, 100, 400])
def test_boxes_are_those_of_easyocr(words, kind) -> None:
    from easyocr.craft_utils import getDetBoxes

    region, affinity = make_score_maps(640, words, 11, **kind)
    expected, _, _ = getDetBoxes(region, affinity, 0.7, 0.4, 0.4)
    assert_same_boxes(find_boxes(region, affinity), expected)


@pytest.mark.parametrize("seed", range(6))
def test_polygons_are_those_of_the_definition(seed) -> None:
    region, affinity = make_score_maps(400, 25, seed)
    joined = ((region > 0.4) | (affinity > 0.4)).astype(np.uint8)
    labels = cv2.connectedComponents(joined, connectivity=4)[1]
    curved = 0
    for box in find_boxes(region, affinity, polygons=True):
        # The box touches its word: the most frequent label inside it is the word's.
        inside = cv2.fillPoly(np.zeros_like(joined), [np.rint(box.quad).astype(np.int32)], 1) & (region > 0.4)
        label = np.bincount(labels[inside > 0]).argmax()
        expected = slow_polygon(box.quad, labels == label)
        assert (box.polygon is None) == (expected is None)
        if expected is not None:
            curved += 1
            np.testing.assert_allclose(box.polygon, expected, rtol=0, atol=1e-2)
    assert curved >= 2


def test_the_ends_of_a_long_thin_arc_are_those_of_the_definition() -> None:
    # Its ends lie further out than the search for them goes.
    y, x = np.mgrid[:80, :400].astype(np.float64)
    word = (np.abs(y - 40 - 12 * np.cos((x - 200) / 180 * np.pi / 2)) < 4) & (np.abs(x - 200) < 180)
    (box,) = find_boxes(word.astype(np.float32), np.zeros(word.shape, np.float32), polygons=True)
    np.testing.assert_allclose(box.polygon, slow_polygon(box.quad, word), rtol=0, atol=1e-2)


@pytest.mark.parametrize(("ratio", "upright"), [(1.0, True), (1.06, True), (1.16, False), (1.4, False)])
def test_nearly_square_words_stand_upright(ratio, upright) -> None:
    y, x = np.mgrid[:100, :100].astype(np.float64) - 50
    along, across = (x + y) / 2**0.5, (y - x) / 2**0.5
    region = ((np.abs(along) < 18 * ratio) & (np.abs(across) < 18)).astype(np.float32)
    affinity = np.zeros_like(region)
    found = find_boxes(region, affinity)
    assert_same_boxes(found, slow_boxes(region, affinity, **THRESHOLDS))
    assert (np.abs(np.diff(found[0].quad, axis=0)).min(axis=1) < 1e-3).all() == upright


def test_small_words_get_no_polygon() -> None:
    region, affinity = make_score_maps(400, 25, 0)
    assert any(box.polygon is not None for box in find_boxes(region, affinity, polygons=True))
    assert all(box.polygon is None for box in find_boxes(region, affinity, polygons=True, min_polygon_side=100))
    assert all(box.polygon is None for box in find_boxes(region, affinity))


def test_characters_are_counted() -> None:
    region, affinity = np.zeros((2, 20, 80), np.float32)
    for x in (10, 30, 50):
        region[6:14, x : x + 10] = 0.9
        affinity[8:12, x + 10 : x + 20] = 0.5
    # Joined in one row of scores that are high enough to be text and too low to be a character.
    region[10, 10:60] = np.maximum(region[10, 10:60], 0.5)
    (box,) = find_boxes(region, affinity, count_characters=True)
    assert box.characters == 3
    assert find_boxes(region, affinity)[0].characters is None


@pytest.mark.parametrize(("name", "value"), [("polygons", 1), ("count_characters", None), ("min_polygon_side", 0)])
def test_switches_are_checked(name, value) -> None:
    with pytest.raises(OptionError, match=name):
        find_boxes(np.zeros((4, 4)), np.zeros((4, 4)), **{name: value})


def test_confidence_is_the_highest_region_score() -> None:
    region, affinity = np.zeros((2, 20, 40), np.float32)
    region[5:10, 5:20] = 0.5
    region[7, 9] = 0.75
    (box,) = find_boxes(region, affinity)
    assert box.confidence == 0.75


def test_words_below_the_threshold_and_below_the_minimum_size_are_left_out() -> None:
    region, affinity = np.zeros((2, 20, 40), np.float32)
    region[2:4, 2:6] = 1.0
    region[10:15, 10:30] = 0.6
    assert find_boxes(region, affinity) == []
    assert len(find_boxes(region, affinity, min_area=8)) == 1
    assert len(find_boxes(region, affinity, text_threshold=0.6)) == 1


def test_links_without_text_make_no_box() -> None:
    # Where low_text exceeds text_threshold, the original gives a box of zeros here.
    region, affinity = np.full((20, 40), 0.55, np.float32), np.zeros((20, 40), np.float32)
    affinity[5:10, 5:30] = 1.0
    assert find_boxes(region, affinity, text_threshold=0.5, low_text=0.6, link_threshold=0.2) == []


def test_a_map_that_is_one_word_and_larger_than_int32_can_multiply() -> None:
    region = np.ones((1400, 1400), np.float32)
    (box,) = find_boxes(region, np.zeros_like(region))
    np.testing.assert_array_equal(box.quad, [[0, 0], [1399, 0], [1399, 1399], [0, 1399]])


def test_characters_are_counted_in_links_too() -> None:
    region = np.zeros((12, 30), np.float32)
    region[4:8, 4:8] = 0.9
    region[4:8, 8:12] = 0.3
    region[4:8, 14:17] = 0.5
    affinity = np.zeros_like(region)
    affinity[4:8, 8:18] = 0.2
    # The second peak lies in the link: below low_text, and above the threshold over the link.
    (box,) = find_boxes(region, affinity, text_threshold=0.25, link_threshold=0.1, low_text=0.6, count_characters=True)
    assert box.characters == 2


def test_tensors_that_hold_no_dense_numbers_are_refused() -> None:
    import torch

    for tensor in (torch.eye(4).to_sparse(), torch.empty(4, 4, device="meta")):
        with pytest.raises(SpecError, match="expected a dense tensor"):
            find_boxes(tensor, tensor)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_matrices_are_arrays() -> None:
    region = np.zeros((12, 20))
    region[3:8, 3:15] = 0.9
    (expected,) = find_boxes(region, region)
    (found,) = find_boxes(np.asmatrix(region), np.asmatrix(region))
    np.testing.assert_array_equal(found.quad, expected.quad)


def test_half_precision_tensors_are_taken() -> None:
    import torch

    region, affinity = make_score_maps(160, 9, 3)
    low = torch.from_numpy(np.stack([region, affinity], -1))[None].to(torch.bfloat16)
    letterbox = Letterbox((320, 320), (320, 320), (320, 320), 1.0)
    (found,) = CraftProcessor().postprocess(low, [letterbox])
    expected = find_boxes(low[0, :, :, 0].float().numpy(), low[0, :, :, 1].float().numpy())
    np.testing.assert_array_equal([b.quad for b in found], [b.quad * 2 for b in expected])


@pytest.mark.parametrize("shape", [(0, 0), (4,), (1, 4, 4), (2, 2, 2, 2), ()], ids=str)
def test_maps_of_a_wrong_shape_are_refused(shape) -> None:
    with pytest.raises(SpecError, match=r"expected the same \(H, W\)"):
        find_boxes(np.zeros(shape, np.float32), np.zeros(shape, np.float32))


def test_maps_with_nan_are_refused() -> None:
    region = np.zeros((8, 8), np.float32)
    region[3, 4] = np.nan
    with pytest.raises(SpecError, match="region scores with 1 values that are NaN"):
        find_boxes(region, np.zeros_like(region))
    with pytest.raises(SpecError, match="affinity scores with 1 values that are NaN"):
        find_boxes(np.zeros_like(region), region)


@pytest.mark.parametrize("name", ["text_threshold", "link_threshold", "low_text"])
@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), "0.4", None, True])
def test_thresholds_are_checked(name, value) -> None:
    with pytest.raises(OptionError, match=name):
        find_boxes(np.zeros((4, 4)), np.zeros((4, 4)), **{name: value})
    with pytest.raises(OptionError, match=name):
        CraftProcessor(**{name: value})


@given(
    st.data(),
    st.sampled_from(["float16", "float32", "float64", "uint8", "int64", "bool", "complex64", "object", "U3"]),
    st.sampled_from([0.0, 1.0, -1e30, 3e38, np.inf, -np.inf, np.nan]),
)
@settings(max_examples=200, deadline=None)
def test_hostile_maps_give_boxes_or_a_documented_error(data, dtype, value) -> None:
    shape = data.draw(st.lists(st.integers(0, 6), max_size=4))
    other = data.draw(st.sampled_from([shape, [*shape, 2], [3, 3]]))
    with np.errstate(all="ignore"):
        region, affinity = np.full(shape, value).astype(dtype), np.full(other, value).astype(dtype)
    try:
        boxes = find_boxes(region, affinity, min_area=1)
    except NeuronKitError:
        return
    assert all(np.isfinite(box.quad).all() for box in boxes)


def test_scores_above_one_make_no_confidence_above_one() -> None:
    region = np.zeros((20, 40))
    region[5:15, 5:35] = 1.25
    (box,) = find_boxes(region, np.zeros_like(region))
    assert box.confidence == 1.0
