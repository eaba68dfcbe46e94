"""What a graph computes and moves, counted as it runs: the same on every release of torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from neuronkit.capture.products import argument, base_name, factors_of, tensors_in, written_arguments
from neuronkit.capture.watching import OperatorMode, watched_by


@dataclass(frozen=True)
class OperatorCount:
    """All calls of one operator kind in a graph.

    Attributes:
        calls: How many.
        flops: Of its matrix products and convolutions, 2 for each multiplication and addition; 0 for other operators.
        activation_bytes: What it reads and writes besides weights, if nothing is fused.
    """

    calls: int = 0
    flops: int = 0
    activation_bytes: int = 0

    def __add__(self, other: OperatorCount) -> OperatorCount:
        return OperatorCount(
            self.calls + other.calls, self.flops + other.flops, self.activation_bytes + other.activation_bytes
        )

    def times(self, count: float) -> OperatorCount:
        """The same, so many times."""
        return OperatorCount(*(round(count * n) for n in (self.calls, self.flops, self.activation_bytes)))


@dataclass(frozen=True)
class GraphCount:
    """One execution of a graph.

    Attributes:
        operators: Operator kind (``"aten::convolution"``) → its calls; operators that only look at memory differently
            are left out.
        flops_by_dtype: Dtype of the factors → FLOPs.
        weight_bytes_by_dtype: Dtype → bytes of the weights and constants that are read, each once.
        input_bytes: Bytes of the inputs.
        output_bytes: Bytes of the outputs.
    """

    operators: Mapping[str, OperatorCount]
    flops_by_dtype: Mapping[str, int]
    weight_bytes_by_dtype: Mapping[str, int]
    input_bytes: int
    output_bytes: int

    @property
    def io_bytes(self) -> int:
        """Bytes of the inputs and outputs."""
        return self.input_bytes + self.output_bytes

    @property
    def flops(self) -> int:
        """FLOPs of matrix products and convolutions."""
        return sum(self.flops_by_dtype.values())

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights and constants that are read, each once."""
        return sum(self.weight_bytes_by_dtype.values())

    @property
    def activation_bytes(self) -> int:
        """Bytes that operators read and write besides weights, if nothing is fused."""
        return sum(operator.activation_bytes for operator in self.operators.values())


def count_graph(function: Callable[..., Any], inputs: tuple[Tensor, ...]) -> tuple[Any, GraphCount]:
    """Run a graph once and count.

    Args:
        function: The graph.
        inputs: Its inputs.

    Returns:
        What the graph gives, and the counts.

    Raises:
        UnsupportedOperatorError: If an operator multiplies matrices and it is not known how to count it.
    """
    mode = _Counting(inputs)
    with watched_by(mode):
        outputs = function(*inputs)
    moved = (sum(map(_bytes, tensors)) for tensors in (inputs, tensors_in(outputs)))
    return outputs, GraphCount(mode.operators, dict(mode.flops), mode.weights.by_dtype(), *moved)


def product_flops(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Tensor) -> int:
    """FLOPs of a matrix product or convolution; 0 for any other operator.

    Zeros of the padding count, as they do for `torch.utils.flop_counter`; a bias does not.
    """
    factors = factors_of(func, args, kwargs)
    if not factors:
        return 0
    first, second = (argument(func, name, args, kwargs) for name in factors)
    if "conv" not in base_name(func):
        # (..., rows, inner) times (..., inner, columns), or times a vector.
        return 2 * first.numel() * (second.shape[-1] if second.dim() > 1 else 1)
    if base_name(func) == "conv_tbc":
        return 2 * result.numel() * math.prod(second.shape[:2])
    # A weight is (out, in / groups, *kernel); transposed it is (in, out / groups, *kernel), and spreads each input.
    spread = "convolution" in base_name(func) and _is_transposed(func, args, kwargs)
    return 2 * (first if spread else result).numel() * math.prod(second.shape[1:])


def _is_transposed(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    names = [parameter.name for parameter in func._schema.arguments]
    return "transposed" in names and bool(argument(func, "transposed", args, kwargs))


class _Counting(OperatorMode):
    """Runs operators as they are, and keeps account."""

    def __init__(self, inputs: Iterable[Tensor]) -> None:
        super().__init__()
        self.operators: dict[str, OperatorCount] = {}
        self.flops: Counter[str] = Counter()
        self.weights = _Weights(inputs)

    def run(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        result = func(*args, **kwargs)
        given, made = list(tensors_in((args, dict(kwargs)))), list(tensors_in(result))
        if _only_looks(func, given, made):
            return result
        activations = self.weights.read(given, made)
        flops = product_flops(func, args, kwargs, result)
        if flops:
            first = argument(func, factors_of(func, args, kwargs)[0], args, kwargs)
            self.flops[_dtype(first)] += flops
        count = OperatorCount(1, flops, sum(map(_bytes, (*activations, *made))))
        kind = func._schema.name
        self.operators[kind] = self.operators.get(kind, OperatorCount()) + count
        return result


class _Weights:
    """Tells weights and constants from activations: nothing in the graph made them."""

    def __init__(self, inputs: Iterable[Tensor]) -> None:
        # Addresses alone: memory that is freed goes to other activations, never to weights, which were there before.
        self._made = {_storage(tensor).data_ptr() for tensor in inputs}
        self._read: dict[tuple[int, int, int], Tensor] = {}

    def read(self, given: Iterable[Tensor], made: Iterable[Tensor]) -> list[Tensor]:
        """Note what an operator reads and makes; gives those of its arguments that are activations."""
        activations = []
        for tensor in given:
            place = _storage(tensor).data_ptr()
            if place in self._made:
                activations.append(tensor)
            else:
                self._read[place, int(tensor.storage_offset()), tensor.numel()] = tensor
        self._made.update(_storage(tensor).data_ptr() for tensor in made)
        return activations

    def by_dtype(self) -> dict[str, int]:
        """Dtype → bytes read at least once. Parts of a tensor count apart, and never more than the whole."""
        parts: Counter[int] = Counter()
        tensors = {place: tensor for (place, _, _), tensor in self._read.items()}
        for (place, _, _), tensor in self._read.items():
            parts[place] += _bytes(tensor)
        total: Counter[str] = Counter()
        for place, tensor in tensors.items():
            total[_dtype(tensor)] += min(parts[place], _storage(tensor).nbytes())
        return dict(total)


def _only_looks(func: Any, given: Iterable[Tensor], made: Iterable[Tensor]) -> bool:
    """Whether an operator only looks at its arguments' memory differently."""
    places = {_storage(tensor).data_ptr() for tensor in given}
    return not written_arguments(func) and all(_storage(tensor).data_ptr() in places for tensor in made)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).rsplit(".", 1)[-1]


def _storage(tensor: Tensor) -> Any:
    # torch 1.13 has no untyped_storage, later releases deprecate the other.
    return tensor.untyped_storage() if hasattr(tensor, "untyped_storage") else tensor.storage()
