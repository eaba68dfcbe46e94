"""Calls of a detector or recogniser: an eager model, a compiled one, or a plain function."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuronkit import checks
from neuronkit.errors import SpecError
from neuronkit.ocr._arrays import to_numpy


@dataclasses.dataclass(frozen=True)
class ModelCall:
    """A callable on batches of tensors, called with arrays of any number of rows.

    Attributes:
        function: Takes tensors whose first dimension is the batch, gives a tensor or a tuple that begins with one.
        name: What to call it in error messages.
        batch_size: Rows a call; a callable with `specs` fixes it, and the last rows are filled up.
    """

    function: Callable[..., Any]
    name: str
    batch_size: int

    def __post_init__(self) -> None:
        checks.callable_(self.name, self.function)

    @property
    def specs(self) -> tuple[Any, ...]:
        """The callable's input specs, or () when it has none."""
        return tuple(getattr(self.function, "specs", None) or ())

    @property
    def fixed_shape(self) -> tuple[int, ...] | None:
        """Shape of the first input, when the callable has specs."""
        return tuple(int(side) for side in self.specs[0].shape) if self.specs else None

    def dtype(self, index: int = 0) -> str | None:
        """Name of an input's dtype, when the specs tell it."""
        found = getattr(self.specs[index], "dtype", None) if index < len(self.specs) else None
        return None if found is None else str(found).rsplit(".", 1)[-1]

    def takes(self, name: str) -> bool:
        """Whether the specs name an input."""
        return any(spec.name == name for spec in self.specs)

    def __call__(self, *inputs: NDArray[Any]) -> Any:
        """Run all rows, in chunks.

        Args:
            inputs: Arrays with the same first dimension, at least 1.

        Returns:
            The first output, of all rows; where that is token ids, a pair: they and the second output, their
            probabilities.

        Raises:
            SpecError: If an output is not one row for each row of the input.
        """
        rows = len(inputs[0])
        size = self.fixed_shape[0] if self.fixed_shape else self.batch_size
        chunks = [self._chunk([array[i : i + size] for array in inputs], size) for i in range(0, rows, size)]
        outputs = [np.concatenate(parts) if len(parts) > 1 else parts[0] for parts in zip(*chunks, strict=True)]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _chunk(self, inputs: Sequence[NDArray[Any]], size: int) -> list[NDArray[Any]]:
        rows = len(inputs[0])
        if self.fixed_shape and rows < size:
            # Filled with valid rows: zeros may be no valid input at all.
            inputs = [np.concatenate([array, np.repeat(array[:1], size - rows, axis=0)]) for array in inputs]
        device = _device(self.function)
        tensors = [torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in inputs]
        with torch.no_grad():
            output = self.function(*(self._cast(tensor, i) for i, tensor in enumerate(tensors)))
        outputs = list(output) if isinstance(output, (tuple, list)) and output else [output]
        first = to_numpy(outputs[0])
        tokens = first.ndim == 2 and first.dtype.kind in "iu" and len(outputs) > 1
        return [
            self._rows(array, len(inputs[0]))[:rows] for array in ([first, to_numpy(outputs[1])] if tokens else [first])
        ]

    def _rows(self, output: NDArray[Any], count: int) -> NDArray[Any]:
        if output.ndim == 0 or len(output) != count:
            raise SpecError(
                f"got shape {output.shape} from the {self.name} for {count} inputs; expected one row for each; check "
                "that it keeps the order and the number of its inputs"
            )
        return output

    def _cast(self, tensor: torch.Tensor, index: int) -> torch.Tensor:
        """Give floating-point inputs the precision that the specs name."""
        name = self.dtype(index)
        if name is None or not tensor.is_floating_point():
            return tensor
        return tensor.to(getattr(torch, name))


def _device(function: Callable[..., Any]) -> torch.device:
    if isinstance(function, torch.nn.Module):
        for parameter in function.parameters():
            return parameter.device
    return torch.device("cpu")
