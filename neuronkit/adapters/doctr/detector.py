"""docTR's detectors, DBNet, LinkNet and FAST: on a padded canvas they compute what they would on the image alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import checks, tensors
from neuronkit.adapters.doctr.recognizer import normalization
from neuronkit.adapters.kit.canvas import part_filled
from neuronkit.adapters.kit.options import VisionOptions, smaller_canvas
from neuronkit.adapters.registry import Family
from neuronkit.errors import SpecError
from neuronkit.interface import DETECTOR, Interface, Output, ValidArea
from neuronkit.specs import TensorSpec
from neuronkit.static.exact import ExactPadding, exact_padding
from neuronkit.static.model import StaticModel
from neuronkit.static.shapes.checks import check_valid_size
from neuronkit.static.shapes.refused import RefusedSizes

STRIDE = 32
# The sizes that docTR's detectors take are multiples of this.
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


class StaticDoctrDetector(StaticModel):
    """A docTR detector on a canvas of fixed size, exact inside the valid area of each row.

    Called with images (N, 3, H, W) float32 and valid_size (N, 2) int32, (height, width) in pixels, multiples of 32, it
    gives probability maps (N, C, H, W), one for each class, zero outside the valid area. docTR leaves its
    post-processing out of a model that is made with ``exportable=True``; here either form is taken.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        options: The canvas.
    """

    family = "doctr_detector"
    _exact: ExactPadding

    def __init__(self, model: nn.Module, *, batch_size: int = 1, options: DoctrDetectorOptions | None = None) -> None:
        self.options = options or DoctrDetectorOptions()
        super().__init__(model, ())
        size = self.options.height, self.options.width
        self.specs = (
            TensorSpec("images", (batch_size, 3, *size), next(self.source.parameters()).dtype),
            TensorSpec("valid_size", (batch_size, 2), "int32", fill=STRIDE),
        )
        # Not registered: this holds the original's layers, which stay the original's alone.
        self.__dict__["_exact"] = self._rewrite(self.source)
        if self.options.raw_images:
            self.take_raw_images(normalization(self.source, MEAN, STD))

    @property
    def interface(self) -> Interface:
        """A detector of one map for each class."""
        return Interface(DETECTOR, (Output("probabilities", ValidArea((2, 3))),))

    def smaller(self) -> StaticDoctrDetector:
        """The same on a smaller canvas."""
        options = DoctrDetectorOptions(*smaller_canvas(self.options.height, self.options.width))
        if options == self.options:
            return self
        return StaticDoctrDetector(self.original, batch_size=self.specs[0].shape[0], options=options)

    def _rewrite(self, source: nn.Module) -> ExactPadding:
        device = next(source.parameters()).device
        return exact_padding(_Probabilities(source)).fix_canvas(self.options.height, self.options.width, device)

    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        return {"detect": self._exact if source is self.source else self._rewrite(source)}

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        return {"detect": self.specs}

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Tensor:
        """Run the original on each row's valid area alone, and put what it gives into zeros of the canvas's size."""
        images, valid_size = inputs
        check_valid_size("valid_size", valid_size, tuple(images.shape[2:]))
        self.check_sizes(valid_size)
        maps = images.new_zeros(len(images), len(source.class_names), *images.shape[2:])  # type: ignore[arg-type]
        for row, (height, width) in enumerate(valid_size.tolist()):
            image = images[row : row + 1, :, :height, :width]
            if source.exportable:
                found = _Probabilities(source)(image)
            else:
                found = source(image, return_model_output=True)["out_map"]
            maps[row, :, :height, :width] = found[0]
        return maps

    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Random images, each valid up to a random multiple of 32 in both directions.

        Raises:
            SpecError: If `seed` is no whole number of 64 bits.
        """
        return part_filled(self.specs[0], STRIDE, seed)

    def valid_output_sizes(self, valid_size: Tensor) -> Tensor:
        """Size of the valid area of the maps: that of the images.

        Args:
            valid_size: (N, 2) integers, (height, width) of each image.

        Raises:
            SpecError: If `valid_size` is no such tensor.
        """
        return tensors.tensor("valid_size", valid_size, shape=(None, 2), dtype=("int32", "int64", "int16"))

    @property
    def refused_sizes(self) -> RefusedSizes | None:
        """Those of the network."""
        return self._exact.refused_sizes(self.specs)

    def check_sizes(self, valid_size: Tensor) -> None:
        """Raise SpecError if the original cannot run on images of one of these sizes (N, 2), (height, width)."""
        self._exact.check_sizes(valid_size)

    def meaningful(self, outputs: Any, inputs: Sequence[Tensor]) -> Tensor:
        """The maps with everything outside the valid area set to zero."""
        valid = inputs[1].to(outputs.device)
        rows = torch.arange(outputs.shape[2], device=outputs.device) < valid[:, :1]
        columns = torch.arange(outputs.shape[3], device=outputs.device) < valid[:, 1:]
        inside = (rows[:, :, None] & columns[:, None, :])[:, None]
        return torch.where(inside, outputs, outputs.new_zeros(()))


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
