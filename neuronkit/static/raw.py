"""Images as bytes: normalised as the first step of a graph, with the bits that a processor gives on the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.errors import SpecError
from neuronkit.ocr.images.normalization import Normalization
from neuronkit.specs import TensorSpec


class RawImages:
    """Mix-in of static models that take images as bytes.

    Attributes:
        normalization: How they are normalised inside; None where images come normalised.
    """

    specs: tuple[TensorSpec, ...]
    normalization: Normalization | None = None

    @property
    def source(self) -> Any:
        """The original network."""
        raise NotImplementedError

    def take_raw_images(self, normalization: Normalization) -> None:
        """Take images (N, C, H, W) as bytes, 0..255, and normalise them as the first step of the graph."""
        images = self.specs[0]
        # Grey images are normalised as red is.
        first = slice(images.shape[1])
        self.normalization = replace(normalization, mean=normalization.mean[first], std=normalization.std[first])
        self.specs = (TensorSpec(images.name, images.shape, "uint8"), *self.specs[1:])

    def normalized(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The inputs as the original takes them."""
        if self.normalization is None:
            return tuple(inputs)
        return Normalize(self.normalization, next(self.source.parameters()))(inputs[0]), *inputs[1:]

    def with_raw_images(
        self, modules: Mapping[str, nn.Module], specs: Mapping[str, tuple[TensorSpec, ...]]
    ) -> dict[str, nn.Module]:
        """Put the normalisation before the graphs whose first input is the images."""
        assert self.normalization is not None
        normalize = Normalize(self.normalization, next(self.source.parameters()))
        takes_images = {name for name in modules if specs[name][:1] == self.specs[:1]}
        if not takes_images:
            raise SpecError(
                f"got graphs of which none takes {self.specs[0]} first; expected one that does; let graph_specs() give "
                "self.specs to the graph of the images"
            )
        return {name: Normalized(normalize, m) if name in takes_images else m for name, m in modules.items()}


class Normalize(nn.Module):
    """Images (N, C, H, W) uint8, 0..255 → normalised, of the dtype that the model computes in."""

    divisor: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, normalization: Normalization, like: Tensor) -> None:
        super().__init__()
        self.dtype = like.dtype
        self.divides = normalization.divisor != 1
        # Tensors, by which a compiler divides: by a number it would multiply with its reciprocal, which has other bits.
        for name in ("divisor", "mean", "std"):
            values = torch.tensor(getattr(normalization, name), dtype=torch.float32).view(1, -1, 1, 1)
            self.register_buffer(name, values.to(like.device), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        levels = images.to(torch.float32)
        if self.divides:
            levels = levels / self.divisor
        normalized = (levels - self.mean) / self.std
        return normalized if self.dtype == torch.float32 else normalized.to(self.dtype)


class Normalized(nn.Module):
    """A module behind the normalisation of its first input."""

    def __init__(self, normalize: Normalize, module: nn.Module) -> None:
        super().__init__()
        self.normalize = normalize
        self.module = module

    def forward(self, images: Tensor, *others: Tensor) -> Any:
        return self.module(self.normalize(images), *others)
