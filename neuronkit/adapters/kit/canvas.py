"""Example images that fill a part of the canvas, for detectors that take a valid size."""

from __future__ import annotations

import torch
from torch import Tensor

from neuronkit import checks
from neuronkit.errors import SpecError
from neuronkit.specs import TensorSpec


def part_filled(images: TensorSpec, stride: int, seed: int) -> tuple[Tensor, Tensor]:
    """Random images (N, C, H, W) and the valid size of each, (N, 2) int32: (height, width), multiples of `stride`.

    Raises:
        SpecError: If `seed` is no whole number of 64 bits.
    """
    seed = checks.integer("seed", seed, -(1 << 63), (1 << 63) - 2, error=SpecError)
    generator = torch.Generator().manual_seed(seed + 1)
    rows, _, *canvas = images.shape
    steps = [torch.randint(1, size // stride + 1, (rows,), generator=generator) for size in canvas]
    return images.example(seed), (torch.stack(steps, dim=1) * stride).to(torch.int32)
