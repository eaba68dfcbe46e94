"""docTR's ViPTR: one pass over an image of one size, read by CTC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from neuronkit.adapters.doctr.recognizer import DoctrOptions, DoctrReader
from neuronkit.adapters.registry import Family
from neuronkit.interface import Interface
from neuronkit.ocr.doctr import DoctrProcessor
from neuronkit.static.ops import tokens_of


class StaticViPTR(DoctrReader):
    """docTR's ViPTR at a fixed batch.

    Called with images (N, 3, H, W), it gives logits (N, T, C): the vocabulary, then the blank. It attends to the whole
    image, padding included, as docTR trained it: crops are padded to the one size, and there is no valid width.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        options: Size and outputs.

    Raises:
        OptionError: If `options` name a method of decoding.
    """

    family = "doctr_viptr"
    confidence = "minimum"

    @property
    def interface(self) -> Interface:
        """A recogniser read by CTC, whose blank comes after the vocabulary."""
        return replace(super().interface, blank_id=len(self.source.vocab), bos_id=None, eos_id=None, pad_id=None)

    def reading(self, source: Any) -> nn.Module:
        return ViPTRReading(source)

    @property
    def tokens_of(self) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """The likeliest classes and their probabilities, of all positions."""
        return tokens_of

    def decoded(self, outputs: Any) -> list[tuple[str, float]]:
        """Text and confidence (0..1) of each row."""
        processor = DoctrProcessor(str(self.source.vocab), confidence=self.confidence, ctc=True)
        return [(word.text, word.confidence) for word in processor.postprocess(outputs)]


class ViPTRReading(nn.Module):
    """Images → logits."""

    def __init__(self, core: Any) -> None:
        super().__init__()
        self.features, self.head = core.feat_extractor, core.head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images)["features"])


FAMILY = Family(
    name="doctr_viptr",
    class_names=("doctr.models.recognition.viptr.pytorch.VIPTR",),
    matches=lambda model: False,
    options=DoctrOptions,
    build=StaticViPTR,
)
