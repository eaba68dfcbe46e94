"""Normalisation as the first step of a static graph, so that images travel to the device as bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import checks
from neuronkit.errors import OptionError
from neuronkit.interface import Interface
from neuronkit.ocr.craft import CraftProcessor
from neuronkit.ocr.images.normalization import Normalization
from neuronkit.ocr.parseq import ParseqProcessor
from neuronkit.specs import TensorSpec
from neuronkit.static.model import Graphs, StaticModel


def fold_normalization(model: StaticModel, processor: CraftProcessor | ParseqProcessor) -> StaticModel:
    """Make a static model that takes images as its processor scales them, uint8, and normalises them itself.

    A quarter of the bytes go to the device. Eagerly, results are those of `model` on normalised images, to the bit.

    Args:
        model: A static model whose first input is images (N, 3, H, W) float32, as `make_static` gives.
        processor: Its processor, with ``raw_images=True``.

    Returns:
        The same model with a uint8 input, to be given to `compile_for_inferentia` together with `processor`.

    Raises:
        OptionError: If the processor normalises too, or the model's first input is not float32 images.
    """
    if not isinstance(processor, (CraftProcessor, ParseqProcessor)):
        raise OptionError(
            f"got processor={checks.shown(processor)}; expected a processor; give a CraftProcessor or ParseqProcessor"
        )
    if not processor.raw_images:
        raise OptionError(
            f"got a {type(processor).__name__} that normalises already; expected one that leaves it to the model; give "
            "it raw_images=True"
        )
    if not isinstance(model, StaticModel):
        raise OptionError(f"got model={checks.shown(model)}; expected a static model; give what make_static returns")
    images = model.specs[0]
    if len(images.shape) != 4 or images.shape[1] != 3 or images.dtype != "float32":
        raise OptionError(
            f"got a model whose first input is {images}; expected images (N, 3, H, W) float32; give the model before "
            "its normalisation is folded in"
        )
    return _ByteInput(model, processor.normalization)


class _Normalized(nn.Module):
    """A module behind a normalisation of its first input."""

    mean: Tensor
    std: Tensor

    def __init__(self, module: nn.Module, normalization: Normalization) -> None:
        super().__init__()
        self.module = module
        self.divisor = normalization.divisor
        for name, values in (("mean", normalization.mean), ("std", normalization.std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor, *others: Tensor) -> Any:
        levels = images.to(torch.float32)
        if self.divisor != 1:
            levels = levels / self.divisor
        return self.module((levels - self.mean) / self.std, *others)


class _ByteInput(StaticModel):
    def __init__(self, model: StaticModel, normalization: Normalization) -> None:
        images = model.specs[0]
        super().__init__(model.original, (TensorSpec(images.name, images.shape, "uint8"), *model.specs[1:]))
        self.family = model.family
        self.model = model
        self.normalization = normalization

    @property
    def interface(self) -> Interface:
        """That of the wrapped model."""
        return self.model.interface

    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Random images of all levels; the other inputs are those of the wrapped model."""
        generator = torch.Generator().manual_seed(seed)
        images = torch.randint(0, 256, self.specs[0].shape, generator=generator).to(torch.uint8)
        return images, *self.model.example_inputs(seed)[1:]

    def graphs(self, rules: str = "any") -> Graphs:
        graphs = self.model.graphs(rules)
        specs = self.graph_specs()
        return {name: (self._wrap(name, module), specs[name]) for name, (module, _) in graphs.items()}

    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        return {name: self._wrap(name, module) for name, module in self.model.modules_by_name(source).items()}

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        return {
            name: (self.specs[0], *specs[1:]) if self._takes_images(name) else specs
            for name, specs in self.model.graph_specs().items()
        }

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Any:
        normalized = _Normalized(nn.Identity(), self.normalization).to(inputs[0].device)(inputs[0])
        return self.model.run_original(source, normalized, *inputs[1:])

    def join(self, graphs: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
        return self.model.join(graphs)

    def meaningful(self, outputs: Any, inputs: Any) -> Any:
        return self.model.meaningful(outputs, inputs)

    def _takes_images(self, graph: str) -> bool:
        return self.model.graph_specs()[graph][:1] == self.model.specs[:1]

    def _wrap(self, graph: str, module: nn.Module) -> nn.Module:
        return _Normalized(module, self.normalization).eval() if self._takes_images(graph) else module
