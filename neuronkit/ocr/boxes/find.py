"""Words in CRAFT's score maps, as in clovaai/CRAFT-pytorch and many times faster."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronkit import checks
from neuronkit.ocr.boxes.components import Components, Map, find_components, score_maps
from neuronkit.ocr.boxes.polygons import fit_polygons
from neuronkit.ocr.boxes.quads import fit_quads
from neuronkit.ocr.boxes.runs import RowMask, connect
from neuronkit.ocr.geometry import TextBox


def find_boxes(
    region: Any,
    affinity: Any,
    *,
    text_threshold: float = 0.7,
    link_threshold: float = 0.4,
    low_text: float = 0.4,
    polygons: bool = False,
    count_characters: bool = False,
    min_area: int = 10,
    min_polygon_side: int = 10,
) -> list[TextBox]:
    """Find the words in one image's score maps.

    Gives the boxes of the original's `getDetBoxes` (clovaai/CRAFT-pytorch, craft_utils.py): the same ones, in the same
    order, with the same corners. Two defects are not kept: links without any text make no box of zeros, and one word
    that fills a map of more than 1300 x 1300 does not overflow.

    Args:
        region: (H, W) floating point, score of each pixel for being in the middle of a character, 0..1.
        affinity: (H, W), score for being between two characters of a word.
        text_threshold: A word has a region score of at least this somewhere.
        link_threshold: Pixels with a higher affinity join what they touch.
        low_text: Pixels with a higher region score belong to a word.
        polygons: Fit polygons to curved words too (the original's `getPoly`).
        count_characters: Count the characters of each word (EasyOCR's `estimate_num_chars`).
        min_area: Fewest pixels of text and link in a word.
        min_polygon_side: Words with a shorter side, in pixels, get no polygon.

    Returns:
        One box a word, in score-map pixels, ordered by each word's first pixel, row by row.

    Raises:
        OptionError: If a threshold is not a number in 0..1, or a size not a positive whole number.
        SpecError: If the maps are not two finite (H, W) arrays of one size.

    Examples:
        >>> region = np.zeros((32, 64), np.float32)
        >>> region[10:20, 8:40] = 1
        >>> len(neuronkit.ocr.find_boxes(region, np.zeros_like(region)))
        1
    """
    options = {
        "text_threshold": checks.number("text_threshold", text_threshold, 0, 1),
        "link_threshold": checks.number("link_threshold", link_threshold, 0, 1),
        "low_text": checks.number("low_text", low_text, 0, 1),
        "min_area": checks.integer("min_area", min_area, 1, 1 << 31),
    }
    min_side = checks.integer("min_polygon_side", min_polygon_side, 1, 1 << 31)
    polygons = checks.flag("polygons", polygons)
    count_characters = checks.flag("count_characters", count_characters)
    region, affinity = score_maps(region, affinity)
    words = find_components(region, affinity, **options)  # type: ignore[arg-type]
    quads = fit_quads(words.points)
    outlines: list[NDArray[np.float32] | None] = [None] * len(quads)
    if polygons and len(quads):
        outlines = fit_polygons(quads, words.paint_labels(), min_side=min_side)
    counts: list[int | None] = [None] * len(quads)
    if count_characters:
        counts = list(_count_characters(region, affinity, words, text_threshold))
    return [
        TextBox(*fields) for fields in zip(quads, np.clip(words.peaks, 0, 1).tolist(), outlines, counts, strict=True)
    ]


def _count_characters(region: Map, affinity: Map, words: Components, text_threshold: float) -> list[int]:
    """Count the 4-connected regions in each word where region score exceeds affinity by more than the threshold."""
    peaks = RowMask(*region.shape)
    # Times 255 and back, as the original masks it: in float32 the last bit may change.
    with np.errstate(over="ignore"):
        difference = (region - affinity) * np.float32(255) / np.float32(255)
    np.logical_and(difference > text_threshold, words.joined.pixels, out=peaks.pixels)
    runs = peaks.runs()
    characters, _ = connect(runs)
    _, first_runs = np.unique(characters, return_index=True)
    held_by = words.regions[words.runs.holding(runs)[first_runs]]
    counts: list[int] = np.bincount(held_by, minlength=len(words.regions) + 1)[words.ids].tolist()
    return counts
