"""Normalising images, on the host by looking values up, or on the device as the first step of the graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Normalization:
    """(level / divisor - mean) / std for each of C colours, each step in float32, as the originals compute it.

    Attributes:
        divisor: What levels 0..255 are divided by first; 1 leaves them.
        mean: Of each colour, red first, after dividing.
        std: Of each colour, after dividing.
    """

    divisor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def table(self) -> NDArray[np.float32]:
        """Give what each level becomes: (C, 256) float32."""
        levels = np.repeat(np.arange(256, dtype=np.float32)[None], len(self.mean), axis=0)
        levels /= np.float32(self.divisor)
        levels -= np.array(self.mean, np.float32)[:, None]
        levels /= np.array(self.std, np.float32)[:, None]
        return levels
