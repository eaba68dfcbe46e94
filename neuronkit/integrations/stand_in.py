"""Replacing a pipeline's network by compiled models."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import checks
from neuronkit.artifact import CompiledModel
from neuronkit.capture.fingerprint import hash_tensors
from neuronkit.errors import OptionError, SpecError
from neuronkit.shown import shown
from neuronkit.static.model import StaticModel
from neuronkit.static.original import quantised_modules, unwrap
from neuronkit.static.shapes.buckets import Buckets
from neuronkit.static.trees import map_tensors


class StandIn(nn.Module):
    """Replaces a network: compiled models compute the shapes that they fit, the network itself all others.

    Attributes:
        original: The network.
        compiled: The compiled models, one for each shape. Saved, they can be given to `accelerate` again.
    """

    original: nn.Module
    compiled: tuple[CompiledModel, ...]

    def __init__(self, original: nn.Module, compiled: Sequence[CompiledModel]) -> None:
        super().__init__()
        # Neither the original's weights nor its modes are those of the pipeline any more.
        self.__dict__.update(original=original, compiled=tuple(compiled))
        self.__dict__["_shapes"] = Buckets({model.specs[0].shape: model for model in compiled})
        # A pipeline takes device and dtype of its inputs from the first parameter.
        self.inputs_like = nn.Parameter(torch.zeros((), dtype=compiled[0].specs[0].torch_dtype), requires_grad=False)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "original" not in self.__dict__:
                raise
            return getattr(self.original, name)

    def train(self, mode: bool = True) -> StandIn:
        """Set the mode of the original, which computes what the compiled models do not."""
        self.original.train(mode)
        return super().train(mode)

    def serves(self, images: Tensor) -> bool:
        """Whether there is a shape for these images; warns where the original has to compute them."""
        rows, size = len(images), tuple(images.shape[2:])
        try:
            fixed = self._shapes.buckets[self._shapes.route(size, rows)]
        except SpecError:
            fixed = None
        # Without a valid size, padding would change the result.
        if fixed is not None and (fixed.valid_size is not None or fixed.canvas == size):
            return True
        shapes = ", ".join(dict.fromkeys("x".join(map(str, shape[2:])) for shape in self._shapes.shapes))
        given_to_original(
            f"got an input of {size[0]}x{size[1]}; compiled are {shapes}; give accelerate a fitting shape"
        )
        return False

    def compute(self, images: Tensor) -> Any:
        """Outputs of the compiled models, on the device that the images are on."""
        return map_tensors(lambda output: output.to(images.device), self._shapes(images.cpu()))


def given_to_original(reason: str) -> None:
    """Warn that a call goes to the original network."""
    warnings.warn(f"{reason}: the original network computes it, uncompiled", RuntimeWarning, stacklevel=2)


def original_of(network: Any) -> Any:
    """The original network, whether or not it is replaced now."""
    return network.original if isinstance(network, StandIn) else network


def check_network(name: str, network: nn.Module, remedy: str) -> None:
    """Refuse quantised networks, whose results no rewrite gives.

    Raises:
        OptionError: If one of its modules is quantised.
    """
    found = quantised_modules(unwrap(network))
    if found:
        raise OptionError(
            f"got a {name} with quantised modules ({', '.join(found[:3])}), whose results depend on the whole batch; "
            f"expected float weights; {remedy}"
        )


def batch_sizes(rows: int) -> list[int]:
    """Rows of the batches to compile: the pipeline's batch size, and an eighth of it for what is left over."""
    return sorted({rows, max(1, rows // 8)})


def compiled_models(
    name: str,
    statics: Sequence[StaticModel],
    given: CompiledModel | Sequence[CompiledModel] | None,
    compile_: Callable[[StaticModel], CompiledModel],
) -> list[CompiledModel]:
    """Compile a network in every shape; or take what the caller compiled before.

    Args:
        name: Of the argument that gives compiled models.
        statics: The network, in one shape each.
        given: Models compiled before, of the same network.
        compile_: Compiles one.

    Raises:
        OptionError: If what is given is not a compiled model, or of other weights or another form.
    """
    if given is None:
        return [compile_(static) for static in statics]
    models = [given] if isinstance(given, CompiledModel) else checks.items(name, given, "compiled models", least=1)
    weights = hash_tensors(statics[0].source.state_dict())
    inputs = [spec.name for spec in statics[0].specs]
    for model in models:
        if not isinstance(model, CompiledModel):
            raise OptionError(f"got {name}={shown(model)}; expected a CompiledModel; give neuronkit.load(path)")
        takes = [spec.name for spec in model.specs]
        if takes != inputs:
            raise OptionError(
                f"got {name}, a model of family {model.manifest['family']!r} that takes {', '.join(takes)}; expected "
                f"one that takes {', '.join(inputs)}; give one of the .compiled that accelerate makes"
            )
        if model.manifest["source"].get("weight_hash") != weights:
            raise OptionError(
                f"got {name}, compiled of other weights than this pipeline's; expected the same network; compile it "
                "again"
            )
    return list(models)
