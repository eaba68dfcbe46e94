"""How many entries of a dimension are valid, as a function of the image's height or width.

A network turns the size n of its input into sizes f(n), layer by layer. On a padded canvas of size H every tensor has
f(H) entries, of which f(n) are valid. The f are kept as functions, and compared by their values on a sample of sizes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Sizes = npt.NDArray[np.int64]

# All small sizes, where networks differ most, and every 37th of the large ones: prime, so that it meets all residues.
SAMPLE: Sizes = np.concatenate([np.arange(1, 2049), np.arange(2049, 16384, 37)])

HEIGHT, WIDTH = 0, 1


class Extent:
    """A valid size as a function of the image's.

    Args:
        source: `HEIGHT` or `WIDTH`: which of the image's sizes it depends on.
        function: Gives the valid sizes for an array of image sizes.
        values: Its values on `SAMPLE`, where known.
    """

    def __init__(
        self, source: int, function: Callable[[Sizes], Sizes] = lambda n: n, values: Sizes | None = None
    ) -> None:
        self.source = source
        self.function = function
        self.values = function(SAMPLE) if values is None else values
        self.key = (source, self.values.tobytes())

    def then(self, step: Callable[[Sizes], Sizes]) -> Extent:
        """The size after a further step; `self` if the step changes no size."""
        values = np.maximum(step(self.values), 0)
        if np.array_equal(values, self.values):
            return self
        return Extent(self.source, lambda n: np.maximum(step(self.function(n)), 0), values)

    def with_other(self, other: Extent, step: Callable[[Sizes, Sizes], Sizes]) -> Extent:
        """A size computed from two that depend on the same source."""
        return Extent(self.source, lambda n: step(self.function(n), other.function(n)), step(self.values, other.values))

    def at(self, size: int) -> int:
        """The valid size for an image of this height or width."""
        return int(self.function(np.array([size], dtype=np.int64))[0])

    def thresholds(self, canvas: int) -> npt.NDArray[np.int32]:
        """For each entry on a canvas, the smallest image size that makes it valid.

        Valid entries are found by comparing an image's size with these, without the divisions that strides need.

        Returns:
            (f(canvas),) int32.
        """
        reached = np.maximum.accumulate(self.function(np.arange(1, canvas + 1)))
        return (np.searchsorted(reached, np.arange(self.at(canvas)), side="right") + 1).astype(np.int32)

    def is_monotone(self, runnable: npt.NDArray[np.bool_]) -> bool:
        """Whether a larger image never has fewer valid entries, over the sizes marked as runnable."""
        return bool((np.diff(self.values[runnable]) >= 0).all())


class _Mark:
    """A kind of dimension that has a name and no more."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


# The rows of the batch.
BATCH = _Mark("batch")
# Computed from height and width together.
MIXED = _Mark("mixed")


class Rows:
    """The batch and a varying dimension in one, as a linear layer may be given them.

    Args:
        extent: The varying dimension.
        batch_first: Whether the batch comes first; None of a number, a product of which no order is known.
    """

    def __init__(self, extent: Extent, batch_first: bool | None = None) -> None:
        self.extent = extent
        self.batch_first = batch_first

    @property
    def dims(self) -> list[Dim]:
        """Both, in their order."""
        return [BATCH, self.extent] if self.batch_first else [self.extent, BATCH]


# One dimension of a tensor: varying, fixed to a number, the batch, both in one, or fixed to a number not known (None).
Dim = Extent | int | _Mark | Rows | None


def step(dim: Dim, function: Callable[[Sizes], Sizes]) -> Dim:
    """The dimension after a layer that changes sizes by this function."""
    if isinstance(dim, Extent):
        return dim.then(function)
    if isinstance(dim, int):
        return int(function(np.array([dim], dtype=np.int64))[0])
    return dim


def window_count(
    kernel: int, stride: int, padding: tuple[int, int], dilation: int, ceil_mode: bool = False
) -> Callable[[Sizes], Sizes]:
    """Number of positions of a sliding window, as torch counts them for convolution and pooling."""

    def count(n: Sizes) -> Sizes:
        room = n + sum(padding) - dilation * (kernel - 1) - 1
        if not ceil_mode:
            return room // stride + 1
        rounded = -(-room // stride) + 1
        # A window may run over the end, but must begin inside the input or its left padding.
        return np.where((rounded - 1) * stride >= n + padding[0], rounded - 1, rounded)

    return count
