"""docTR's ViTSTR: one pass, without a loop; its attention spelled out and its sizes fixed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from neuronkit.adapters.doctr.recognizer import DoctrOptions, DoctrReader, VisionFeatures
from neuronkit.adapters.registry import Family
from neuronkit.specs import TensorSpec
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

    def reading(self, source: Any) -> nn.Module:
        return ViTSTRReading(source, self.specs[0])

    @property
    def tokens_of(self) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """The likeliest classes and their probabilities, zero after the first EOS."""
        return partial(tokens_until_end, ends=(len(self.source.vocab),))


class ViTSTRReading(nn.Module):
    """Images → logits of the places behind the classification token."""

    def __init__(self, core: Any, image: TensorSpec) -> None:
        super().__init__()
        self.features = VisionFeatures(core.feat_extractor, image)
        self.head = core.head
        self.places = core.max_length

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images)[:, 1 : self.places])


FAMILY = Family(
    name="doctr_vitstr",
    class_names=("doctr.models.recognition.vitstr.pytorch.ViTSTR",),
    matches=lambda model: False,
    options=DoctrOptions,
    build=StaticViTSTR,
)
