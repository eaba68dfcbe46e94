"""Verification: does a rewrite, or a compiled model, give what the original gives, on several inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.errors import ParityError
from neuronkit.parity import ParityReport, assert_parity
from neuronkit.static.model import StaticModel
from neuronkit.static.trees import leaves

# One input can agree by chance: a quantised model may be right on the first and wrong on the second.
SEEDS = range(3)
# A rewrite differs from its original by rounding alone. Relative tolerance, and absolute tolerance as a share of the
# typical size of the results where those are large: the narrower the type, the more a sum in another order differs.
_TOLERANCES = {torch.float16: 2e-2, torch.bfloat16: 1e-1}
RTOL = ATOL = 1e-4
# What stands for minus infinity in scores says nothing of their size.
_LARGEST = 1e6


def run_eagerly(static: StaticModel, inputs: Sequence[Tensor]) -> Any:
    """Run a static model without gradients, on the device that its weights are on."""
    with torch.no_grad():
        return static(*_moved(static, inputs))


class Verification:
    """Compares what is made of a static model with its original.

    Args:
        static: The static model; its example inputs for several seeds are compared, each different one once.
    """

    def __init__(self, static: StaticModel) -> None:
        self._static = static
        self._inputs = _different([static.example_inputs(seed) for seed in SEEDS])
        self._expected: dict[int, Any] = {}

    def __call__(self, function: Callable[..., Any]) -> ParityReport:
        """Compare a function with the original.

        Args:
            function: Takes inputs as the static model's `specs` say.

        Raises:
            ParityError: If they disagree. Names quantised modules of the original, which are the usual cause.
        """
        static = self._static
        tolerance = _TOLERANCES.get(_narrowest(static), ATOL)
        atol = tolerance * max(1.0, self._typical_size()) if tolerance > ATOL else ATOL
        try:
            return assert_parity(
                lambda *x: static.meaningful(function(*x), x),
                self._original,
                self._inputs,
                rtol=tolerance,
                atol=atol,
            )
        except ParityError as error:
            quantised = quantised_modules(static.source)
            if not quantised:
                raise
            named = ", ".join(quantised[:5]) + (f" and {len(quantised) - 5} more" if len(quantised) > 5 else "")
            raise ParityError(
                f"{error}\nThe model has quantised modules ({named}). Their results depend on the whole batch and "
                "change by whole steps, so that no rewrite agrees with them: compile the model as it was before it was "
                "quantised, and let the target choose its precision (CompileOptions(auto_cast=...))",
                error.report,
            ) from error

    def _original(self, *inputs: Tensor) -> Any:
        """What the original gives; computed once for each input."""
        index = next(i for i, known in enumerate(self._inputs) if all(a is b for a, b in zip(known, inputs)))
        if index not in self._expected:
            self._expected[index] = self._static.meaningful(
                self._static.reference(*_moved(self._static, inputs)), inputs
            )
        return self._expected[index]

    def _typical_size(self) -> float:
        """A size that a hundredth of the results exceed."""
        sizes = [abs(t.detach().float().flatten()) for t in leaves(self._original(*self._inputs[0]))]
        joined = torch.cat([size[size < _LARGEST] for size in sizes])
        return float(joined.kthvalue(max(1, int(0.99 * len(joined)))).values) if len(joined) else 0.0


def _moved(static: StaticModel, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    weight = next(static.source.parameters(), None)
    return tuple(inputs) if weight is None else tuple(x.to(weight.device) for x in inputs)


def quantised_modules(model: nn.Module) -> list[str]:
    """Names of a model's quantised modules, with their classes."""
    found: list[str] = []
    for name, module in model.named_modules():
        tensors = [*module._parameters.values(), *module._buffers.values()]
        quantised = ".quantized" in type(module).__module__ or any(t is not None and t.is_quantized for t in tensors)
        # Of a quantised module, its own parts are not named again.
        if quantised and not any(name.startswith(f"{known.split(' ')[0]}.") for known in found):
            found.append(f"{name or 'the model'} ({type(module).__name__})")
    return found


def _different(cases: Sequence[tuple[Tensor, ...]]) -> list[tuple[Tensor, ...]]:
    """The cases without repetitions: inputs that the caller gave are the same for every seed."""
    kept: list[tuple[Tensor, ...]] = []
    for case in cases:
        if not any(all(torch.equal(a, b) for a, b in zip(case, known)) for known in kept):
            kept.append(case)
    return kept


def _narrowest(static: StaticModel) -> torch.dtype:
    """The least precise of the float types that a model takes and computes in."""
    dtypes = {spec.torch_dtype for spec in static.specs} | {p.dtype for p in static.source.parameters()}
    return min((d for d in dtypes if d.is_floating_point), key=_bits, default=torch.float32)


def _bits(dtype: torch.dtype) -> float:
    return -torch.finfo(dtype).eps
