"""What `FixedShape` refuses: when it is made, and when it is called."""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import checks, tensors
from neuronkit.checks import shown
from neuronkit.errors import SpecError
from neuronkit.specs import TensorSpec
from neuronkit.static.shapes.canvas import first_padded


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
    several = (
        (given,) if isinstance(given, TensorSpec) else tuple(checks.items("specs", given, "specs", error=SpecError))
    )
    if not several or not all(isinstance(spec, TensorSpec) for spec in several):
        raise SpecError(
            f"got specs={shown(given)}; expected a TensorSpec for each input; give [TensorSpec('images', shape)]"
        )
    return several


def pad_values(pad_value: float | Mapping[str, float], specs: Sequence[TensorSpec]) -> dict[str, float]:
    """What the canvas of each input holds outside it."""
    names = [spec.name for spec in specs]
    given = pad_value if isinstance(pad_value, Mapping) else dict.fromkeys(names, pad_value)
    if not given.keys() <= set(names) or not all(isinstance(value, Real) for value in given.values()):
        raise SpecError(
            f"got pad_value={shown(pad_value)}; expected a number, or a number for some of {', '.join(names)}; "
            "give 0.0 to pad with zeros"
        )
    return {spec.name: _pad_value(spec, given.get(spec.name, 0.0)) for spec in specs}


def _pad_value(spec: TensorSpec, value: Any) -> float:
    """A value that a canvas of the spec's dtype can hold; infinities and NaN are for float types."""
    dtype = spec.torch_dtype
    if dtype.is_floating_point:
        low, high = torch.finfo(dtype).min, torch.finfo(dtype).max
    else:
        low, high = (0, 1) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    try:
        number = float(value) if dtype.is_floating_point else int(value)
    except (OverflowError, ValueError):
        number = None
    if number is None or (math.isfinite(number) and not low <= number <= high):
        raise SpecError(f"got pad_value={shown(value)} for {spec}; expected a number that {spec.dtype} holds; give one")
    return number


def refuse_batch_statistics(fn: Any) -> None:
    """Refuse a module whose layers mix the rows of a batch. Other callables are tested when rows are filled up."""
    if not isinstance(fn, nn.Module) or isinstance(fn, torch.jit.ScriptModule):
        return
    for name, layer in fn.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and (layer.training or layer.running_mean is None):
            raise SpecError(
                f"layer {name!r} normalises with the statistics of the whole batch, so that rows influence one "
                "another; call eval() first, or give it running statistics"
            )


def check_fits(spec: TensorSpec, tensor: Any) -> Tensor:
    """Return the input as a plain tensor; refuse what is of another dtype, or larger than the canvas."""
    first = first_padded(len(spec.shape))
    sizes: tuple[int | None, ...] = (None, *spec.shape[1:first], *[None] * (len(spec.shape) - first))
    tensor = tensors.tensor(spec.name, tensor)
    given = f"{spec.name}: got {tuple(tensor.shape)} {tensors.dtype_name(tensor.dtype)}"
    mend = tensors.remedy(spec.name, tuple(tensor.shape), tensors.dtype_name(tensor.dtype), sizes, spec.dtype)
    if mend:
        whole = "; channels are never padded" if first == 2 else ""
        raise SpecError(
            f"{given}; expected {spec.dtype} of {len(spec.shape)} dimensions, at most {spec.shape}, with any number of "
            f"rows{whole}; {mend}"
        )
    if any(size > most for size, most in zip(tensor.shape[first:], spec.shape[first:])):
        raise SpecError(
            f"{given}; the graph takes at most {spec.shape} (any number of rows). Scale the input down, compile a "
            "larger shape and join both with neuronkit.Buckets, or run it in tiles with neuronkit.Tiled"
        )
    if 0 in tensor.shape[1:]:
        raise SpecError(f"{given}; expected at least one entry in every dimension but the rows; leave empty inputs out")
    return tensor


def check_valid_size(name: str, valid_size: Any, largest: tuple[int, ...], rows: int | None = None) -> Tensor:
    """Return valid sizes as a plain tensor; refuse those beyond the input, where there is only padding.

    They are (N, 2), (height, width), or, where `largest` is one number, (N,), the widths.
    """
    checked = tensors.tensor(name, valid_size)
    shape, dtype = tuple(checked.shape), tensors.dtype_name(checked.dtype)
    wanted, what = ((rows, 2), "(height, width)") if len(largest) == 2 else ((rows,), "the width")
    mend = tensors.remedy(name, shape, dtype, wanted, ("int32", "int64", "int16", "int8", "uint8"))
    if mend:
        expected = str(wanted).replace("None", "rows")
        raise SpecError(f"{name}: got {shape} {dtype}; expected {expected} int32, {what} of all rows; {mend}")
    sizes = checked.reshape(-1, len(largest)).tolist()
    wrong = [size for size in sizes if not _lies_within(size, largest)]
    if wrong:
        swapped = len(largest) == 2 and all(_lies_within(size[::-1], largest) for size in sizes)
        mend = f"height comes first: {name}.flip(1)" if swapped else "give the part of each image that is no padding"
        raise SpecError(
            f"{name}: got {shown(wrong)}; expected {what} of each row's valid area, from 1 to "
            f"{tuple(largest)}, the size of the input; {mend}"
        )
    return checked


def _lies_within(size: Sequence[int], largest: Sequence[int]) -> bool:
    return all(1 <= n <= most for n, most in zip(size, largest))


def known_on_host(tensor: Tensor) -> bool:
    """Whether the values of a tensor can be read now: neither inside a graph that is being made nor from a device."""
    in_graph = tensors.being_traced() or torch.jit.is_scripting()  # type: ignore[attr-defined]
    # Subclasses such as FakeTensor hold no values.
    return not in_graph and type(tensor) is Tensor and tensor.device.type == "cpu"


class _Sink(io.RawIOBase):
    """A file that keeps nothing: pickling into it shows whether an object pickles."""

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        return len(content)


def check_pickles(owner: str, **parts: Any) -> None:
    """Refuse to pickle what holds something that does not pickle, before a half is written.

    Raises:
        SpecError: Which part it is.
    """
    for name, part in parts.items():
        try:
            pickle.Pickler(_Sink()).dump(part)
        except Exception as error:  # Whatever the part's own reduction raises.
            raise SpecError(
                f"got a {owner} to pickle with {name}={shown(part)}; expected something that pickles "
                f"({shown(error)}); give a function of a module, or save the compiled model, load it in the other "
                f"process with neuronkit.load, and make the {owner} there"
            ) from error


def listed(specs: Sequence[TensorSpec]) -> str:
    """Specs as they stand in messages."""
    return "(" + ", ".join(str(spec) for spec in specs) + ")"
