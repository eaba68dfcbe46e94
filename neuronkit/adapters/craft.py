"""CRAFT in a fixed shape: on a padded canvas it computes what it would compute on the image alone."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from neuronkit import checks, tensors
from neuronkit.adapters.kit.canvas import STRIDE, CanvasDetector
from neuronkit.adapters.kit.options import VisionOptions, either
from neuronkit.adapters.registry import Family
from neuronkit.errors import SpecError, UnknownModelError
from neuronkit.interface import DETECTOR, Interface, Output, ValidArea
from neuronkit.ocr.craft import NORMALIZATION
from neuronkit.static.original import unwrap

SCORE_STRIDE = 2


@dataclass(frozen=True)
class CRAFTOptions(VisionOptions):
    """The canvas, and what comes out.

    Args:
        height: Of the canvas, in pixels.
        width: Of the canvas, in pixels.
        features: Give the features as well, which take 13 times the bytes of the score maps; nothing here reads them.
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
        checks.set_field(self, "features", checks.flag)
        for name in ("height", "width"):
            # At least CRAFT's stride.
            checks.set_field(self, name, checks.integer, STRIDE, error=SpecError)


class StaticCRAFT(CanvasDetector):
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
        UnknownModelError: If the model is not a module, or has no weights.
        OptionError: If `options` and single sizes are given.
        SpecError: If the canvas is missing or smaller than CRAFT's stride, `batch_size` is not a number of rows, or the
            model holds an operator that would let padding into the result.

    Examples:
        >>> static = neuronkit.StaticCRAFT(neuronkit.CRAFT(width=0.1), height=64, width=96)
        >>> scores, features = static(torch.zeros(1, 3, 64, 96), torch.tensor([[64, 32]], dtype=torch.int32))
        >>> scores.shape
        torch.Size([1, 32, 48, 2])
    """

    family = graph = "craft"

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
        options = either(CRAFTOptions, options, height=height, width=width)
        if next(unwrap(model).parameters(), None) is None:
            raise UnknownModelError(
                f"got a {type(model).__name__} without weights; expected CRAFT; give the dynamic model"
            )
        super().__init__(model, batch_size, options)
        if options.raw_images:
            self.take_raw_images(NORMALIZATION)
        if not matches(self.source):
            # Other backbones are accepted; one that cannot be rewritten fails here, not at the first call.
            self._exact(self.source)

    def smaller(self) -> StaticCRAFT:
        """The same on a smaller canvas."""
        return super().smaller()  # type: ignore[no-any-return]

    def _network(self, source: nn.Module) -> nn.Module:
        both = _ScoresAndFeatures(source)
        return both if self.options.features else _Scores(both)

    @property
    def interface(self) -> Interface:
        """A detector: score maps, and features, at half the input's size."""
        scores = Output("score_maps", ValidArea((1, 2), SCORE_STRIDE))
        features = (Output("features", ValidArea((2, 3), SCORE_STRIDE)),) if self.options.features else ()
        return Interface(DETECTOR, (scores, *features))


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
