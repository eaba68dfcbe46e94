"""Recognisers of clovaai/deep-text-recognition-benchmark without rectification: CTC, or a decoder with attention."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.adapters.kit.attention import hiding
from neuronkit.adapters.kit.encoder_decoder import EncoderDecoder
from neuronkit.adapters.kit.recurrent import lstm_cell
from neuronkit.adapters.lines.model import DEFAULT_WIDTH, Canvas, LineOptions, StaticLine, line_images
from neuronkit.adapters.registry import Family
from neuronkit.errors import SpecError
from neuronkit.interface import RECOGNIZER, Interface
from neuronkit.ocr.parseq import NORMALIZATION
from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.loops import until_eos
from neuronkit.static.exact import ExactPadding, exact_padding
from neuronkit.static.ops import one_hot
from neuronkit.static.original import unwrap
from neuronkit.static.shapes.refused import RefusedSizes

HEIGHT = 32
# The decoder's ids; the characters come after them.
GO, END = 0, 1


def build(
    model: nn.Module, *, batch_size: int = 1, options: LineOptions | None = None
) -> StaticBenchmark | StaticBenchmarkAttention:
    """The static model of a recogniser, by its prediction stage.

    Raises:
        SpecError: If it rectifies pictures first.
    """
    core: Any = unwrap(model)
    if core.stages["Trans"] != "None":
        raise SpecError(
            f"got a model with Transformation={core.stages['Trans']!r}; expected 'None', since the grid that rectifies "
            "a picture spans all of its width; compile it for each size that you serve, and join them with "
            "neuronkit.Buckets, or take a model without"
        )
    kind = StaticBenchmark if core.stages["Pred"] == "CTC" else StaticBenchmarkAttention
    return kind(model, batch_size=batch_size, options=options)


class StaticBenchmark(StaticLine):
    """A recogniser with CTC on a canvas of fixed size, exact for each row.

    Called with images (N, C, 32, W) float32 in -1..1 and valid_width (N,) int32, it gives logits (N, T, C) whose class
    0 is the blank.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        options: The canvas, and what crosses the border of the graph.
    """

    family = "text_recognition_benchmark"

    def __init__(self, model: nn.Module, *, batch_size: int = 1, options: LineOptions | None = None) -> None:
        core: Any = unwrap(model)
        options = options or LineOptions()
        super().__init__(model, _images(core, batch_size, options), core.Prediction.out_features, options)

    @property
    def interface(self) -> Interface:
        """A recogniser read by CTC, whose images keep their proportions where it was made to."""
        return replace(super().interface, keep_ratio=bool(getattr(self.source.opt, "PAD", False)))

    @property
    def known_characters(self) -> str | None:
        return _characters(self.source, self.num_classes - 1)

    def network(self, source: Any) -> nn.Module:
        return _Features(source, source.Prediction)

    def alone(self, source: Any, images: Tensor) -> Tensor:
        return source(images, _no_text(source, images))  # type: ignore[no-any-return]


class StaticBenchmarkAttention(EncoderDecoder):
    """A recogniser with an attention decoder on a canvas of fixed size, exact for each row.

    Called with images (N, C, 32, W) float32 in -1..1 and valid_width (N,) int32, it gives logits (N, length + 1, C),
    right up to and including each row's first end, class 1. The decoder attends to the positions of the line alone.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        options: The canvas, and what crosses the border of the graph.
    """

    family = StaticBenchmark.family

    def __init__(self, model: nn.Module, *, batch_size: int = 1, options: LineOptions | None = None) -> None:
        core: Any = unwrap(model)
        options = options or LineOptions()
        images = _images(core, batch_size, options)
        self.canvas = Canvas(type(core).__name__, _exact(core, images), images)
        self.smallest_width = self.canvas.smallest_width
        steps = core.opt.batch_max_length + 1
        super().__init__(model, self.canvas.specs, steps=steps, bos_id=GO, eos_id=END, outputs=options.outputs)
        if options.raw_images:
            self.take_raw_images(NORMALIZATION)

    @property
    def interface(self) -> Interface:
        """A recogniser; its classes are GO, the end, and the characters."""
        characters = _characters(self.source, self.source.Prediction.num_classes - 2)
        return Interface(RECOGNIZER, self.decoding.named_outputs, GO, END, characters=characters)

    @property
    def refused_sizes(self) -> RefusedSizes | None:
        """Lines that are too narrow."""
        return self.canvas.refused_sizes

    def check_inputs(self, inputs: Any) -> tuple[Tensor, ...]:
        return self.canvas.check_inputs(*super().check_inputs(inputs))

    def check_sizes(self, valid_width: Tensor) -> None:
        """Raise SpecError if the original cannot run on lines of one of these widths (N,)."""
        self.canvas.check_sizes(valid_width)

    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Random images, each valid up to a random width.

        Raises:
            SpecError: If `seed` is not a whole number of 64 bits.
        """
        return self.canvas.example_inputs(self.specs[0], seed)

    def encoder(self, source: nn.Module) -> nn.Module:
        exact = _exact(source, self.specs[0])
        height, width = self.specs[0].shape[2:]
        exact.fix_canvas(height, width, next(source.parameters()).device)
        return _Encoder(source, exact, self.canvas.reached())

    def decoder(self, source: nn.Module) -> nn.Module:
        return _Step(source)

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Tensor:
        images, valid_width = inputs
        alone = [images[i : i + 1, :, :, :width] for i, width in enumerate(valid_width.tolist())]
        return torch.cat([source(line, _no_text(source, line), is_train=False) for line in alone])

    def decoded(self, outputs: Any) -> list[list[int]]:
        """The ids of each row, up to the end."""
        return until_eos(outputs, self.eos_id)


class _Features(nn.Module):
    """Images → features of each position (N, T, D), and what a prediction stage makes of them."""

    def __init__(self, core: Any, predict: nn.Module) -> None:
        super().__init__()
        self.extract, self.pool, self.predict = core.FeatureExtraction, core.AdaptiveAvgPool, predict
        self.contextualize = core.SequenceModeling if core.stages["Seq"] == "BiLSTM" else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        features = self.pool(self.extract(images).permute(0, 3, 1, 2)).squeeze(3)
        return self.predict(self.contextualize(features).contiguous())


class _Encoder(nn.Module):
    """Images and widths → features, their projection for the attention, and 1 where the line is: (N, T, D + H + 1)."""

    reached: Tensor

    def __init__(self, core: Any, exact: ExactPadding, reached: Tensor) -> None:
        super().__init__()
        self.exact, self.project = exact, core.Prediction.attention_cell.i2h
        self.register_buffer("reached", reached.to(self.project.weight.device), persistent=False)

    def forward(self, images: Tensor, valid_width: Tensor) -> Tensor:
        features = self.exact(images, valid_width)
        inside = (valid_width.unsqueeze(1) >= self.reached).to(features.dtype).unsqueeze(2)
        return torch.cat([features, self.project(features), inside], dim=2)


class _Step(nn.Module):
    """One character, in the step protocol. State: hidden and cell."""

    def __init__(self, core: Any) -> None:
        super().__init__()
        cell = core.Prediction.attention_cell
        self.h2h, self.score, self.rnn, self.generator = cell.h2h, cell.score, cell.rnn, core.Prediction.generator
        self.width, self.num_classes = cell.i2h.in_features, core.Prediction.num_classes

    def initial_state(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        empty = torch.zeros_like(memory[:, 0, self.width : -1])
        return empty, empty

    def step(self, token: Tensor, state: tuple[Tensor, Tensor], memory: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        features, projected, inside = memory[..., : self.width], memory[..., self.width : -1], memory[..., -1:]
        scores = self.score(torch.tanh(projected + self.h2h(state[0]).unsqueeze(1))) + hiding(inside)
        context = (scores.softmax(1).transpose(1, 2) @ features).squeeze(1)
        # The first token is one row, which stands for all.
        last = one_hot(token, self.num_classes, context.dtype).expand(context.shape[0], -1)
        state = lstm_cell(self.rnn, torch.cat([context, last], dim=1), state)
        return self.generator(state[0]), state


def _images(core: Any, batch_size: int, options: LineOptions) -> TensorSpec:
    height, width = getattr(core.opt, "imgH", HEIGHT), getattr(core.opt, "imgW", DEFAULT_WIDTH)
    return line_images(core, batch_size, options, height=height, width=width)


def _exact(core: Any, images: TensorSpec) -> ExactPadding:
    return exact_padding(_Features(core, nn.Identity()), height=images.shape[2])


def _no_text(core: Any, images: Tensor) -> Tensor:
    """What the original is called with to read."""
    return torch.zeros(len(images), core.opt.batch_max_length + 1, dtype=torch.int64, device=images.device)


def _characters(core: Any, count: int) -> str | None:
    """Those of the settings, where they are as many as the classes."""
    characters = getattr(core.opt, "character", None)
    return characters if isinstance(characters, str) and len(characters) == count else None


def matches(model: nn.Module) -> bool:
    """Whether the model has the benchmark's stages."""
    stages = getattr(model, "stages", None)
    return isinstance(stages, dict) and {"Trans", "Feat", "Seq", "Pred"} <= stages.keys() and hasattr(model, "opt")


FAMILY = Family(
    name=StaticBenchmark.family,
    class_names=(),
    matches=matches,
    options=LineOptions,
    build=build,
)
