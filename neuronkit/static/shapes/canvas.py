"""Placing an input on a canvas of fixed size, and cutting its outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from neuronkit.errors import SpecError
from neuronkit.interface import ValidArea


def padded_size(shape: Sequence[int]) -> tuple[int, ...]:
    """The sizes of the dimensions that are padded: batch and channels are not, and at most two are distinguished.

    Tensors of fewer than four dimensions have no channels.
    """
    return tuple(shape[first_padded(len(shape)) :][-2:])


def crop(output: Tensor, sizes: Tensor | None, place: int | None = None) -> Tensor:
    """Cut the dimensions that have the canvas's size.

    Args:
        output: (N, ...) any output.
        sizes: (2, K) sizes of K neighbouring dimensions for the input and for the whole canvas; None leaves the output
            alone.
        place: The first of these dimensions; None takes the last place where the sizes are the canvas's.

    Raises:
        SpecError: If the output is sparse.
    """
    if sizes is None:
        return output
    if output.layout is not torch.strided:
        raise SpecError("got a sparse output; expected a dense one, which can be cut; give output.to_dense()")
    wanted, canvas = sizes.tolist()
    place = find_dims(output.shape, canvas) if place is None else place
    if place is not None:
        for dim, size in enumerate(wanted, start=place):
            output = output.narrow(dim, 0, size)
    return output


def find_dims(shape: Sequence[int], sizes: Sequence[int]) -> int | None:
    """The last place, after the batch, where neighbouring dimensions have these sizes; None if there is none."""
    for place in range(len(shape) - len(sizes), 0, -1):
        if list(shape[place : place + len(sizes)]) == list(sizes):
            return place
    return None


def first_padded(dims: int) -> int:
    """The first dimension that is padded, of this many."""
    return 2 if dims >= 4 else 1


def with_height(size: tuple[int, ...]) -> tuple[int, ...]:
    """(height, width) of a size that may have no height."""
    return size if len(size) == 2 else (1, *size)


def pad(tensor: Tensor, shape: Sequence[int], value: float) -> Tensor:
    """Lay rows on canvases, at the top left."""
    if tuple(tensor.shape[1:]) == tuple(shape[1:]):
        return tensor
    canvas = tensor.new_full((len(tensor), *shape[1:]), value)
    canvas[tuple(slice(size) for size in tensor.shape)] = tensor
    return canvas


def row_chunks(rows: int, most: int) -> Iterator[slice]:
    """Slices of at most `most` rows; without rows an empty one, because only a run gives the output's shape."""
    for start in range(0, max(rows, 1), most):
        yield slice(start, min(start + most, rows))


def clear_outside(output: Tensor, area: ValidArea, valid: Tensor) -> Tensor:
    """An output (N, ...) with zeros outside the area that belongs to valid sizes (N, 2) or (N,)."""
    sizes = area.size(valid.to(output.device).reshape(len(valid), -1)).unbind(1)
    for axis, size in zip(area.axes, sizes):
        inside = torch.arange(output.shape[axis], device=output.device) < size.unsqueeze(1)
        shape = [len(inside), *(1 for _ in output.shape[1:])]
        shape[axis] = -1
        output = torch.where(inside.reshape(shape), output, output.new_zeros(()))
    return output
