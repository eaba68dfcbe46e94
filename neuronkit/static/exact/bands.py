"""Products with sparse matrices, block by block: each block reads only the inputs that it needs."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from neuronkit.static.exact.matrices import apply_matrices
from neuronkit.static.exact.sizes import Dim, Extent
from neuronkit.static.ops import Bands, length

# Outputs of a block, at least; and blocks along a dimension, at most.
SMALLEST_BLOCK, MOST_BLOCKS = 64, 8
# Entries before and after a coordinate that cubic interpolation reads, and one for rounding.
MARGIN = 3


class Interpolation:
    """Which inputs the outputs of an interpolation read, whatever valid size an image on a canvas has.

    Args:
        dim: The dimension.
        wanted: The same after resizing.
        scale: Inputs by output, where the caller fixed it; None takes the ratio of the sizes.
        align_corners: As in torch.
        offset: Of nearest neighbours, added to outputs: 0 or 0.5; None of other interpolation.
    """

    def __init__(
        self, dim: Dim, wanted: Dim, scale: float | None, align_corners: bool, offset: float | None = None
    ) -> None:
        self._dims, self._scale, self._align_corners, self._offset = (dim, wanted), scale, align_corners, offset

    def bands(self, canvas: tuple[int, int]) -> Bands | None:
        """(first, last) output of each block and (first, last) input that it reads; None where that saves little."""
        source = next((dim.source for dim in self._dims if isinstance(dim, Extent)), None)
        if source is None:
            return None
        sizes = np.arange(1, canvas[source] + 1)
        inputs, outputs = (
            dim.function(sizes) if isinstance(dim, Extent) else np.full(len(sizes), dim) for dim in self._dims
        )
        block = max(SMALLEST_BLOCK, -(-int(outputs[-1]) // MOST_BLOCKS))
        found: Bands = []
        for first in range(0, int(outputs[-1]), block):
            last = min(first + block, int(outputs[-1]))
            counts = (outputs > first) & (inputs > 0)
            low = self._coordinate(first, inputs[counts], outputs[counts])
            high = self._coordinate(np.minimum(last, outputs[counts]) - 1, inputs[counts], outputs[counts])
            begin = max(0, int(np.floor(low.min())) - MARGIN)
            found.append((first, last, begin, min(int(inputs[-1]), int(np.floor(high.max())) + 1 + MARGIN)))
        read = sum((last - first) * (end - begin) for first, last, begin, end in found)
        return found if 2 * read <= outputs[-1] * inputs[-1] else None

    def _coordinate(self, output: Any, inputs: Any, outputs: Any) -> Any:
        if self._align_corners:
            coordinate = output * ((inputs - 1) / np.maximum(outputs - 1, 1))
        else:
            scale = inputs / outputs if self._scale is None else self._scale
            coordinate = (output + 0.5) * scale - 0.5 if self._offset is None else (output + self._offset) * scale
        return np.clip(coordinate, 0, inputs - 1)


class Resize(nn.Module):
    """Maps (N, C, H, W) and a matrix for H, W or both → (N, C, Hout, Wout)."""

    def __init__(self, rows: Interpolation, columns: Interpolation) -> None:
        super().__init__()
        self._along = rows, columns
        self._bands: dict[tuple[int, int], list[Bands | None]] = {}

    def forward(self, images: Tensor, x: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
        canvas = length(images, 2), length(images, 3)
        if canvas not in self._bands:
            self._bands[canvas] = [along.bands(canvas) for along in self._along]
        return apply_matrices(x, rows, columns, *self._bands[canvas])
