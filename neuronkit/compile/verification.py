"""Verification: does a rewrite, or a compiled model, give what the original gives, on several inputs."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from neuronkit.compile.parity import assert_parity
from neuronkit.errors import ParityError
from neuronkit.specs import TensorSpec
from neuronkit.static.model import PlainModel, StaticModel
from neuronkit.static.original import detached_copy, quantised_modules, unwrap
from neuronkit.static.trees import leaves
from neuronkit.targets.progress import ProgressCallback, detail

# One input can agree by chance: a quantised model may be right on the first and wrong on the second.
SEEDS = range(3)
# A rewrite differs from its original by rounding alone; the narrower the type, the more a sum in another order differs.
# Relative tolerance; the absolute one is that, times the typical size of the results where those are large.
_TOLERANCES = {torch.float16: 2e-2, torch.bfloat16: 1e-1}
_NARROW = {"fp16": torch.float16, "bf16": torch.bfloat16}
ATOL = 1e-4
_MIN_SQNR_DB = 10.0
# What stands for minus infinity in scores says nothing of their size.
_LARGEST = 1e6


def run_eagerly(static: StaticModel, inputs: Sequence[Tensor]) -> Any:
    """Run a static model without gradients, on the device that its weights are on."""
    with torch.no_grad():
        return static(*_moved(static, inputs))


class Verification:
    """Compares what is made of a static model with its original.

    A model in float16 or bfloat16 is compared twice: its rewrite on float32 copies of the weights, to the tolerance of
    float32, and everything in its own type, to a tolerance of that type. A decoder may then take another of two nearly
    equal tokens, after which all is different; so the ratio of signal to noise decides where single errors are large.

    A model that can be made smaller (`StaticModel.smaller`), such as a detector on a large canvas, is compared so on
    all inputs, and in its full size on one.

    Args:
        static: The static model; its example inputs for several seeds are compared, each different one once.
        progress: Gets the stage, and the percentage that is done of it.
    """

    def __init__(self, static: StaticModel, progress: ProgressCallback = lambda stage: None) -> None:
        self._static, self._progress = static, progress
        self._stage = "comparing the static model with the original"
        self._smaller = static.smaller()
        seeds = SEEDS if self._smaller is static else SEEDS[:1]
        self._inputs = _different([static.example_inputs(seed) for seed in seeds])
        self._expected: dict[int, Any] = {}
        self._dtype = _narrowest(static)

    def rewrite(self, *, in_full_size: bool) -> dict[str, Any]:
        """Compare the static model with the original.

        Args:
            in_full_size: Whether a model that can be made smaller is compared in its full size too: where the compiled
                one, which is compared so, cannot run.

        Returns:
            The numbers, and under "compared" on what they were found.

        Raises:
            ParityError: If they disagree. Names quantised modules of the original, which are the usual cause.
        """
        if self._smaller is not self._static:
            found = Verification(self._smaller, self._progress).rewrite(in_full_size=True)
            if in_full_size:
                found["compared"] += self._compared(lambda *inputs: run_eagerly(self._static, inputs))["compared"]
            return found
        if self._dtype in _TOLERANCES and not isinstance(self._static, PlainModel):
            twin = in_float32(self._static)
            Verification(twin, self._progress)._compared(lambda *inputs: run_eagerly(twin, inputs))
        return self._compared(lambda *inputs: run_eagerly(self._static, inputs))

    def compiled(self, function: Callable[..., Any], narrow_type: str | None = None) -> dict[str, Any]:
        """Compare a function that takes inputs as the static model's `specs` say with the original.

        Args:
            function: Such as a compiled model.
            narrow_type: What `neuronkit.options.Precision.narrow_type` says, of what the function computes in.

        Returns:
            The numbers, and under "compared" on what they were found.

        Raises:
            ParityError: If they disagree. Names quantised modules of the original, which are the usual cause.
        """
        self._stage = "comparing the compiled model with the original"
        return self._compared(function, narrow_type)

    def _compared(self, function: Callable[..., Any], narrow_type: str | None = None) -> dict[str, Any]:
        self._progress(self._stage)
        static, dtype = self._static, _NARROW.get(narrow_type or "", self._dtype)
        tolerance = _TOLERANCES.get(dtype, ATOL)
        decodes = dtype in _TOLERANCES and static.interface.eos_id is not None
        done = itertools.count(1)

        def told(outputs: Any) -> Any:
            detail(self._progress, f"{self._stage}, {100 * next(done) // (2 * len(self._inputs))} %")
            return outputs

        try:
            report = assert_parity(
                lambda *x: told(static.meaningful(function(*x), x)),
                lambda *x: told(self._original(*x)),
                self._inputs,
                rtol=tolerance,
                atol=tolerance * max(1.0, self._typical_size()) if dtype in _TOLERANCES else ATOL,
                min_sqnr_db=_MIN_SQNR_DB if decodes else None,
            )
            return {**report.to_dict(), "compared": [f"{len(self._inputs)} × {', '.join(map(str, static.specs))}"]}
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
        """The original's outputs, computed once for each input."""
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


def in_float32(static: StaticModel) -> StaticModel:
    """The same rewrite of a float32 copy of the original."""
    twin = copy.copy(static)
    twin.__dict__["original"] = detached_copy(unwrap(static.original)).float()
    floats = (spec.torch_dtype.is_floating_point for spec in static.specs)
    twin.specs = tuple(
        TensorSpec(spec.name, spec.shape, "float32", fill=spec.fill) if is_float else spec
        for spec, is_float in zip(static.specs, floats)
    )
    return twin


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
