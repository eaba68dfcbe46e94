"""What `FixedShape` refuses: when it is made, and when it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.errors import SpecError
from neuronkit.specs import TensorSpec
from neuronkit.static.canvas import first_padded


def common_batch_size(specs: tuple[TensorSpec, ...]) -> int:
    """The first dimension, which all inputs share."""
    batch_sizes = {spec.shape[0] if spec.shape else 0 for spec in specs}
    if len(batch_sizes) != 1 or 0 in batch_sizes:
        raise SpecError(f"specs={listed(specs)}: expected one number of rows, the first dimension, common to all")
    return batch_sizes.pop()


def as_specs(fn: Any, specs: Any) -> tuple[TensorSpec, ...]:
    """The specs of a callable's inputs: as given, or its own."""
    given = getattr(fn, "specs", None) if specs is None else specs
    if given is None:
        raise SpecError(f"{type(fn).__name__} has no specs; give those of its inputs, [TensorSpec('images', shape)]")
    several = (given,) if isinstance(given, TensorSpec) else tuple(given)
    if not all(isinstance(spec, TensorSpec) for spec in several):
        raise SpecError(f"specs={given!r}: expected a TensorSpec for each input")
    return several


def pad_values(pad_value: float | Mapping[str, float], specs: Sequence[TensorSpec]) -> dict[str, float]:
    """What the canvas of each input holds outside it."""
    names = [spec.name for spec in specs]
    given = pad_value if isinstance(pad_value, Mapping) else dict.fromkeys(names, pad_value)
    if not given.keys() <= set(names) or not all(isinstance(value, (int, float)) for value in given.values()):
        raise SpecError(f"pad_value={pad_value!r}: expected a number, or a number for some of {', '.join(names)}")
    return {name: given.get(name, 0.0) for name in names}


def refuse_batch_statistics(fn: Any) -> None:
    """Refuse a module that is sure to mix rows; what else may is found out when rows are first filled up."""
    if not isinstance(fn, nn.Module) or isinstance(fn, torch.jit.ScriptModule):
        return
    for name, layer in fn.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and (layer.training or layer.running_mean is None):
            raise SpecError(
                f"layer {name!r} normalises with the statistics of the whole batch, so that rows influence one "
                "another; call eval() first, or give it running statistics"
            )


def check_fits(spec: TensorSpec, tensor: Tensor) -> None:
    """Refuse what is of another dtype, or larger than the canvas."""
    if not isinstance(tensor, Tensor):
        raise SpecError(
            f"{spec.name}: got {type(tensor).__name__}; expected a torch tensor (torch.from_numpy makes one)"
        )
    given = f"{spec.name}: got {tuple(tensor.shape)} {str(tensor.dtype).rsplit('.', 1)[-1]}"
    if tensor.dtype != spec.torch_dtype or tensor.dim() != len(spec.shape):
        raise SpecError(f"{given}; expected {spec.dtype} of {len(spec.shape)} dimensions, at most {spec.shape}")
    first = first_padded(tensor.dim())
    if tuple(tensor.shape[1:first]) != spec.shape[1:first]:
        raise SpecError(f"{given}; channels are never padded, expected {spec.shape[1]} of them")
    if any(size > most for size, most in zip(tensor.shape[first:], spec.shape[first:])):
        raise SpecError(
            f"{given}; the graph takes at most {spec.shape} (any number of rows). Scale the input down, compile a "
            "larger shape and join both with neuronkit.Buckets, or run it in tiles with neuronkit.Tiled"
        )
    if 0 in tensor.shape[1:]:
        raise SpecError(f"{given}; an input has at least one entry in every dimension but the rows")


def check_valid_size(name: str, valid_size: Tensor, largest: tuple[int, ...]) -> None:
    """Refuse sizes beyond the input itself, where there is only what the canvas is padded with."""
    if not isinstance(valid_size, Tensor):
        raise SpecError(f"{name}: got {type(valid_size).__name__}; expected a tensor (rows, 2) int32: height, width")
    if valid_size.is_floating_point() or tuple(valid_size.shape[1:]) != (2,):
        got = f"{tuple(valid_size.shape)} {valid_size.dtype}"
        raise SpecError(f"{name}: got {got}; expected (rows, 2) int32: height, width")
    sizes = valid_size.tolist()
    wrong = [size for size in sizes if not all(1 <= n <= most for n, most in zip(size, largest))]
    if wrong:
        raise SpecError(
            f"{name}: got {wrong[:8]}; expected (height, width) of each row's valid area, from 1 to {tuple(largest)}, "
            "the size of the input"
        )


def known_on_host(tensor: Tensor) -> bool:
    """Whether the values of a tensor can be read now: neither inside a graph that is being made nor from a device."""
    compiler = getattr(torch, "compiler", None)
    in_graph = torch.jit.is_tracing() or torch.jit.is_scripting()  # type: ignore[attr-defined]
    in_graph = in_graph or any(getattr(compiler, name, bool)() for name in ("is_compiling", "is_exporting"))
    # A subclass stands for values that are not there, as FakeTensor does.
    return not in_graph and type(tensor) is Tensor and tensor.device.type == "cpu"


def listed(specs: Sequence[TensorSpec]) -> str:
    """Specs as they stand in messages."""
    return "(" + ", ".join(str(spec) for spec in specs) + ")"
