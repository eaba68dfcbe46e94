"""Reads one picture with the dynamic, the static and the compiled models, and compares the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuronkit.adapters.craft import CRAFTOptions, StaticCRAFT
from neuronkit.adapters.parseq import PARSeqOptions, StaticPARSeq
from neuronkit.artifact import CompiledModel, load
from neuronkit.compile import compile_for_inferentia
from neuronkit.compile.parity import ParityReport, assert_parity
from neuronkit.demo.picture import Truth
from neuronkit.models.craft import CRAFT
from neuronkit.models.parseq import PARSeq
from neuronkit.ocr.craft import CraftProcessor
from neuronkit.ocr.crops import crop_words
from neuronkit.ocr.images import RGBImage
from neuronkit.ocr.page import Page, Word
from neuronkit.ocr.parseq import ParseqProcessor
from neuronkit.ocr.pipeline import OCRPipeline
from neuronkit.static.model import StaticModel

CANVAS = (736, 512)
"""(height, width) of the detector's fixed input; larger than the picture, which is padded."""
BATCH_SIZE = 8
# Static and dynamic differ by the rounding of float32.
_RTOL, _ATOL = 1e-4, 1e-4
_SAME_PLACE = 0.5


@dataclass(frozen=True)
class Variant:
    """A detector and a recogniser: both dynamic, both static, or both compiled and loaded again."""

    name: str
    detector: Callable[..., Any]
    recognizer: Callable[..., Any]


@dataclass(frozen=True)
class Models:
    """All variants of both models, and the processors of the static ones, which take images as bytes."""

    craft: StaticCRAFT
    parseq: StaticPARSeq
    detector_processor: CraftProcessor
    recognizer_processor: ParseqProcessor
    variants: tuple[Variant, ...]

    @classmethod
    def prepare(cls, craft: CRAFT, parseq: PARSeq, folder: Path) -> Models:
        """Make the static models, compile them for the CPU, save the artifacts to a folder, and load them again.

        Bytes go in, and no more comes out than is read: score maps, and tokens with their probabilities.
        """
        # The letters have the size of those in training, so nothing is enlarged.
        detector_processor = CraftProcessor(mag_ratio=1.0, raw_images=True)
        recognizer_processor = ParseqProcessor(charset=parseq.charset, raw_images=True)
        static_craft = StaticCRAFT(craft, options=CRAFTOptions(*CANVAS, features=False, raw_images=True))
        options = PARSeqOptions(outputs="tokens", raw_images=True)
        static_parseq = StaticPARSeq(parseq, batch_size=BATCH_SIZE, options=options)
        variants = (
            Variant("dynamic", craft, parseq),
            Variant("static", static_craft, static_parseq),
            Variant(
                "reloaded",
                compile_and_reload(static_craft, detector_processor, folder / "craft.pt"),
                compile_and_reload(static_parseq, recognizer_processor, folder / "parseq.pt"),
            ),
        )
        return cls(static_craft, static_parseq, detector_processor, recognizer_processor, variants)

    def read(self, image: RGBImage) -> dict[str, Page]:
        """Read a picture with every variant."""
        return {variant.name: self._pipeline(variant)(image) for variant in self.variants}

    def _pipeline(self, variant: Variant) -> OCRPipeline:
        # The dynamic models take normalised images.
        raw = hasattr(variant.detector, "specs")
        return OCRPipeline(
            variant.detector,
            variant.recognizer,
            detector_processor=replace(self.detector_processor, raw_images=raw),
            recognizer_processor=replace(self.recognizer_processor, raw_images=raw),
            recognizer_batch_size=BATCH_SIZE,
        )

    def parity(self, image: RGBImage, page: Page) -> dict[str, ParityReport]:
        """Compare the numbers of static and reloaded models with those of the dynamic ones, on a picture's own data.

        Raises:
            ParityError: If they differ by more than float32 rounding.
        """
        fixed = replace(self.detector_processor, canvas=CANVAS)
        canvas, letterboxes = fixed.preprocess([image])
        valid_size = np.array([letterboxes[0].valid_size], dtype=np.int32)
        page_inputs = (torch.from_numpy(canvas), torch.from_numpy(valid_size))
        crops = crop_words(image, [word.box for word in page.words])
        words = torch.from_numpy(self.recognizer_processor.preprocess(crops))
        # The last batch is filled with words from the first.
        words = torch.cat([words, words[: -len(words) % BATCH_SIZE]])
        batches = [(batch,) for batch in words.split(BATCH_SIZE)]
        reports = {}
        for variant in self.variants[1:]:
            reports[f"CRAFT, {variant.name}"] = _compare(self.craft, variant.detector, [page_inputs])
            reports[f"PARSeq, {variant.name}"] = _compare(self.parseq, variant.recognizer, batches)
        return reports


def compile_and_reload(model: StaticModel, processor: CraftProcessor | ParseqProcessor, path: Path) -> CompiledModel:
    """Compile for the CPU, save, and load what was saved."""
    compile_for_inferentia(model, target="cpu", processor=processor).save(path)
    return load(path)


def match_words(truth: Sequence[Truth], words: Sequence[Word]) -> list[Word | None]:
    """Match the words that were read to the true words, by place.

    Args:
        truth: The true words.
        words: The words read.

    Returns:
        For each true word the one read whose middle is nearest to its own and not more than half its height away;
        None where there is none. No word is given twice.
    """
    left = list(words)
    matches: list[Word | None] = []
    for true in truth:
        middle, height = true.quad.mean(axis=0), np.linalg.norm(true.quad[3] - true.quad[0])
        distances = [float(np.linalg.norm(word.box.quad.mean(axis=0) - middle)) for word in left]
        near = bool(distances) and min(distances) <= height * _SAME_PLACE
        matches.append(left.pop(int(np.argmin(distances))) if near else None)
    return matches


def disagreements(pages: dict[str, Page]) -> list[str]:
    """Describe where pages differ that must be equal: number of words, text, or a box by more than a pixel."""
    (first, expected), *others = pages.items()
    found = []
    for name, page in others:
        if len(page.words) != len(expected.words):
            found.append(f"{name} found {len(page.words)} words, {first} {len(expected.words)}")
            continue
        for a, b in zip(page.words, expected.words, strict=True):
            moved = float(np.abs(a.box.quad - b.box.quad).max())
            if a.text != b.text or moved > 1:
                found.append(f"{name} read {a.text!r}, {first} {b.text!r}; their boxes are {moved:.2f} pixels apart")
    return found


def _compare(static: StaticModel, function: Callable[..., Any], inputs: Sequence[tuple[Tensor, ...]]) -> ParityReport:
    return assert_parity(
        lambda *x: static.meaningful(function(*x), x),
        lambda *x: static.meaningful(static.reference(*x), x),
        inputs,
        rtol=_RTOL,
        atol=_ATOL,
    )
