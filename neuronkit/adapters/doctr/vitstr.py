"""docTR's ViTSTR: one pass, without a loop; its attention spelled out and its sizes fixed."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from neuronkit.adapters.doctr.recognizer import DoctrOptions, DoctrRecognizer, VisionFeatures, image_spec
from neuronkit.adapters.registry import Family
from neuronkit.specs import TensorSpec


class StaticViTSTR(DoctrRecognizer):
    """docTR's ViTSTR at a fixed batch.

    Called with images (N, 3, H, W), it gives logits (N, max_length + 1, C), C being the vocabulary and EOS. All
    positions are those of the dynamic model.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        options: The input's size.
    """

    family = "doctr_vitstr"

    def __init__(self, model: nn.Module, *, batch_size: int = 1, options: DoctrOptions | None = None) -> None:
        super().__init__(model, ())
        self.specs = (image_spec(self.source, batch_size, options or DoctrOptions()),)

    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        return {"read": ViTSTRReading(source, self.specs[0])}

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        return {"read": self.specs}


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
