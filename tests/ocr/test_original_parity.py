"""Score maps of many kinds: the boxes and polygons of the original, in a small part of its time."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from neuronkit.ocr import CraftProcessor, find_boxes

from .score_maps import make_score_maps

COUNTS = (0, 1, 5, 20, 50, 100, 200, 400)
KINDS: tuple[dict[str, float], ...] = ({}, {"spread": 1.15}, {"shift": 0.5}, {"spread": 1.05, "shift": 0.3})
# Each count of words in each kind of map four times.
CHUNKS, CHUNK = 4, 32


def assert_same_words(found, quads, polygons) -> None:
    assert len(found) == len(quads)
    for box, quad, polygon in zip(found, quads, polygons, strict=True):
        np.testing.assert_allclose(box.quad, quad, rtol=0, atol=1e-3)
        assert (box.polygon is None) == (polygon is None)
        if polygon is not None:
            np.testing.assert_allclose(box.polygon, polygon, rtol=0, atol=1e-2)


@pytest.mark.peers
@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_boxes_and_polygons_of_generated_maps(chunk) -> None:
    from easyocr.craft_utils import getDetBoxes

    boxes = curved = 0
    for i in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        # Few large ones: the original's time grows with the size of the map.
        size = 1200 if i % 13 == 0 else 640
        region, affinity = make_score_maps(size, COUNTS[i // 2 % len(COUNTS)], i, **KINDS[i // 16 % len(KINDS)])
        quads, polygons, _ = getDetBoxes(region, affinity, 0.7, 0.4, 0.4, poly=True)
        assert_same_words(find_boxes(region, affinity, polygons=True), quads, polygons)
        boxes += len(quads)
        curved += sum(polygon is not None for polygon in polygons)
    # The comparison means something only if there is something to compare.
    assert boxes > 2000
    assert curved > 100


@pytest.mark.peers
@pytest.mark.parametrize("thresholds", [(0.5, 0.2, 0.3), (0.8, 0.6, 0.5), (0.6, 0.4, 0.2)])
def test_other_thresholds(thresholds) -> None:
    from easyocr.craft_utils import getDetBoxes

    text, link, low = thresholds
    for seed in range(4):
        region, affinity = make_score_maps(640, 100, seed, spread=1.1)
        quads, polygons, _ = getDetBoxes(region, affinity, *thresholds, poly=True)
        found = find_boxes(region, affinity, text_threshold=text, link_threshold=link, low_text=low, polygons=True)
        assert_same_words(found, quads, polygons)


@pytest.mark.peers
def test_character_counts_are_easyocrs() -> None:
    from easyocr.craft_utils import getDetBoxes

    seen = set()
    for seed in range(4):
        region, affinity = make_score_maps(640, 60, seed)
        _, _, counts = getDetBoxes(region, affinity, 0.7, 0.4, 0.4, estimate_num_chars=True)
        assert [box.characters for box in find_boxes(region, affinity, count_characters=True)] == counts
        seen.update(counts)
    assert len(seen) > 5


@pytest.mark.peers
def test_source_coordinates_are_easyocrs() -> None:
    from easyocr.craft_utils import adjustResultCoordinates, getDetBoxes

    processor = CraftProcessor(canvas_size=1280, mag_ratio=1.5)
    letterbox = processor.letterbox((731, 1234))
    height, width = letterbox.valid_size
    region, affinity = (plane[: height // 2, : width // 2] for plane in make_score_maps(640, 60, 5))
    quads, _, _ = getDetBoxes(region, affinity, 0.7, 0.4, 0.4)
    expected = adjustResultCoordinates(quads, 1 / letterbox.scale, 1 / letterbox.scale)
    (found,) = processor.postprocess(np.stack([region, affinity], -1)[None], [letterbox])
    np.testing.assert_array_equal([box.quad for box in found], expected)


def best_times(*functions, rounds):
    """Shortest time of each, taken in turns, so that a busy machine slows all of them."""
    best = [float("inf")] * len(functions)
    for _ in range(rounds):
        for i, function in enumerate(functions):
            begin = time.perf_counter()
            function()
            best[i] = min(best[i], time.perf_counter() - begin)
    return best


@pytest.mark.peers
@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "polygons", "ratio"), [(100, False, 25), (400, False, 80), (100, True, 15), (400, True, 25)]
)
def test_time_as_a_share_of_the_originals(words, polygons, ratio) -> None:
    from easyocr.craft_utils import getDetBoxes

    region, affinity = make_score_maps(1200, words, 1200 + words)
    slow, fast = best_times(
        lambda: getDetBoxes(region, affinity, 0.7, 0.4, 0.4, poly=polygons),
        lambda: find_boxes(region, affinity, polygons=polygons),
        rounds=3,
    )
    # Half of what benchmarks/ocr.py shows: a busy machine must not fail this, a scan of the map per word must.
    assert slow / fast >= ratio / 2


@pytest.mark.peers
def test_boxes_and_polygons_of_the_demos_own_maps() -> None:
    import torch
    from easyocr.craft_utils import getDetBoxes

    from neuronkit.demo.picture import IMAGE
    from neuronkit.demo.weights import load_craft

    craft, found = load_craft(), 0
    for mag_ratio in (0.5, 1.0, 1.5):
        canvas, _ = CraftProcessor(mag_ratio=mag_ratio).preprocess([IMAGE])
        with torch.no_grad():
            scores = craft(torch.from_numpy(canvas))[0][0].numpy()
        region, affinity = scores[:, :, 0], scores[:, :, 1]
        quads, polygons, _ = getDetBoxes(region, affinity, 0.7, 0.4, 0.4, poly=True)
        assert_same_words(find_boxes(region, affinity, polygons=True), quads, polygons)
        found += len(quads)
    assert found >= 30


def load_benchmark():
    path = Path(__file__).parents[2] / "benchmarks" / "ocr.py"
    spec = importlib.util.spec_from_file_location("benchmark_ocr", path)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.peers
@pytest.mark.slow
def test_detection_on_a_reloaded_artifact_is_easyocrs() -> None:
    from neuronkit import StaticCRAFT
    from neuronkit.demo.pages import PageStyle, render_page
    from neuronkit.demo.weights import load_craft

    benchmark = load_benchmark()
    craft = benchmark.widened(load_craft())
    theirs = benchmark.EasyOCRDetector(craft)
    page = render_page(np.random.default_rng(3), (288, 384), PageStyle(font_sizes=(14, 18), max_words=200)).image
    expected = theirs(page)
    processor = CraftProcessor(mag_ratio=1.0)
    canvas, letterboxes = processor.preprocess([page])
    static = StaticCRAFT(craft, height=canvas.shape[2], width=canvas.shape[3])
    for artifact in (benchmark.reloaded(craft, canvas.shape, "cpu"), benchmark.reloaded(static, None, "cpu")):
        (found,) = processor.postprocess(benchmark.scores_of(artifact, canvas), letterboxes)
        assert len(found) == len(expected) >= 12
        np.testing.assert_allclose([box.quad for box in found], expected, rtol=0, atol=1e-3)
        speed = benchmark.compare(
            "", "", lambda: theirs.network(canvas), lambda a=artifact: benchmark.scores_of(a, canvas), 3
        )
        # Plain TorchScript is some 1.2 times as fast as EasyOCR's eager network here; noise must not fail this.
        assert speed.computing_ratio > 1.0


@pytest.mark.peers
def test_the_benchmark_prints_its_numbers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    numbers, picture = tmp_path / "out.json", tmp_path / "out.png"
    arguments = ["images", "--rounds", "2", "--json", str(numbers), "--plot", str(picture)]
    monkeypatch.setattr(sys, "argv", ["ocr.py", *arguments])
    # A script finds what lies beside it.
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    assert load_benchmark().main() == 0
    assert "preprocess 3000 x 2000" in capsys.readouterr().out
    results = json.loads(numbers.read_text())["results"]
    assert [r["ratio"] > 0 for r in results] == [True, True]
    assert picture.stat().st_size > 0
