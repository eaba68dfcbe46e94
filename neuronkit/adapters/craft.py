"""CRAFT in a fixed shape: on a padded canvas it computes what it would compute on the image alone."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import checks, tensors
from neuronkit.adapters.kit.canvas import part_filled
from neuronkit.adapters.kit.options import VisionOptions, either, smaller_canvas
from neuronkit.adapters.registry import Family
from neuronkit.errors import SpecError, UnknownModelError
from neuronkit.interface import DETECTOR, Interface, Output, ValidArea
from neuronkit.ocr.craft import NORMALIZATION
from neuronkit.specs import TensorSpec
from neuronkit.static.exact import ExactPadding, exact_padding
from neuronkit.static.model import StaticModel
from neuronkit.static.shapes.checks import check_valid_size
from neuronkit.static.shapes.refused import RefusedSizes

STRIDE = 32
SCORE_STRIDE = 2


@dataclass(frozen=True)
class CRAFTOptions(VisionOptions):
    """The canvas, and what comes out.

    Args:
        height: Of the canvas, in pixels.
        width: Of the canvas, in pixels.
        features: Give the features beside the score maps, which nothing in this library reads: 13 times their bytes.
        raw_images: Take images as bytes, 0..255, and normalise them inside.

    Raises:
        SpecError: If the canvas is smaller than the network's stride.
        OptionError: If a flag is neither True nor False.

    Examples:
        >>> neuronkit.make_static(neuronkit.CRAFT(width=0.1), options=neuronkit.CRAFTOptions(64, 96)).specs[0].shape
        (1, 3, 64, 96)
    """

    height: int
    width: int
    features: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "features", checks.flag("features", self.features))
        for name in ("height", "width"):
            # At least CRAFT's stride.
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), STRIDE, error=SpecError))


class StaticCRAFT(StaticModel):
    """CRAFT on a canvas of fixed size, exact inside the valid area of each row.

    Takes `neuronkit.models.CRAFT`, the public implementations, and `neuronkit.models.RefinedCRAFT`, one of these with
    its link refiner. Called with images (N, 3, H, W), each at the top left of its canvas, and valid_size (N, 2) int32,
    (height, width) in pixels, it gives score maps (N, H/2, W/2, 2), channel 0 region and 1 affinity, and features
    (N, C, H/2, W/2). What lies on the canvas outside the valid area, has no influence; outputs are zero there. With
    ``features=False`` it gives score maps alone, with ``raw_images`` it takes uint8, 0..255.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        height: Of the canvas, in pixels.
        width: Of the canvas, in pixels.
        options: Both and more in one, instead of them.

    Raises:
        UnknownModelError: If the model is no module, or has no weights.
        OptionError: If `options` and single sizes are given.
        SpecError: If the canvas is missing or smaller than CRAFT's stride, `batch_size` is no number of rows, or the
            model holds an operator that would let padding into the result.

    Examples:
        >>> static = neuronkit.StaticCRAFT(neuronkit.CRAFT(width=0.1), height=64, width=96)
        >>> scores, features = static(torch.zeros(1, 3, 64, 96), torch.tensor([[64, 32]], dtype=torch.int32))
        >>> scores.shape
        torch.Size([1, 32, 48, 2])
    """

    family = "craft"
    # The original's modules, by identity, and the network made of them: rewriting takes longer than a small forward.
    _rewritten: tuple[tuple[int, ...], ExactPadding] | None = None

    def __init__(
        self,
        model: nn.Module,
        *,
        batch_size: int = 1,
        height: int | None = None,
        width: int | None = None,
        options: CRAFTOptions | None = None,
    ) -> None:
        tensors.module("model", model, error=UnknownModelError)
        self.options = either(CRAFTOptions, options, height=height, width=width)
        super().__init__(model, ())
        weights = next(self.source.parameters(), None)
        if weights is None:
            raise UnknownModelError(
                f"got a {type(model).__name__} without weights; expected CRAFT; give the dynamic model"
            )
        dtype = weights.dtype
        batch_size = checks.integer("batch_size", batch_size, 1, error=SpecError)
        self.specs = (
            TensorSpec("images", (batch_size, 3, self.options.height, self.options.width), dtype),
            TensorSpec("valid_size", (batch_size, 2), "int32", fill=STRIDE),
        )
        if self.options.raw_images:
            self.take_raw_images(NORMALIZATION)
        if not matches(self.source):
            # Other backbones are accepted; one that cannot be rewritten fails here, not at the first call.
            self.modules_by_name(self.source)

    def smaller(self) -> StaticCRAFT:
        """The same on a smaller canvas."""
        options = self.options
        height, width = smaller_canvas(options.height, options.width)
        if (height, width) == (options.height, options.width):
            return self
        smaller = replace(options, height=height, width=width)
        return StaticCRAFT(self.original, batch_size=self.specs[0].shape[0], options=smaller)

    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        return {"craft": self._exact(source)}

    def _exact(self, source: nn.Module) -> ExactPadding:
        key = tuple(map(id, source.modules()))
        if source is not self.source:
            return self._rewrite(source)
        if self._rewritten is None or self._rewritten[0] != key:
            # Not registered: this holds the original's layers, which stay the original's alone.
            self.__dict__["_rewritten"] = key, self._rewrite(source)
        return self._rewritten[1]  # type: ignore[index]

    def _rewrite(self, source: nn.Module) -> ExactPadding:
        return exact_padding(self._network(source)).fix_canvas(
            self.options.height, self.options.width, next(source.parameters()).device
        )

    def _network(self, source: nn.Module) -> nn.Module:
        both = _ScoresAndFeatures(source)
        return both if self.options.features else _Scores(both)

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        return {"craft": self.specs}

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Run the original on each row's valid area alone, and paste what it gives into zeros of the canvas's size."""
        images, valid_size = inputs
        check_valid_size("valid_size", valid_size, tuple(images.shape[2:]))
        self.check_sizes(valid_size)
        network = _ScoresAndFeatures(source)
        pasted: list[Tensor] = []
        for row, (height, width) in enumerate(valid_size.tolist()):
            scores, features = network(images[row : row + 1, :, :height, :width])
            scores = scores.permute(0, 3, 1, 2)
            if not pasted:
                size = (images.shape[2] // SCORE_STRIDE, images.shape[3] // SCORE_STRIDE)
                pasted = [images.new_zeros(len(images), t.shape[1], *size, dtype=t.dtype) for t in (scores, features)]
            for canvas, output in zip(pasted, (scores, features)):
                canvas[row, :, : output.shape[2], : output.shape[3]] = output[0]
        scores = pasted[0].permute(0, 2, 3, 1)
        return (scores, pasted[1]) if self.options.features else scores

    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Random images, each valid up to a random multiple of 32 in both directions.

        Raises:
            SpecError: If `seed` is no whole number of 64 bits.
        """
        return part_filled(self.specs[0], STRIDE, seed)

    @property
    def interface(self) -> Interface:
        """A detector: score maps, and features, at half the input's size."""
        scores = Output("score_maps", ValidArea((1, 2), SCORE_STRIDE))
        features = (Output("features", ValidArea((2, 3), SCORE_STRIDE)),) if self.options.features else ()
        return Interface(DETECTOR, (scores, *features))

    def valid_output_sizes(self, valid_size: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Size of the valid area of each output.

        Args:
            valid_size: (N, 2) integers, (height, width) of each image.

        Returns:
            (N, 2) of the same dtype, (height, width), once for each output; a single one without features.

        Raises:
            SpecError: If `valid_size` is no such tensor.
        """
        integers = ("int32", "int64", "int16", "int8", "uint8")
        sizes = tensors.tensor("valid_size", valid_size, shape=(None, 2), dtype=integers) // SCORE_STRIDE
        return (sizes, sizes) if self.options.features else sizes

    @property
    def refused_sizes(self) -> RefusedSizes | None:
        """Those of the network."""
        return self._exact(self.source).refused_sizes(self.specs)

    def check_sizes(self, valid_size: Tensor) -> None:
        """Refuse sizes of images (N, 2), (height, width), on which the original cannot run.

        Raises:
            SpecError: If there is such a size, or `valid_size` is no such tensor.
        """
        self._exact(self.source).check_sizes(valid_size)

    def meaningful(self, outputs: Any, inputs: Sequence[Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        """The outputs with everything outside the valid area set to zero."""
        scores = outputs[0] if self.options.features else outputs
        valid = inputs[1].to(scores.device) // SCORE_STRIDE
        rows = torch.arange(scores.shape[1], device=scores.device) < valid[:, :1]
        columns = torch.arange(scores.shape[2], device=scores.device) < valid[:, 1:]
        inside = rows[:, :, None] & columns[:, None, :]
        zero = scores.new_zeros(())
        scores = torch.where(inside[..., None], scores, zero)
        return (scores, torch.where(inside[:, None], outputs[1], zero)) if self.options.features else scores


class _ScoresAndFeatures(nn.Module):
    """Any CRAFT, giving score maps and features; hezar's returns a dictionary without the features."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        outputs: Any = self.model(images)
        if not isinstance(outputs, Mapping):
            return outputs[0], outputs[1]
        features: list[Tensor] = []
        watched: Any = self.model.upconv4
        thread = threading.get_ident()

        def note(module: nn.Module, given: Any, result: Tensor) -> None:
            # Other threads run the same module.
            if threading.get_ident() == thread:
                features.append(result)

        watch = watched.register_forward_hook(note)
        try:
            return self.model(images)["logits"], features[0]
        finally:
            watch.remove()


class _Scores(nn.Module):
    """Score maps alone."""

    def __init__(self, both: _ScoresAndFeatures) -> None:
        super().__init__()
        self.both = both

    def forward(self, images: Tensor) -> Tensor:
        return self.both(images)[0]


def matches(model: nn.Module) -> bool:
    """Whether the model has CRAFT's parts."""
    basenet = getattr(model, "basenet", None)
    return (
        isinstance(basenet, nn.Module)
        and all(isinstance(getattr(basenet, f"slice{i}", None), nn.Sequential) for i in range(1, 6))
        and all(isinstance(getattr(model, f"upconv{i}", None), nn.Module) for i in range(1, 5))
        and isinstance(getattr(model, "conv_cls", None), nn.Sequential)
    )


FAMILY = Family(
    name="craft",
    class_names=(
        "neuronkit.models.craft.CRAFT",
        "neuronkit.models.refiner.RefinedCRAFT",
        "craft.CRAFT",
        "easyocr.craft.CRAFT",
        "craft_text_detector.models.craftnet.CraftNet",
        "hezar.models.text_detection.craft.craft_text_detection.CraftTextDetection",
    ),
    matches=matches,
    options=CRAFTOptions,
    build=StaticCRAFT,
)
