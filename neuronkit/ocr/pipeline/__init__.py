"""The reader, the one part of `neuronkit.ocr` that needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuronkit.ocr.pipeline.reader import OCRPipeline as OCRPipeline

__all__ = ["OCRPipeline"]


def __getattr__(name: str) -> Any:
    if name != "OCRPipeline":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    from neuronkit.ocr.pipeline import reader

    return reader.OCRPipeline
