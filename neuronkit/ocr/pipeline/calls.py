"""Calls of a detector or recogniser: an eager model, a compiled one, or a plain function."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuronkit import checks
from neuronkit.errors import SpecError
from neuronkit.ocr._arrays import to_numpy
from neuronkit.static.shapes.rows import Carry, RowStream, carry_of


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
        """Name of an input's dtype; None without specs."""
        found = getattr(self.specs[index], "dtype", None) if index < len(self.specs) else None
        return None if found is None else str(found).rsplit(".", 1)[-1]

    def takes(self, name: str) -> bool:
        """Whether the specs name an input."""
        return any(spec.name == name for spec in self.specs)

    def __call__(self, *inputs: NDArray[Any]) -> Any:
        """Run all rows.

        Args:
            inputs: Arrays with the same first dimension, at least 1.

        Returns:
            The first output, of all rows; where that is token ids, a pair: they and the second output, their
            probabilities.

        Raises:
            SpecError: If an output is not one row for each row of the input.
        """
        return next(self.stream([inputs]))

    def stream(self, groups: Iterable[tuple[NDArray[Any], ...]], ahead: int = 1) -> Iterator[Any]:
        """Run groups of rows, several in the same batch where the model fixes its size; see `RowStream.stream`."""
        fixed, carry = self.fixed_shape, carry_of(self.function)
        rows = RowStream(partial(self._run, carry), fixed[0] if fixed else self.batch_size, carry, fill=bool(fixed))
        tensors = (tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in group) for group in groups)
        return rows.stream(tensors, ahead if fixed else 1)

    def _run(self, carry: Carry | None, *inputs: torch.Tensor) -> Any:
        device = _device(self.function)
        given = [self._cast(tensor.to(device), i) for i, tensor in enumerate(inputs)]
        with torch.no_grad():
            output = self.function(*given) if carry is None else self.function.step(*given)  # type: ignore[attr-defined]
        outputs = list(output) if isinstance(output, (tuple, list)) and output else [output]
        if carry is not None:
            return (*(self._rows(to_numpy(x), len(inputs[0])) for x in outputs[:2]), outputs[2])
        found = readable(outputs)
        if isinstance(found, tuple):
            return tuple(self._rows(array, len(inputs[0])) for array in found)
        return self._rows(found, len(inputs[0]))

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


def readable(outputs: Sequence[Any]) -> Any:
    """What a processor reads of a model's outputs: token ids and their probabilities, or the first output alone."""
    first = to_numpy(outputs[0])
    is_tokens = first.ndim == 2 and first.dtype.kind in "iu" and len(outputs) > 1
    return (first, to_numpy(outputs[1])) if is_tokens else first


def _device(function: Callable[..., Any]) -> torch.device:
    if isinstance(function, torch.nn.Module):
        for parameter in function.parameters():
            return parameter.device
    return torch.device("cpu")
