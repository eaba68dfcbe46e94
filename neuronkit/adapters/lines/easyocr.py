"""EasyOCR's recognisers, generation 1 and 2: convolutions, two bidirectional LSTMs, CTC."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from neuronkit.adapters.lines.model import LineOptions, StaticLine, line_images
from neuronkit.adapters.registry import Family
from neuronkit.interface import Interface
from neuronkit.static.original import unwrap

# EasyOCR scales every line to it.
HEIGHT = 64


class StaticEasyOCR(StaticLine):
    """An EasyOCR recogniser on a canvas of fixed size, exact for each row.

    Called with images (N, 1, 64, W) float32 in -1..1 and valid_width (N,) int32, it gives logits (N, T, C) whose class
    0 is the blank. The valid width is that of the tensor which EasyOCR would pass: columns that it replicates to fill
    a batch are content to it.

    Args:
        model: The dynamic model, `reader.recognizer`.
        batch_size: Rows of the fixed batch.
        options: The canvas, and what crosses the border of the graph.
    """

    family = "easyocr"

    def __init__(self, model: nn.Module, *, batch_size: int = 1, options: LineOptions | None = None) -> None:
        core: Any = unwrap(model)
        options = options or LineOptions()
        images = line_images(core, batch_size, options, height=HEIGHT)
        super().__init__(model, images, core.Prediction.out_features, options)

    @property
    def interface(self) -> Interface:
        """A recogniser read by CTC, whose images keep their proportions; its characters are in its Reader alone."""
        return replace(super().interface, keep_ratio=True)

    def network(self, source: Any) -> nn.Module:
        return _WithoutText(source)

    def alone(self, source: Any, images: Tensor) -> Tensor:
        return source(images, _no_text(images))  # type: ignore[no-any-return]


class _WithoutText(nn.Module):
    """Calls a recogniser with images alone: it takes a text for the sake of those that attend, and ignores it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images, None)


def _no_text(images: Tensor) -> Tensor:
    """What EasyOCR passes."""
    return images.new_zeros(len(images), 26).long()


def matches(model: nn.Module) -> bool:
    """Whether the model has the parts of EasyOCR's recognisers, which custom networks of its users have too."""
    layers = getattr(model, "SequenceModeling", None)
    return (
        isinstance(getattr(model, "FeatureExtraction", None), nn.Module)
        and isinstance(layers, nn.Sequential)
        and all(isinstance(getattr(layer, "rnn", None), nn.LSTM) for layer in layers)
        and isinstance(getattr(model, "Prediction", None), nn.Linear)
        and not hasattr(model, "stages")
    )


FAMILY = Family(
    name="easyocr",
    class_names=("easyocr.model.model.Model", "easyocr.model.vgg_model.Model"),
    matches=matches,
    options=LineOptions,
    build=StaticEasyOCR,
)
