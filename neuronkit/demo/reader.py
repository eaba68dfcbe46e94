"""A page reader with the demo's small weights, for a first try."""

from __future__ import annotations

from typing import Any

from neuronkit.demo.weights import load_craft, load_parseq
from neuronkit.ocr.craft import CraftProcessor
from neuronkit.ocr.parseq import ParseqProcessor
from neuronkit.ocr.pipeline import OCRPipeline

WHAT_IT_READS = (
    "the demo's small weights read receipts and other print in Latin letters, without case, and digits, 10 to 48 "
    "pixels high, and few words of photographs; compile your own weights for anything else (neuronkit compile --help)"
)


def demo_reader(**options: Any) -> OCRPipeline:
    """Make a reader with the weights that ship with the package; see `WHAT_IT_READS`.

    Args:
        options: Those of `OCRPipeline`.
    """
    craft, parseq = load_craft(), load_parseq()
    # Letters have the size of those in training, so nothing is enlarged. 0.4 joins words of print.
    finding = CraftProcessor(mag_ratio=1.0, canvas_size=2560, link_threshold=0.5)
    return OCRPipeline(
        craft,
        parseq,
        detector_processor=finding,
        recognizer_processor=ParseqProcessor(charset=parseq.charset),
        **options,
    )
