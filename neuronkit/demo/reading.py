"""The demo itself: one picture, read by the dynamic, the static and the compiled models, and compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuronkit.adapters.craft import StaticCRAFT
from neuronkit.adapters.parseq import StaticPARSeq
from neuronkit.artifact import CompiledModel, load
from neuronkit.compile import compile_for_inferentia
from neuronkit.demo.picture import Truth
from neuronkit.models.craft import CRAFT
from neuronkit.models.parseq import PARSeq
from neuronkit.ocr.craft import CraftProcessor
from neuronkit.ocr.crops import crop_words
from neuronkit.ocr.images import RGBImage
from neuronkit.ocr.page import Page, Word
from neuronkit.ocr.parseq import ParseqProcessor
from neuronkit.ocr.pipeline import OCRPipeline
from neuronkit.parity import ParityReport, assert_parity
from neuronkit.static.model import StaticModel

CANVAS = (736, 512)
"""(height, width) of the detector's fixed input; larger than the picture, which is padded."""
BATCH_SIZE = 8
# Static and dynamic differ by the rounding of float32.
_RTOL, _ATOL = 1e-4, 1e-4
_SAME_PLACE = 0.5


@dataclass(frozen=True)
class Form:
    """A detector and a recogniser in one form: dynamic, static or reloaded."""

    name: str
    detector: Callable[..., Any]
    recognizer: Callable[..., Any]


@dataclass(frozen=True)
class Models:
    """Both models in all their forms, with what surrounds them."""

    craft: StaticCRAFT
    parseq: StaticPARSeq
    detector_processor: CraftProcessor
    recognizer_processor: ParseqProcessor
    forms: tuple[Form, ...]

    @classmethod
    def prepare(cls, craft: CRAFT, parseq: PARSeq, folder: Path) -> Models:
        """Make the static forms, compile them for the CPU, save the artifacts to a folder, and load them again."""
        # The letters are as large as those of the training, so nothing is enlarged.
        detector_processor = CraftProcessor(mag_ratio=1.0)
        recognizer_processor = ParseqProcessor(charset=parseq.charset)
        static_craft = StaticCRAFT(craft, height=CANVAS[0], width=CANVAS[1])
        static_parseq = StaticPARSeq(parseq, batch_size=BATCH_SIZE)
        forms = (
            Form("dynamic", craft, parseq),
            Form("static", static_craft, static_parseq),
            Form(
                "reloaded",
                compile_and_reload(static_craft, detector_processor, folder / "craft.pt"),
                compile_and_reload(static_parseq, recognizer_processor, folder / "parseq.pt"),
            ),
        )
        return cls(static_craft, static_parseq, detector_processor, recognizer_processor, forms)

    def read(self, image: RGBImage) -> dict[str, Page]:
        """Read a picture with every form."""
        return {
            form.name: OCRPipeline(
                form.detector,
                form.recognizer,
                detector_processor=self.detector_processor,
                recognizer_processor=self.recognizer_processor,
                recognizer_batch_size=BATCH_SIZE,
            )(image)
            for form in self.forms
        }

    def parity(self, image: RGBImage, page: Page) -> dict[str, ParityReport]:
        """Compare the numbers of static and reloaded models with those of the dynamic ones, on a picture's own data.

        Raises:
            ParityError: If they differ by more than float32 rounding.
        """
        fixed = CraftProcessor(mag_ratio=self.detector_processor.mag_ratio, canvas=CANVAS)
        canvas, letterboxes = fixed.preprocess([image])
        valid_size = np.array([letterboxes[0].valid_size], dtype=np.int32)
        page_inputs = (torch.from_numpy(canvas), torch.from_numpy(valid_size))
        crops = crop_words(image, [word.box for word in page.words])
        words = torch.from_numpy(self.recognizer_processor.preprocess(crops))
        # A last batch that is not full is filled from the first.
        words = torch.cat([words, words[: -len(words) % BATCH_SIZE]])
        batches = [(batch,) for batch in words.split(BATCH_SIZE)]
        reports = {}
        for form in self.forms[1:]:
            reports[f"CRAFT, {form.name}"] = _compare(self.craft, form.detector, [page_inputs])
            reports[f"PARSeq, {form.name}"] = _compare(self.parseq, form.recognizer, batches)
        return reports


def compile_and_reload(model: StaticModel, processor: CraftProcessor | ParseqProcessor, path: Path) -> CompiledModel:
    """Compile for the CPU, save, and load what was saved."""
    compile_for_inferentia(model, target="cpu", processor=processor).save(path)
    return load(path)


def match_words(truth: Sequence[Truth], words: Sequence[Word]) -> list[Word | None]:
    """Find what was read at the place of each true word.

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
    """Say where pages that must be the same are not: in the number of words, in a text, or by a pixel in a box."""
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
