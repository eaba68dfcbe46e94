"""Detectors on a canvas of fixed size, and what they share with other models on one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from neuronkit import checks, tensors
from neuronkit.adapters.kit.options import smaller_canvas
from neuronkit.errors import SpecError
from neuronkit.interface import ValidArea
from neuronkit.specs import TensorSpec
from neuronkit.static.exact import ExactPadding, exact_padding
from neuronkit.static.model import StaticModel
from neuronkit.static.shapes.canvas import clear_outside
from neuronkit.static.shapes.checks import check_valid_size
from neuronkit.static.shapes.refused import RefusedSizes

STRIDE = 32


class CanvasModel(StaticModel):
    """A static model whose graph is its original's network rewritten by `exact_padding`."""

    # The original's modules, by identity, and the graph made of them: rewriting takes longer than a small forward.
    _rewritten: tuple[tuple[int, ...], Any] | None = None

    def _current(self, source: nn.Module, rewrite: Callable[[nn.Module], Any]) -> Any:
        """What `rewrite` makes of a network; of the model's own it is made again only where its modules changed."""
        if source is not self.source:
            return rewrite(source)
        key = tuple(map(id, source.modules()))
        kept = self._rewritten
        if kept is None or kept[0] != key:
            # Not registered: this holds the original's layers, which stay the original's alone.
            self.__dict__["_rewritten"] = kept = key, rewrite(source)
        return kept[1]


class CanvasDetector(CanvasModel):
    """A detector on a canvas of fixed size, exact inside the valid area of each row.

    A subclass says what its graph is called, its network and its interface, each of whose outputs has a valid area.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        options: Its ``height`` and ``width`` are the canvas's.
    """

    graph: ClassVar[str]

    def __init__(self, model: nn.Module, batch_size: int, options: Any) -> None:
        self.options = options
        super().__init__(model, ())
        batch_size = checks.integer("batch_size", batch_size, 1, error=SpecError)
        dtype = next(self.source.parameters()).dtype
        self.specs = (
            TensorSpec("images", (batch_size, 3, options.height, options.width), dtype),
            TensorSpec("valid_size", (batch_size, 2), "int32", fill=STRIDE),
        )

    @abstractmethod
    def _network(self, source: Any) -> nn.Module:
        """Images → the outputs, for `exact_padding`."""

    def _alone(self, source: Any, image: Tensor) -> Any:
        """The original's outputs of one image without padding."""
        return self._network(source)(image)

    def smaller(self) -> Any:
        """The same on a smaller canvas."""
        options = self.options
        height, width = smaller_canvas(options.height, options.width)
        if (height, width) == (options.height, options.width):
            return self
        options = replace(options, height=height, width=width)
        return type(self)(self.original, batch_size=self.specs[0].shape[0], options=options)

    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        return {self.graph: self._exact(source)}

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        return {self.graph: self.specs}

    def _exact(self, source: nn.Module) -> ExactPadding:
        exact: ExactPadding = self._current(source, self._rewrite)
        return exact

    def _rewrite(self, source: nn.Module) -> ExactPadding:
        device = next(source.parameters()).device
        return exact_padding(self._network(source)).fix_canvas(self.options.height, self.options.width, device)

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Run the original on each row's valid area alone, and paste what it gives into zeros of the canvas's size."""
        images, valid_size = inputs
        check_valid_size("valid_size", valid_size, tuple(images.shape[2:]))
        self.check_sizes(valid_size)
        parts = [images[row : row + 1, :, :h, :w] for row, (h, w) in enumerate(valid_size.tolist())]
        # Without rows, one run gives the outputs' shapes.
        found = [self._several(self._alone(source, x)) for x in parts or [images.new_zeros(1, *images.shape[1:])]]
        pasted = []
        for area, outputs in zip(self._areas, zip(*found)):
            shape = [len(images), *outputs[0].shape[1:]]
            for axis, size in zip(area.axes, images.shape[2:]):
                shape[axis] = area.size(size)
            pasted.append(outputs[0].new_zeros(shape))
            for row, output in enumerate(outputs[: len(images)]):
                pasted[-1][(row, *map(slice, output.shape[1:]))] = output[0]
        return self._alike(pasted)

    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Random images, each valid up to a random multiple of 32 in both directions.

        Raises:
            SpecError: If `seed` is not a whole number of 64 bits.
        """
        seed = checks.integer("seed", seed, -(1 << 63), (1 << 63) - 2, error=SpecError)
        generator = torch.Generator().manual_seed(seed + 1)
        rows, _, *canvas = self.specs[0].shape
        steps = [torch.randint(1, size // STRIDE + 1, (rows,), generator=generator) for size in canvas]
        return self.specs[0].example(seed), (torch.stack(steps, dim=1) * STRIDE).to(torch.int32)

    def valid_output_sizes(self, valid_size: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Size of the valid area of each output.

        Args:
            valid_size: (N, 2) integers, (height, width) of each image.

        Returns:
            (N, 2) of the same dtype, (height, width), once for each output; a single one where there is one output.

        Raises:
            SpecError: If `valid_size` is no such tensor.
        """
        integers = ("int32", "int64", "int16", "int8", "uint8")
        sizes = tensors.tensor("valid_size", valid_size, shape=(None, 2), dtype=integers)
        return self._alike([area.size(sizes) for area in self._areas])

    @property
    def refused_sizes(self) -> RefusedSizes | None:
        """Those of the network."""
        return self._exact(self.source).refused_sizes(self.specs)

    def check_sizes(self, valid_size: Tensor) -> None:
        """Refuse sizes of images (N, 2), (height, width), on which the original cannot run.

        Raises:
            SpecError: If there is one.
        """
        self._exact(self.source).check_sizes(valid_size)

    def meaningful(self, outputs: Any, inputs: Sequence[Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        """The outputs with everything outside the valid area set to zero."""
        cleared = zip(self._several(outputs), self._areas)
        return self._alike([clear_outside(output, area, inputs[1]) for output, area in cleared])

    @property
    def _areas(self) -> list[ValidArea]:
        return [output.valid for output in self.interface.outputs if output.valid is not None]

    def _several(self, outputs: Any) -> Sequence[Tensor]:
        return outputs if len(self._areas) > 1 else (outputs,)

    def _alike(self, outputs: Sequence[Tensor]) -> Any:
        return tuple(outputs) if len(self._areas) > 1 else outputs[0]
