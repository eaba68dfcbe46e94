"""emulate_autocast: a model on the CPU with the roundings of Neuron's auto-cast."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from neuronkit import checks, tensors
from neuronkit.analysis.autocast.rounding import ROUNDINGS
from neuronkit.capture.products import (
    argument,
    factors_of,
    is_view,
    tensors_in,
    with_factors,
    written_arguments,
)
from neuronkit.capture.watching import OperatorMode, refuse_fused_script, watched_by
from neuronkit.errors import OptionError, UnknownModelError, UnsupportedOperatorError
from neuronkit.options import AUTO_CASTS, Precision
from neuronkit.shown import shown
from neuronkit.specs import TensorSpec
from neuronkit.static.model import StaticModel, kept_constants
from neuronkit.static.original import eval_mode, failures_named, unwrap


def emulate_autocast(model: nn.Module, *, auto_cast: str = "matmult", auto_cast_type: str = "bf16") -> EmulatedModel:
    """Make a model that computes on the CPU with the roundings of neuronx-cc's ``--auto-cast``.

    - "matmult": every matrix product and convolution takes its two float32 operands, inputs and weights alike, rounded
      to the type, to nearest with ties to even, and accumulates and gives float32. A bias is added in float32, not
      rounded. Attention, recurrent layers and einsum are made of such products.
    - "all": every operator takes all its float32 operands rounded, biases too, computes in float32, and rounds what it
      gives.
    - "none": nothing is rounded.

    What a compiler fuses, reorders or accumulates differently is not emulated: this is the definition of the roundings,
    not a bit-exact model of a chip. On Inf1, whose cores multiply no float32 matrices, "none" there means what
    "matmult" with "bf16" means here.

    Source: neuronx-cc's command line reference of SDK 2.31 (``--auto-cast``, ``--auto-cast-type``), and for Inf1
    neuron-cc's (``--fast-math``).

    Args:
        model: Any module; TorchScript too, unless it holds fused kernels. Of a `StaticModel` its graphs are rounded,
            and what joins them, which runs on the host, is not; constants that a compile folds are folded unrounded.
        auto_cast: "none", "matmult" or "all".
        auto_cast_type: "bf16", "fp16", whose overflow is infinite, or "tf32", float32 with 10 bits of mantissa.

    Returns:
        A module, called like the model. It shares the model's weights as they are at each call, computes in eval mode,
        leaving the model's own mode as it was, and without gradients. It has the `specs` of a static model.

    Raises:
        OptionError: If an option is none of these.
        UnknownModelError: If the model is not a module.
        UnsupportedOperatorError: If it is TorchScript with fused kernels; for other operators, when it is called.

    Examples:
        >>> narrow = neuronkit.emulate_autocast(torch.nn.Linear(8, 8), auto_cast="all")
        >>> narrow(torch.randn(1, 8)).dtype
        torch.float32
    """
    checks.choice("auto_cast", auto_cast, AUTO_CASTS)
    if isinstance(auto_cast_type, str) and auto_cast_type == "fp8_e4m3":
        raise OptionError(
            f"got auto_cast_type={auto_cast_type!r}; expected one of {', '.join(map(repr, ROUNDINGS))}; Neuron's "
            "documentation does not say how fp8_e4m3 rounds and overflows, so that it cannot be emulated"
        )
    checks.choice("auto_cast_type", auto_cast_type, ROUNDINGS)
    if hasattr(model, "manifest"):
        raise UnknownModelError(
            f"got model={type(model).__name__}, which has its target's precision already; expected an nn.Module; "
            "emulate the model that it was compiled from"
        )
    model = tensors.module("model", model, error=UnknownModelError)
    refuse_fused_script(model)
    precision = Precision(auto_cast, None if auto_cast == "none" else auto_cast_type)
    return EmulatedModel(unwrap(model), precision)


class EmulatedModel(nn.Module):
    """A model that rounds as auto-cast does, made by `emulate_autocast`.

    The model is not registered as a submodule: `train()`, `to()` or `state_dict()` leave it alone.

    Attributes:
        model: The caller's model.
        precision: What is rounded, and to which type.
        specs: The inputs of a static model; empty for any other.

    Examples:
        >>> type(neuronkit.emulate_autocast(torch.nn.Linear(8, 8))).__name__
        'EmulatedModel'
    """

    model: nn.Module

    def __init__(self, model: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.__dict__["model"] = model
        self.precision = precision
        self.specs: tuple[TensorSpec, ...] = tuple(getattr(model, "specs", None) or ())

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """Call the model, rounding.

        Raises:
            SpecError: If the inputs of a static model do not fit, or any other model fails on what it is called with.
            UnsupportedOperatorError: If an operator multiplies matrices and it is not known how to round it, or in
                float64 or complex numbers; or if a graph is being traced or exported, which would not hold the
                roundings.
        """
        if torch.jit.is_tracing() or _is_exporting():  # type: ignore[attr-defined]
            raise UnsupportedOperatorError(
                "an emulated model cannot be traced or exported; compile or analyze the model itself"
            )
        if isinstance(self.model, StaticModel):
            return self._run_static(self.model, inputs)
        given = ", ".join(map(shown, (*inputs, *keywords.values())))
        with failures_named(type(self.model).__name__, given), _eval_mode(self.model), self._rounding():
            return self.model(*inputs, **keywords)

    def _run_static(self, model: StaticModel, inputs: tuple[Any, ...]) -> Any:
        inputs = model.check_inputs(inputs)
        with torch.no_grad(), eval_mode(model.source):
            graphs = model.live_graphs(model.source)
            with kept_constants(graphs.values()):
                return model.join({name: self._rounded(graph) for name, graph in graphs.items()})(*inputs)

    def _rounded(self, graph: nn.Module) -> Callable[..., Any]:
        def call(*inputs: Any) -> Any:
            with self._rounding():
                return graph(*inputs)

        return call

    def _rounding(self) -> contextlib.AbstractContextManager[None]:
        if self.precision.narrow_type is None:
            return torch.no_grad()
        rounding = ROUNDINGS[self.precision.narrow_type]
        return watched_by(_RoundAll(rounding) if self.precision.auto_cast == "all" else _RoundProducts(rounding))

    def extra_repr(self) -> str:
        return f"{type(self.model).__name__}, {self.precision}"


class _RoundProducts(OperatorMode):
    """Rounds the operands of every matrix product and convolution."""

    def __init__(self, rounding: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.rounding = rounding

    def run(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        factors = factors_of(func, args, kwargs)
        if factors:
            _refuse_wide(func, [argument(func, name, args, kwargs) for name in factors])
            args, kwargs = with_factors(func, factors, self.round, args, kwargs)
        return func(*args, **kwargs)

    def round(self, value: Any) -> Any:
        """Round a float32 tensor, or those in a list; anything else stays as it is."""
        return tree_map(lambda x: self.rounding(x) if _is_float32(x) else x, value)


class _RoundAll(_RoundProducts):
    """Rounds the operands and results of every operator that does not merely look at memory differently."""

    def run(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        _refuse_wide(func, [argument(func, name, args, kwargs) for name in factors_of(func, args, kwargs)])
        if is_view(func):
            return func(*args, **kwargs)
        written = [argument(func, name, args, kwargs) for name in written_arguments(func)]
        self._round_in_place(written)
        names = {parameter.name for parameter in func._schema.arguments} - {*written_arguments(func)}
        args, kwargs = with_factors(func, tuple(names), self.round, args, kwargs)
        result = func(*args, **kwargs)
        self._round_in_place(written)
        return result if written else self.round(result)

    def _round_in_place(self, value: Any) -> None:
        for tensor in tensors_in(value):
            if _is_float32(tensor):
                tensor.copy_(self.rounding(tensor))


def _is_float32(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.float32


def _refuse_wide(func: Any, factors: Iterable[Any]) -> None:
    for factor in factors:
        if factor.dtype == torch.float64 or factor.is_complex():
            kind = str(factor.dtype).rsplit(".", 1)[-1]
            raise UnsupportedOperatorError(
                f"{func._schema.name} multiplies {kind}, which no Neuron core does; convert the model with .float()"
            )


def _is_exporting() -> bool:
    # What torch.export records lies above the roundings. Before torch 2.7 it cannot be queried.
    asked = getattr(getattr(torch, "compiler", None), "is_exporting", None)
    return asked is not None and bool(asked())


def _eval_mode(model: nn.Module) -> contextlib.AbstractContextManager[None]:
    # Frozen TorchScript has no mode to be in.
    return eval_mode(model) if all(hasattr(m, "training") for m in model.modules()) else contextlib.nullcontext()
