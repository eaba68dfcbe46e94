"""StaticModel: what an adapter makes and a target compiles."""

from __future__ import annotations

import contextlib
import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.errors import SpecError
from neuronkit.interface import Interface
from neuronkit.specs import TensorSpec
from neuronkit.static.ops import length

Graphs = dict[str, tuple[nn.Module, tuple[TensorSpec, ...]]]


class StaticModel(nn.Module, ABC):
    """A dynamic model rewritten in fixed shapes, computing what the original computes.

    The original is shared, not copied and not registered: an optimizer step on it shows at once, while `train()`,
    `to()` or `state_dict()` of the static model leave it alone.

    Attributes:
        family: Name of the model family, for manifests and messages.
        original: The caller's model, as given.
        specs: The inputs, in order.
        joining: How the graphs are joined, as data with a ``to_dict()`` for the manifest; None for a single graph, and
            where Python code joins them.
    """

    family: str
    specs: tuple[TensorSpec, ...]
    original: nn.Module
    joining: Any = None

    @property
    def interface(self) -> Interface:
        """What the model is for, and what its outputs mean; the manifest of an artifact holds it."""
        return Interface()

    def __init__(self, original: nn.Module, specs: Sequence[TensorSpec]) -> None:
        super().__init__()
        self.__dict__["original"] = original
        self.specs = tuple(specs)

    @property
    def source(self) -> Any:
        """The original without the wrappers of distributed training and torch.compile."""
        return unwrap(self.original)

    def forward(self, *inputs: Tensor) -> Any:
        """Compute eagerly, with the original's weights of this moment and as in eval mode.

        Args:
            inputs: As `specs` say, with any number of rows.

        Raises:
            SpecError: If they do not fit.
        """
        self.check_inputs(inputs)
        with eval_mode(self.source):
            return self.join(self.modules_by_name(self.source))(*inputs)

    def check_inputs(self, inputs: Sequence[Tensor]) -> None:
        """Raise SpecError unless there is a tensor for each of `specs`, of its shape but for the number of rows."""
        wanted = ", ".join(map(str, self.specs))
        if len(inputs) != len(self.specs) or not all(isinstance(tensor, Tensor) for tensor in inputs):
            given = ", ".join(type(tensor).__name__ for tensor in inputs) or "nothing"
            raise SpecError(f"got {given}; expected tensors ({wanted}), with any number of rows")
        for spec, tensor in zip(self.specs, inputs):
            shape = tuple(length(tensor, dim) for dim in range(tensor.dim()))
            same_kind = tensor.is_floating_point() == spec.torch_dtype.is_floating_point
            if len(shape) != len(spec.shape) or shape[1:] != spec.shape[1:] or not same_kind:
                given = f"{shape} {str(tensor.dtype).rsplit('.', 1)[-1]}"
                raise SpecError(f"{spec.name}: got {given}; expected {wanted}, with any number of rows")

    def reference(self, *inputs: Tensor) -> Any:
        """Run the untouched original on the same inputs, in eval mode, without gradients."""
        with eval_mode(self.source), torch.no_grad():
            return self.run_original(self.source, *inputs)

    def graphs(self) -> Graphs:
        """The graphs that a target compiles, without loop or branch: name → (module, its input specs).

        The modules hold a copy of the weights, on the CPU and in eval mode, with everything folded that depends on
        weights alone.
        """
        specs = self.graph_specs()
        graphs: Graphs = {}
        for name, live in self.modules_by_name(self.source).items():
            module = detached_copy(live)
            for part in list(module.modules()):
                if isinstance(part, Foldable):
                    part.fold()
            graphs[name] = (module, specs[name])
        return graphs

    def assemble(self, compiled: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
        """Join compiled graphs into one callable that takes `specs`.

        Gives a TorchScript module where every graph is one, a plain callable otherwise.
        """
        joined = self.join(compiled)
        if isinstance(joined, torch.jit.ScriptModule) or not all(
            isinstance(c, torch.jit.ScriptModule) for c in compiled.values()
        ):
            return joined
        return torch.jit.script(joined)  # type: ignore[no-any-return]

    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Random inputs that fit `specs`, for tracing and parity."""
        return tuple(spec.example(seed + i) for i, spec in enumerate(self.specs))

    def meaningful(self, outputs: Any, inputs: Sequence[Tensor]) -> Any:
        """The outputs with every entry that carries no meaning set to zero, so that two runs can be compared."""
        return outputs

    @abstractmethod
    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        """The graphs' modules, computing from the live weights of `source`."""

    @abstractmethod
    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        """Input specs of each graph."""

    @abstractmethod
    def run_original(self, source: nn.Module, *inputs: Tensor) -> Any:
        """Call the original so that its outputs line up with those of `forward`."""

    def join(self, graphs: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
        """Connect the graphs; a model of one graph is that graph."""
        (graph,) = graphs.values()
        return graph


class PlainModel(StaticModel):
    """A model that is static already, compiled as it is.

    Args:
        model: Any module whose graph does not depend on its inputs' values.
        specs: Its inputs, in order.
    """

    family = "plain"
    examples: tuple[Tensor, ...] | None = None

    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """The inputs the caller gave, where there are any: random ones may lie outside the model's domain."""
        return self.examples if self.examples is not None else super().example_inputs(seed)

    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        return {"main": source}

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        return {"main": self.specs}

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Any:
        return source(*inputs)


class Foldable(nn.Module, ABC):
    """A graph module some of whose tensors depend on weights alone.

    They are computed at every call while the weights are live, and once in a graph to be compiled. Folded, they are
    buffers, so that a target can move them to its device.
    """

    _num_folded: int | None = None

    @abstractmethod
    def compute_constants(self) -> tuple[Tensor, ...]:
        """Compute what depends on weights alone."""

    @property
    def constants(self) -> tuple[Tensor, ...]:
        if self._num_folded is None:
            return self.compute_constants()
        return tuple(getattr(self, f"folded_{i}") for i in range(self._num_folded))

    def fold(self) -> None:
        """Fix the constants at their values of this moment."""
        with torch.no_grad():
            constants = self.compute_constants()
        for i, constant in enumerate(constants):
            self.register_buffer(f"folded_{i}", constant.detach().clone(), persistent=False)
        self._num_folded = len(constants)


def unwrap(model: nn.Module) -> nn.Module:
    """Strip DistributedDataParallel, DataParallel and torch.compile's wrapper, in any nesting."""
    while True:
        if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model


@contextlib.contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put the model in eval mode; on leaving, give every submodule back the mode it had."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def detached_copy(model: nn.Module) -> nn.Module:
    """Copy a model to the CPU, in eval mode, without gradients; the given one is not touched."""
    memo: dict[int, Any] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        copied = tensor.detach().to("cpu", copy=True)
        memo[id(tensor)] = nn.Parameter(copied, requires_grad=False) if isinstance(tensor, nn.Parameter) else copied
    return copy.deepcopy(model, memo).eval()
