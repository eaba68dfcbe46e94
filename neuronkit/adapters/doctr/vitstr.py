"""docTR's ViTSTR: one pass, without a loop; its attention spelled out and its sizes fixed."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from neuronkit.adapters.doctr.recognizer import (
    DoctrOptions,
    DoctrReader,
    VisionFeatures,
)
from neuronkit.adapters.registry import Family
from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.decoding import TOKENS
from neuronkit.static.decoding.graphs import tokens_until_end


class StaticViTSTR(DoctrReader):
    """docTR's ViTSTR at a fixed batch.

    Called with images (N, 3, H, W), it gives logits (N, max_length + 1, C), C being the vocabulary and EOS. All
    positions are those of the dynamic model.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        options: Size and outputs.
    """

    family = "doctr_vitstr"

    def modules_by_name(self, source: Any) -> dict[str, nn.Module]:
        reading = ViTSTRReading(source, self.specs[0])
        return {"read": Tokens(reading, len(source.vocab)) if self.options.outputs == TOKENS else reading}

    def as_outputs(self, outputs: Any) -> Any:
        """Logits, or their tokens and probabilities with ``outputs="tokens"``."""
        return tokens_until_end(outputs, (len(self.source.vocab),)) if self.options.outputs == TOKENS else outputs


class ViTSTRReading(nn.Module):
    """Images → logits of the places behind the classification token."""

    def __init__(self, core: Any, image: TensorSpec) -> None:
        super().__init__()
        self.features = VisionFeatures(core.feat_extractor, image)
        self.head = core.head
        self.places = core.max_length

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images)[:, 1 : self.places])


class Tokens(nn.Module):
    """A module that gives logits (N, T, C), giving tokens and their probabilities, zero after the first EOS."""

    def __init__(self, module: nn.Module, eos_id: int) -> None:
        super().__init__()
        self.module = module
        self.eos_id = eos_id

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        return tokens_until_end(self.module(*inputs), (self.eos_id,))


FAMILY = Family(
    name="doctr_vitstr",
    class_names=("doctr.models.recognition.vitstr.pytorch.ViTSTR",),
    matches=lambda model: False,
    options=DoctrOptions,
    build=StaticViTSTR,
)
