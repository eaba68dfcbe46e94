"""What line recognisers share: one canvas for lines of all widths, each read as it would be alone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import checks, tensors
from neuronkit.adapters.kit.canvas import CanvasModel
from neuronkit.adapters.kit.options import ReadingOptions, check_sizes
from neuronkit.errors import SpecError, UnknownModelError
from neuronkit.interface import RECOGNIZER, Interface, ValidArea
from neuronkit.ocr.ctc import collapse
from neuronkit.ocr.images.normalization import Normalization
from neuronkit.ocr.parseq import NORMALIZATION
from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.decoding import TOKENS, named_outputs
from neuronkit.static.exact import ExactPadding, exact_padding
from neuronkit.static.ops import tokens_of
from neuronkit.static.shapes.canvas import clear_outside
from neuronkit.static.shapes.checks import check_valid_size, known_on_host
from neuronkit.static.shapes.fixed import VALID_WIDTH
from neuronkit.static.shapes.refused import RefusedSizes

# Where the model does not say.
DEFAULT_WIDTH = 320
# Of the blank, outside the valid part: its probability is exactly 1, and every float type holds it.
CERTAIN = 2.0**13


@dataclass(frozen=True)
class LineOptions(ReadingOptions):
    """The canvas, and what crosses the border of the graph.

    Args:
        width: Of the canvas, in pixels; None follows the model, or takes 320. Lines may have any width up to it.
        height: Of all lines, in pixels; None follows the model.
        outputs: "logits", or "tokens": the likeliest class of each position and its probability.
        raw_images: Take images as bytes, 0..255, and normalise them inside.

    Raises:
        SpecError: If a size is not a number of pixels.
        OptionError: If another option has no such value.

    Examples:
        >>> neuronkit.LineOptions(width=256).width
        256
    """

    width: int | None = None
    height: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(self, "width", "height")


def line_images(
    model: nn.Module, batch_size: int, options: LineOptions, *, height: int, width: int = DEFAULT_WIDTH
) -> TensorSpec:
    """The canvas of a model: of the options' size, or of this one, and with the channels of the first convolution."""
    first = next((part for part in model.modules() if isinstance(part, nn.Conv2d)), None)
    if first is None:
        raise UnknownModelError(
            f"got a {type(model).__name__} without convolutions; expected a line recogniser; name another family"
        )
    shape = batch_size, first.in_channels, options.height or height, options.width or width
    return TensorSpec("images", shape, first.weight.dtype)


class Canvas:
    """A canvas for lines of one height, and what may lie on it.

    Attributes:
        specs: Of the images and of their widths.
        smallest_width: Of a line, in pixels: below it the original fails.
        area: How the number of positions follows from a line's width.

    Args:
        name: Of the model, for messages.
        exact: Its network.
        images: The canvas.

    Raises:
        SpecError: If the canvas is too narrow, or positions are not whole steps of pixels.
    """

    def __init__(self, name: str, exact: ExactPadding, images: TensorSpec) -> None:
        self._name = name
        self.smallest_width = exact.smallest_width()
        batch_size, width = images.shape[0], images.shape[3]
        if width < self.smallest_width:
            raise SpecError(
                f"got width={width} for {name}; expected at least {self.smallest_width} pixels, the narrowest line "
                "that it can run on; give a wider canvas"
            )
        self.area = _valid_area(exact, self.smallest_width, width)
        self.specs = (images, TensorSpec(VALID_WIDTH, (batch_size,), "int32", fill=width))

    @property
    def steps(self) -> int:
        """Positions of a line as wide as the canvas."""
        return self.area.size(self.specs[0].shape[3])

    def reached(self) -> Tensor:
        """The width from which on a line has each of the positions, (T,) int32."""
        return torch.arange(1, self.steps + 1, dtype=torch.int32) * self.area.stride - self.area.offset

    def check_sizes(self, valid_width: Tensor) -> None:
        """Raise SpecError if the original cannot run on lines of one of these widths (N,)."""
        narrow = [width for width in valid_width.tolist() if width < self.smallest_width]
        if narrow:
            raise SpecError(
                f"got lines of width {min(narrow)} for {self._name}; expected at least {self.smallest_width} pixels, "
                "below which it fails; scale such lines up, or leave them out"
            )

    def check_inputs(self, images: Tensor, valid_width: Tensor) -> tuple[Tensor, Tensor]:
        """Check the widths, where they lie in the host's memory."""
        if known_on_host(valid_width):
            self.check_sizes(check_valid_size(VALID_WIDTH, valid_width, (images.shape[3],), len(images)))
        return images, valid_width

    @property
    def refused_sizes(self) -> RefusedSizes | None:
        """Lines that are too narrow."""
        narrow = self.smallest_width - 1
        return RefusedSizes(VALID_WIDTH, widths=((1, narrow),)) if narrow else None

    def example_inputs(self, spec: TensorSpec, seed: int) -> tuple[Tensor, Tensor]:
        """Random images as `spec` says, each valid up to a random width."""
        seed = checks.integer("seed", seed, -(1 << 63), (1 << 63) - 2, error=SpecError)
        images = spec.example(seed)
        generator = torch.Generator().manual_seed(seed + 1)
        widths = torch.randint(self.smallest_width, images.shape[3] + 1, (len(images),), generator=generator)
        return images, widths.to(torch.int32)


class StaticLine(CanvasModel):
    """A line recogniser on a canvas of fixed size: each row gives what the line alone gives.

    Called with images (N, C, H, W), each line at the left of its canvas, and valid_width (N,) int32, in pixels, it
    gives logits (N, T, C), or the likeliest classes (N, T) int32 and their probabilities. What lies on the canvas
    outside the valid width, has no influence. Outside the valid part of T the blank has probability 1, so that whatever
    reads the outputs reads nothing there.

    An adapter implements `network` and `alone`, sets `family`, and, where they differ, `blank_id` and
    `known_characters`.

    Attributes:
        smallest_width: Of a line, in pixels: below it the original fails.

    Args:
        model: The dynamic model.
        images: The canvas.
        num_classes: Of the logits.
        options: What crosses the border of the graph.
        normalization: How the original's images are normalised.

    Raises:
        SpecError: If the canvas is too narrow, or the model holds an operator that would let padding into the result.
    """

    blank_id = 0

    def __init__(
        self,
        model: nn.Module,
        images: TensorSpec,
        num_classes: int,
        options: LineOptions | None = None,
        normalization: Normalization = NORMALIZATION,
    ) -> None:
        super().__init__(model, ())
        self.num_classes, self.options = num_classes, options or LineOptions()
        exact = exact_padding(self.network(self.source), height=images.shape[2])
        self.canvas = Canvas(type(self.source).__name__, exact, images)
        self.specs, self.smallest_width, self.area = self.canvas.specs, self.canvas.smallest_width, self.canvas.area
        self._current(self.source, partial(self._graph, exact=exact))
        if self.options.raw_images:
            self.take_raw_images(normalization)

    @abstractmethod
    def network(self, source: Any) -> nn.Module:
        """A module from images to logits (N, T, C), which torch.fx can trace; made of the source's own layers."""

    @abstractmethod
    def alone(self, source: Any, images: Tensor) -> Tensor:
        """Call the original, as its user does, on lines without padding; gives logits (N, T, C)."""

    @property
    def known_characters(self) -> str | None:
        """The characters of all classes but the blank; None where the model has none."""
        return None

    @property
    def interface(self) -> Interface:
        """A recogniser read by CTC."""
        outputs = (replace(output, valid=self.area) for output in named_outputs(self.options.outputs))
        return Interface(RECOGNIZER, tuple(outputs), blank_id=self.blank_id, characters=self.known_characters)

    def check_inputs(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return self.canvas.check_inputs(*super().check_inputs(inputs))

    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        return {"read": self._current(source, self._graph)}

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        return {"read": self.specs}

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Tensor:
        """Run the original on each line alone, and put what it gives beside certain blanks."""
        images, valid_width = inputs
        logits = images.new_zeros(len(images), self.canvas.steps, self.num_classes)
        logits[:, :, self.blank_id] = CERTAIN
        for row, width in enumerate(valid_width.tolist()):
            read = self.alone(source, images[row : row + 1, :, :, :width])[0]
            logits[row, : len(read)] = read
        return logits

    def as_outputs(self, outputs: Any) -> Any:
        return tokens_of(outputs) if self.options.outputs == TOKENS else outputs

    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Random images, each valid up to a random width.

        Raises:
            SpecError: If `seed` is not a whole number of 64 bits.
        """
        return self.canvas.example_inputs(self.specs[0], seed)

    def valid_output_sizes(self, valid_width: Tensor) -> Tensor:
        """How many of the T positions belong to a line.

        Args:
            valid_width: (N,) integers, the width of each line in pixels.

        Returns:
            (N, 1) of the same dtype.

        Raises:
            SpecError: If `valid_width` is no such tensor.
        """
        integers = ("int32", "int64", "int16")
        checked = tensors.tensor(VALID_WIDTH, valid_width, shape=(None,), dtype=integers)
        return self.area.size(checked.unsqueeze(1))

    @property
    def refused_sizes(self) -> RefusedSizes | None:
        """Lines that are too narrow."""
        return self.canvas.refused_sizes

    def check_sizes(self, valid_width: Tensor) -> None:
        """Raise SpecError if the original cannot run on lines of one of these widths (N,)."""
        self.canvas.check_sizes(valid_width)

    def meaningful(self, outputs: Any, inputs: Sequence[Tensor]) -> Any:
        """The outputs with everything outside the valid part set to zero."""
        if not isinstance(outputs, Tensor):
            return tuple(self.meaningful(output, inputs) for output in outputs)
        return clear_outside(outputs, self.area, inputs[1])

    def decoded(self, outputs: Any) -> list[Any]:
        """For each row the text along the best path; its classes where the characters are not known."""
        ids = outputs.argmax(2) if isinstance(outputs, Tensor) else outputs[0]
        found = [collapse(row, self.blank_id) for row in ids.tolist()]
        characters = self.known_characters
        if characters is None:
            return found
        symbols = [*characters[: self.blank_id], "", *characters[self.blank_id :]]
        return ["".join(symbols[i] for i in row) for row in found]

    def _graph(self, source: nn.Module, exact: ExactPadding | None = None) -> LineGraph:
        height, width = self.specs[0].shape[2:]
        exact = exact or exact_padding(self.network(source), height=height)
        exact.fix_canvas(height, width, next(source.parameters()).device)
        certain = torch.zeros(self.num_classes, dtype=next(exact.parameters()).dtype)
        certain[self.blank_id] = CERTAIN
        return LineGraph(exact, self.canvas.reached(), certain, gives_tokens=self.options.outputs == TOKENS)


class LineGraph(nn.Module):
    """Images and widths → logits, or classes and their probabilities, with certain blanks behind each line."""

    reached: Tensor
    certain: Tensor

    def __init__(self, exact: ExactPadding, reached: Tensor, certain: Tensor, *, gives_tokens: bool) -> None:
        super().__init__()
        self.exact, self.gives_tokens = exact, gives_tokens
        device = next(exact.parameters()).device
        self.register_buffer("reached", reached.to(device), persistent=False)
        self.register_buffer("certain", certain.to(device), persistent=False)

    def forward(self, images: Tensor, valid_width: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        outside = (valid_width.unsqueeze(1) < self.reached).to(images.dtype)
        logits = self.exact(images, valid_width) + outside.unsqueeze(2) * self.certain
        return tokens_of(logits) if self.gives_tokens else logits


def _valid_area(exact: ExactPadding, smallest: int, width: int) -> ValidArea:
    """How the number of positions follows from a line's width."""
    widths = torch.arange(smallest, max(width, smallest + 256) + 1)
    counts = exact.valid_output_sizes(widths)[:, 0]
    grows = (counts[1:] > counts[:-1]).nonzero()[:, 0] + 1
    stride = int(widths[grows[1]] - widths[grows[0]])
    offset = int(counts[grows[0]]) * stride - int(widths[grows[0]])
    if not torch.equal((widths + offset) // stride, counts.to(widths.dtype)):
        raise SpecError(
            "got a network whose positions are no whole steps of a line's pixels; expected one position for each so "
            "many pixels; use exact_padding and its valid_output_sizes"
        )
    return ValidArea((1,), stride, offset, VALID_WIDTH)
