"""docTR's CRNNs: convolutions, a bidirectional LSTM of two layers, CTC whose blank is the last class."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from neuronkit.adapters.doctr.recognizer import image_spec, logits_of, normalization
from neuronkit.adapters.lines.model import LineOptions, StaticLine
from neuronkit.adapters.registry import Family
from neuronkit.interface import Interface
from neuronkit.static.original import unwrap


class StaticDoctrCRNN(StaticLine):
    """docTR's CRNN on a canvas of fixed size, exact for each row.

    Called with images (N, 3, H, W) float32 and valid_width (N,) int32, it gives logits (N, T, C): the vocabulary, then
    the blank. docTR's own pipeline pads every crop to the whole canvas, and that padding is content to it: there the
    valid width is the canvas's.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        options: The canvas, and what crosses the border of the graph.
    """

    family = "doctr_crnn"

    def __init__(self, model: nn.Module, *, batch_size: int = 1, options: LineOptions | None = None) -> None:
        core: Any = unwrap(model)
        self.blank_id = len(core.vocab)
        options = options or LineOptions()
        images = image_spec(core, batch_size, options)
        super().__init__(model, images, core.linear.out_features, options, normalization(core))

    @property
    def known_characters(self) -> str:
        return str(self.source.vocab)

    @property
    def interface(self) -> Interface:
        """A recogniser read by CTC, and rated by the least sure of all positions."""
        return replace(super().interface, confidence="minimum")

    def network(self, source: Any) -> nn.Module:
        return _Reading(source)

    def alone(self, source: Any, images: Tensor) -> Tensor:
        return logits_of(source, images)


class _Reading(nn.Module):
    """What the original computes before its post-processing."""

    def __init__(self, core: Any) -> None:
        super().__init__()
        self.look, self.decoder, self.head = core.feat_extractor, core.decoder, core.linear

    def forward(self, images: Tensor) -> Tensor:
        read, _ = self.decoder(self.look(images).flatten(1, 2).transpose(1, 2))
        return self.head(read)


FAMILY = Family(
    name="doctr_crnn",
    class_names=("doctr.models.recognition.crnn.pytorch.CRNN",),
    matches=lambda model: False,
    options=LineOptions,
    build=StaticDoctrCRNN,
)
