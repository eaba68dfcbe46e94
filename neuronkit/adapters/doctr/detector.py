"""docTR's detectors, DBNet, LinkNet and FAST: on a padded canvas they compute what they would on the image alone."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import checks
from neuronkit.adapters.doctr.recognizer import normalization
from neuronkit.adapters.kit.canvas import STRIDE, CanvasDetector
from neuronkit.adapters.kit.options import VisionOptions
from neuronkit.adapters.registry import Family
from neuronkit.errors import SpecError
from neuronkit.interface import DETECTOR, Interface, Output, ValidArea

MEAN = (0.798, 0.785, 0.772)
STD = (0.264, 0.2749, 0.287)


@dataclass(frozen=True)
class DoctrDetectorOptions(VisionOptions):
    """The canvas, and what it holds.

    Args:
        height: Of the canvas, in pixels, a multiple of 32.
        width: Of the canvas, in pixels, a multiple of 32.
        raw_images: Take images as bytes, 0..255, and normalise them inside.

    Raises:
        SpecError: If a size is no such number.
        OptionError: If `raw_images` is neither True nor False.

    Examples:
        >>> neuronkit.DoctrDetectorOptions(height=512, width=768).width
        768
    """

    height: int = 1024
    width: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("height", "width"):
            size = checks.integer(name, getattr(self, name), STRIDE, error=SpecError)
            if size % STRIDE:
                raise SpecError(f"got {name}={size}; expected a multiple of {STRIDE}; give the next one")
            object.__setattr__(self, name, size)


class StaticDoctrDetector(CanvasDetector):
    """A docTR detector on a canvas of fixed size, exact inside the valid area of each row.

    Called with images (N, 3, H, W) float32 and valid_size (N, 2) int32, (height, width) in pixels, multiples of 32, it
    gives probability maps (N, C, H, W), one for each class, zero outside the valid area. docTR leaves its
    post-processing out of a model that is made with ``exportable=True``; here either form is taken.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        options: The canvas.
    """

    family, graph = "doctr_detector", "detect"

    def __init__(self, model: nn.Module, *, batch_size: int = 1, options: DoctrDetectorOptions | None = None) -> None:
        super().__init__(model, batch_size, options or DoctrDetectorOptions())
        self._exact(self.source)
        if self.options.raw_images:
            self.take_raw_images(normalization(self.source, MEAN, STD))

    @property
    def interface(self) -> Interface:
        """A detector of one map for each class."""
        return Interface(DETECTOR, (Output("probabilities", ValidArea((2, 3))),))

    def _network(self, source: Any) -> nn.Module:
        return _Probabilities(source)

    def _alone(self, source: Any, image: Tensor) -> Any:
        exportable = source.exportable
        return super()._alone(source, image) if exportable else source(image, return_model_output=True)["out_map"]


class _Probabilities(nn.Module):
    """A detector made to be exported, and what docTR does to its logits before it looks for boxes."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        # Its layers are shared; the flag alone is the copy's own.
        self.core = copy.copy(model)
        self.core.exportable = True
        self.pool = getattr(model, "pooling", nn.Identity())

    def forward(self, images: Tensor) -> Tensor:
        return torch.sigmoid(self.pool(self.core(images)["logits"]))


FAMILY = Family(
    name="doctr_detector",
    class_names=(
        "doctr.models.detection.differentiable_binarization.pytorch.DBNet",
        "doctr.models.detection.linknet.pytorch.LinkNet",
        "doctr.models.detection.fast.pytorch.FAST",
    ),
    matches=lambda model: False,
    options=DoctrDetectorOptions,
    build=StaticDoctrDetector,
)
