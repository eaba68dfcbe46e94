"""The CRNN of Shi et al. (2015), as baudm/parseq and the first PyTorch version have it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from neuronkit.adapters.lines.model import DEFAULT_WIDTH, LineOptions, StaticLine, line_images
from neuronkit.adapters.registry import Family
from neuronkit.models.characters import known_characters
from neuronkit.static.original import network_of, unwrap

# The only height of which its convolutions leave 1.
HEIGHT = 32


class StaticCRNN(StaticLine):
    """A CRNN on a canvas of fixed size, exact for each row.

    Takes the network, or the training system around it. Called with images (N, C, 32, W) and valid_width (N,) int32, it
    gives logits (N, T, C) whose class 0 is the blank, batch first whatever the original does.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        options: The canvas, and what crosses the border of the graph.
    """

    family = "crnn"

    def __init__(self, model: nn.Module, *, batch_size: int = 1, options: LineOptions | None = None) -> None:
        core: Any = network_of(unwrap(model))
        height, width = getattr(getattr(unwrap(model), "hparams", None), "img_size", None) or (HEIGHT, DEFAULT_WIDTH)
        options = options or LineOptions()
        images = line_images(core, batch_size, options, height=height, width=width)
        last = core.rnn[-1]
        classes = (last.linear if hasattr(last, "linear") else last.embedding).out_features
        super().__init__(model, images, classes, options)

    @property
    def source(self) -> Any:
        """The network itself."""
        return network_of(super().source)

    @property
    def known_characters(self) -> str | None:
        return known_characters(unwrap(self.original), self.num_classes - 1)

    def network(self, source: Any) -> nn.Module:
        return _BatchFirst(source)

    def alone(self, source: Any, images: Tensor) -> Tensor:
        return _BatchFirst(source)(images)  # type: ignore[no-any-return]


class _BatchFirst(nn.Module):
    """The network, and its rows first."""

    def __init__(self, core: Any) -> None:
        super().__init__()
        self.core = core
        self.time_first = not core.rnn[0].rnn.batch_first

    def forward(self, images: Tensor) -> Tensor:
        logits = self.core(images)
        return logits.transpose(0, 1) if self.time_first else logits


def matches(model: nn.Module) -> bool:
    """Whether the model, or the network in a training system, has a CRNN's parts."""
    core = network_of(model)
    layers = getattr(core, "rnn", None)
    return (
        isinstance(getattr(core, "cnn", None), nn.Sequential)
        and isinstance(layers, nn.Sequential)
        and all(isinstance(getattr(layer, "rnn", None), nn.LSTM) for layer in layers)
        and any(isinstance(getattr(layers[-1], name, None), nn.Linear) for name in ("linear", "embedding"))
    )


FAMILY = Family(
    name="crnn",
    class_names=("strhub.models.crnn.model.CRNN", "strhub.models.crnn.system.CRNN"),
    matches=matches,
    options=LineOptions,
    build=StaticCRNN,
)
