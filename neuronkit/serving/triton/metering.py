"""Counts of what a server computes: how full its batches are, how much of them is padding, how long they take."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from neuronkit.artifact import CompiledModel
from neuronkit.static.shapes.fixed import VALID_SIZE
from neuronkit.static.shapes.rows import RowStream


@dataclass
class Counts:
    """Sums since they were last taken.

    Attributes:
        rows: Rows of the requests.
        batch_rows: Rows that were computed, with those that fill up batches. Batch fill is `rows` / `batch_rows`.
        valid_pixels: Of the rows computed, by their valid size; 0 for graphs that take none.
        canvas_pixels: The same by the canvas. Padding waste is 1 - `valid_pixels` / `canvas_pixels`.
        seconds: Time spent in the graph.
    """

    rows: float = 0
    batch_rows: float = 0
    valid_pixels: float = 0
    canvas_pixels: float = 0
    seconds: float = 0


DESCRIPTIONS = {
    "rows": "Rows that requests asked for",
    "batch_rows": "Rows computed, with those that fill up batches",
    "valid_pixels": "Pixels inside the valid size of the rows computed",
    "canvas_pixels": "Pixels of the canvases of the rows computed",
    "seconds": "Seconds spent in the compiled graph",
}


class Metered:
    """A compiled model that counts what it computes.

    Attributes:
        counts: What was computed; the caller adds `rows`.
        specs: The model's.
        output_specs: The model's.
        processor: The model's.
    """

    def __init__(self, model: CompiledModel) -> None:
        self._model = model
        self.specs = model.specs
        self.output_specs = model.output_specs
        self.processor = model.processor
        self.counts = Counts()

    def __getattr__(self, name: str) -> Any:
        """Further attributes of the model, such as the sizes of its outputs."""
        return getattr(self._model, name)

    def __call__(self, *inputs: Tensor) -> Any:
        """Run the model."""
        if self._model.carry is not None:
            return RowStream(self.step, self.specs[0].shape[0], self._model.carry)(*inputs)
        return self._counted(self._model, inputs)

    def step(self, *inputs: Tensor) -> Any:
        """Run a batch of a model whose rows may have to go on; see `CompiledModel.step`."""
        return self._counted(self._model.step, inputs)

    def _counted(self, function: Callable[..., Any], inputs: Sequence[Tensor]) -> Any:
        begin = time.perf_counter()
        outputs = function(*inputs)
        self.counts.seconds += time.perf_counter() - begin
        self.counts.batch_rows += len(inputs[0])
        for spec, tensor in zip(self.specs, inputs):
            if spec.name == VALID_SIZE:
                self.counts.valid_pixels += int(tensor.long().prod(1).sum())
                self.counts.canvas_pixels += len(tensor) * inputs[0][0, 0].numel()
        return outputs

    def take(self) -> dict[str, float]:
        """Give the counts, and begin at zero again."""
        taken, self.counts = self.counts, Counts()
        return dataclasses.asdict(taken)
