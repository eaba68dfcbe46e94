"""`OCRPipeline`, the one part of `neuronkit.ocr` that needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.ocr.pipeline.reader import OCRPipeline as OCRPipeline

_HOMES = {
    "OCRPipeline": "reader",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
