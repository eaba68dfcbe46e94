"""docTR's ViPTR: one pass over an image of one size, read by CTC."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from neuronkit.adapters.doctr.recognizer import DoctrOptions, DoctrReader
from neuronkit.adapters.registry import Family
from neuronkit.interface import Interface
from neuronkit.ocr.doctr import DoctrProcessor
from neuronkit.static.decoding.decoding import TOKENS
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
        OptionError: If a method of decoding is asked for.
    """

    family = "doctr_viptr"
    confidence = "minimum"

    @property
    def interface(self) -> Interface:
        """A recogniser read by CTC, whose blank comes after the vocabulary."""
        return replace(super().interface, blank_id=len(self.source.vocab), bos_id=None, eos_id=None, pad_id=None)

    def modules_by_name(self, source: Any) -> dict[str, nn.Module]:
        return {"read": ViPTRReading(source, gives_tokens=self.options.outputs == TOKENS)}

    def as_outputs(self, outputs: Any) -> Any:
        """Logits, or with ``outputs="tokens"`` the likeliest classes and their probabilities."""
        return tokens_of(outputs) if self.options.outputs == TOKENS else outputs

    def decoded(self, outputs: Any) -> list[tuple[str, float]]:
        """Text and confidence (0..1) of each row."""
        processor = DoctrProcessor(str(self.source.vocab), confidence=self.confidence, ctc=True)
        return [(word.text, word.confidence) for word in processor.postprocess(outputs)]


class ViPTRReading(nn.Module):
    """Images → logits, or the likeliest classes and their probabilities."""

    def __init__(self, core: Any, *, gives_tokens: bool) -> None:
        super().__init__()
        self.features, self.head, self.gives_tokens = core.feat_extractor, core.head, gives_tokens

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        logits = self.head(self.features(images)["features"])
        return tokens_of(logits) if self.gives_tokens else logits


FAMILY = Family(
    name="doctr_viptr",
    class_names=("doctr.models.recognition.viptr.pytorch.VIPTR",),
    matches=lambda model: False,
    options=DoctrOptions,
    build=StaticViPTR,
)
