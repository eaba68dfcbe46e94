"""Checks of tensors and modules given by callers; torch is imported when the first of them runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from neuronkit.errors import NeuronKitError, SpecError
from neuronkit.shown import shown

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class Spec(Protocol):
    """What a tensor is compared with: a `neuronkit.TensorSpec`."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> str: ...

    @property
    def torch_dtype(self) -> torch.dtype: ...


# 64 GB of float32: more than is computed with at once. Views may claim to have more.
_MOST_ENTRIES = 1 << 34


def tensor(
    name: str,
    value: Any,
    *,
    shape: Sequence[int | None] | None = None,
    dtype: str | Sequence[str] | None = None,
    data: bool = True,
    error: type[NeuronKitError] = SpecError,
) -> Tensor:
    """Return `value` as a plain dense tensor with data.

    Taken, too: parameters, tensors that require gradients (returned as they are, so that they keep their graph),
    conjugate and negative views (resolved), and subclasses that only override functions, such as torchvision's images
    (returned as plain tensors). While torch traces, compiles or exports, nothing is checked: a graph keeps no checks.

    Args:
        name: What the message calls it.
        value: What the caller gave.
        shape: Its sizes, None where any size does, as the number of rows often is; None: any shape.
        dtype: Name of its dtype, or names, the expected one first, of those that will do; None: any.
        data: False takes tensors without data, too, such as meta and fake ones, as they are: a module's own `forward`
            is called with such.
        error: Class of the error.

    Returns:
        A tensor of class `torch.Tensor` or `torch.nn.Parameter`, strided, sharing memory with `value`.

    Raises:
        NeuronKitError: Of class `error`, with the conversion that mends the input: if `value` is not a tensor, sparse,
            quantised, nested, without data (meta), or of another shape or dtype.

    Examples:
        >>> tensor("images", torch.zeros(3, 8, 8), shape=(None, 3, 8, 8), dtype="float32")
        SpecError: images: got (3, 8, 8) float32; expected (any, 3, 8, 8) float32; add the batch dimension:
        images.unsqueeze(0)
    """
    import torch

    if being_traced() or issubclass(type(value), torch.fx.Proxy):
        return value  # type: ignore[no-any-return]
    expected = described(shape, dtype)
    if not issubclass(type(value), torch.Tensor):
        raise error(f"got {name}={shown(value)}; expected a tensor{expected}; {_conversion(name, value)}")
    fault, way = _unusual(name, value, data)
    if fault:
        raise error(f"{name}: got a {fault} tensor; expected a dense one{expected}; {way}")
    if value.numel() > _MOST_ENTRIES:
        raise error(f"{name}: got {tuple(value.shape)}; expected at most {_MOST_ENTRIES} entries; give it in parts")
    given = (tuple(value.shape), dtype_name(value.dtype))
    mend = remedy(name, *given, shape, dtype)
    if mend:
        raise error(f"{name}: got {given[0]} {given[1]}; expected{expected}; {mend}")
    if data and type(value) not in (torch.Tensor, torch.nn.Parameter):
        value = value.as_subclass(torch.Tensor)
    return value.resolve_conj().resolve_neg() if value.is_conj() or value.is_neg() else value


def inputs(
    given: Sequence[Any],
    specs: Sequence[Spec],
    *,
    error: type[NeuronKitError] = SpecError,
) -> tuple[Tensor, ...]:
    """Return the inputs of a call as plain tensors that fit `specs` but for the number of rows.

    Inputs whose specs share their number of rows must share it, too. One integer type stands for another.

    Args:
        given: What the caller gave.
        specs: What is expected, in order.
        error: Class of the error.

    Raises:
        NeuronKitError: Of class `error`, if there are too few or too many, they are in another order, or one does not
            fit.
    """
    if being_traced():
        return tuple(given)
    wanted = f"tensors ({', '.join(map(str, specs))}), with any number of rows"
    kinds = ", ".join(type(value).__name__ for value in given) or "nothing"
    if len(given) != len(specs):
        raise error(f"got {kinds}; expected {wanted}; give one tensor for each")
    try:
        found = tuple(
            tensor(spec.name, value, shape=(None, *spec.shape[1:]) if spec.shape else (), dtype=dtypes, error=error)
            for value, spec, dtypes in zip(given, specs, [_dtypes_like(spec.dtype) for spec in specs])
        )
    except error as wrong:
        if exchanged(given, specs):
            order = ", ".join(spec.name for spec in specs)
            raise error(f"got the inputs in another order; expected {wanted}; give ({order})") from wrong
        raise
    rows = [len(value) for value, spec in zip(found, specs) if spec.shape]
    if len(set(rows)) > 1 and len({spec.shape[0] for spec in specs if spec.shape}) == 1:
        counts = ", ".join(f"{spec.name} of {len(value)} rows" for value, spec in zip(found, specs))
        raise error(f"got {counts}; expected the same number in each; give one row of each for every item")
    return found


def exchanged(given: Sequence[Any], specs: Sequence[Spec]) -> bool:
    """Whether the inputs of a call fit `specs` from last to first, and not from first to last."""
    return not _fit(given, specs) and _fit(given[::-1], specs)


def model_input(name: str, value: Any, model: nn.Module, shape: Sequence[int | None], *, smallest: int = 1) -> Tensor:
    """Return the input of a model's `forward` when it has the model's own float type, and this shape.

    Args:
        name: What the message calls it.
        value: What the caller gave.
        model: The model, whose first weight says the type.
        shape: Its sizes, None where any will do.
        smallest: The least that a size may be, but for the number of rows.

    Raises:
        SpecError: If it does not fit; the message says how it is made to.
    """
    import torch

    if being_traced() or issubclass(type(value), torch.fx.Proxy):
        return value  # type: ignore[no-any-return]
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    dtype = None if weight is None or _casts_by_itself() else dtype_name(weight.dtype)
    # A model without data itself is called with tensors without data, and a fake tensor looks like one with data.
    needs_data = weight is not None and not weight.is_meta and getattr(value, "is_meta", False)
    checked = tensor(name, value, shape=shape, dtype=dtype, data=needs_data)
    if any(wanted is None and size < smallest for size, wanted in zip(checked.shape[1:], shape[1:])):
        raise SpecError(
            f"{name}: got {tuple(checked.shape)}; expected at least {smallest} pixels in each direction; "
            "scale or pad the image, as a processor's preprocess does"
        )
    return checked


def _casts_by_itself() -> bool:
    """Whether torch.autocast is at work, which takes inputs of any float type."""
    import torch

    try:
        return torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
    except TypeError:  # Before torch 2.4.
        return torch.is_autocast_enabled() or torch.is_autocast_cpu_enabled()


def module(name: str, value: Any, *, error: type[NeuronKitError] = SpecError) -> nn.Module:
    """Return `value` when it is an `nn.Module` whose parameters hold data.

    Raises:
        NeuronKitError: Of class `error`, with what makes a module of what was given.
    """
    import torch

    if issubclass(type(value), torch.nn.Module):
        return value  # type: ignore[no-any-return]
    if issubclass(type(value), type):
        way = f"make an instance: {value.__name__:.80}(...)"
    elif issubclass(type(value), (str, bytes)) or hasattr(type(value), "__fspath__"):
        way = "build the model and fill it: neuronkit.models.load_checkpoint(model, path)"
    elif issubclass(type(value), dict):
        way = (
            "build the model and fill it: model.load_state_dict(...), or neuronkit.models.load_checkpoint(model, path)"
        )
    elif issubclass(type(value), torch.Tensor):
        way = "the model comes first, its inputs follow"
    else:
        way = "give the model itself"
    raise error(f"got {name}={shown(value)}; expected an nn.Module; {way}")


def device(name: str, value: Any, *, error: type[NeuronKitError] = SpecError) -> torch.device:
    """Return `value` as a `torch.device`."""
    import torch

    try:
        return torch.device(value)
    except (RuntimeError, TypeError, ValueError) as failure:
        raise error(f"got {name}={shown(value)}; expected a device of torch; give one such as 'cpu'") from failure


def being_traced() -> bool:
    """Whether torch traces, compiles or exports what runs now."""
    import torch

    compiler = getattr(torch, "compiler", None)
    compiling = any(getattr(compiler, name, bool)() for name in ("is_compiling", "is_exporting"))
    return bool(compiling or torch.jit.is_tracing())  # type: ignore[attr-defined]


def remedy(
    name: str,
    given_shape: tuple[int, ...],
    given_dtype: str,
    shape: Sequence[int | None] | None,
    dtype: str | Sequence[str] | None,
) -> str | None:
    """Say how a tensor of a given shape and dtype becomes one of the expected shape and dtype; None if it is one."""
    shape_ways = [] if shape is None else _shape_ways(name, given_shape, tuple(shape))
    dtype_ways = [] if dtype is None else _dtype_ways(name, given_dtype, len(given_shape), _names(dtype))
    return ", and ".join(shape_ways + dtype_ways) or None


def described(shape: Sequence[int | None] | None, dtype: str | Sequence[str] | None) -> str:
    """An expected shape and dtype as messages write them, with a space before it: `` (any, 3, 32, 128) float32``."""
    sizes = "" if shape is None else " (" + ", ".join("any" if n is None else str(n) for n in shape)
    closing = "" if shape is None else ",)" if len(shape) == 1 else ")"
    return sizes + closing + ("" if dtype is None else f" {_names(dtype)[0]}")


def dtype_name(dtype: Any) -> str:
    """The name of a `torch.dtype`: "float32"."""
    return str(dtype).rsplit(".", 1)[-1]


def _fit(given: Sequence[Any], specs: Sequence[Spec]) -> bool:
    import torch

    return all(
        issubclass(type(value), torch.Tensor)
        and _fits(tuple(value.shape), (None, *spec.shape[1:]))
        and value.is_floating_point() == spec.torch_dtype.is_floating_point
        for value, spec in zip(given, specs)
    )


def _dtypes_like(dtype: str) -> tuple[str, ...]:
    integers = ("int32", "int64", "int16", "int8")
    return (dtype, *integers) if dtype in integers else (dtype,)


def _names(dtype: str | Sequence[str]) -> tuple[str, ...]:
    return (dtype,) if isinstance(dtype, str) else tuple(dtype)


def _conversion(name: str, value: Any) -> str:
    """What makes a tensor of something else."""
    import torch

    if hasattr(type(value), "__array_interface__") and hasattr(type(value), "dtype"):
        return f"convert it: torch.from_numpy({name})"
    if issubclass(type(value), (str, bytes)) or hasattr(type(value), "__fspath__"):
        return "read it with neuronkit.ocr.load_image and prepare it with a processor's preprocess"
    if issubclass(type(value), (list, tuple)):
        several = bool(value) and all(issubclass(type(item), torch.Tensor) for item in value)
        return f"join them: torch.stack(tuple({name}))" if several else f"convert it: torch.tensor({name})"
    if hasattr(type(value), "example") and hasattr(type(value), "torch_dtype"):
        return "give a tensor of that kind, such as its .example()"
    if issubclass(type(value), (int, float)):
        return f"convert it: torch.tensor({name})"
    return "give a torch.Tensor"


def _unusual(name: str, value: Tensor, data: bool) -> tuple[str | None, str]:
    """What keeps a tensor from being read like any other, and the way out."""
    import torch

    if getattr(value, "is_nested", False):
        return "nested", f"pad it: torch.nested.to_padded_tensor({name}, 0.0)"
    if value.is_quantized:
        return "quantised", f"convert it: {name}.dequantize()"
    if value.layout is not torch.strided:
        return "sparse" if "sparse" in str(value.layout) else dtype_name(value.layout), f"convert it: {name}.to_dense()"
    if not data:
        return None, ""
    if value.device.type == "meta":
        return "meta", f"it has no data; make one that has: torch.zeros({tuple(value.shape)})"
    if type(value).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        return type(value).__name__, "it stands for other tensors; give those themselves"
    return None, ""


def _shape_ways(name: str, given: tuple[int, ...], shape: tuple[int | None, ...]) -> list[str]:
    """The calls that turn one shape into the other, or what to do where none does."""
    if _fits(given, shape):
        return []
    if len(shape) == 4:
        for before, order in ((given, (0, 3, 1, 2)), ((1, *given), (2, 0, 1))):
            if len(given) == len(order) and _fits(tuple(before[i] for i in (0, 3, 1, 2)), shape):
                rows = "" if len(given) == 4 else ".unsqueeze(0)"
                return [f"channels come before height and width: {name}.permute{order}{rows}"]
    if _fits((1, *given), shape):
        return [f"add the batch dimension: {name}.unsqueeze(0)"]
    if given[:1] == (1,) and _fits(given[1:], shape):
        return [f"drop the first dimension: {name}.squeeze(0)"]
    if len(given) == 2 and _fits(given[::-1], shape):
        return [f"transpose it: {name}.t()"]
    if len(given) == len(shape) == 4 and _fits(given[2:], shape[2:]) and given[1] == 1 and shape[1] == 3:
        return [f"repeat the grey channel: {name}.expand(-1, 3, -1, -1)"]
    if len(given) == len(shape) == 4 and given[:2] == (given[0], shape[1]):
        return ["resize or pad it: a processor's preprocess does, or wrap the model in neuronkit.FixedShape"]
    return ["give it in that shape"]


def _fits(given: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(given) == len(shape) and all(n in (None, size) for n, size in zip(shape, given))


def _dtype_ways(name: str, given: str, dims: int, wanted: tuple[str, ...]) -> list[str]:
    if given in wanted:
        return []
    convert = f"{name}.to(torch.{wanted[0]})"
    if given == "uint8" and "float" in wanted[0] and dims >= 3:
        return [f"scale bytes as the model's processor does (its preprocess), or {convert} / 255"]
    if given.startswith("complex") and "complex" not in wanted[0]:
        return [f"take its real part: {name}.real"]
    return [f"convert it: {convert}"]


def check_ids(name: str, ids: Tensor, range_: Sequence[int], column: int | None = None) -> None:
    """Refuse numbers that a model would look up outside its table; those of a graph being made are not looked at.

    Raises:
        SpecError: If one lies outside `range_`, (lowest, highest), when it is cut to a whole number; or is NaN.
    """
    import torch

    # Ids on another device are not read back: that waits for it, and XLA compiles all that was called so far.
    if not ids.numel() or being_traced() or ids.device.type != "cpu":
        return
    values = ids if column is None else ids[..., column]
    values = values.double().trunc() if values.is_floating_point() else values.to(torch.int64)
    low, high = values.min().item(), values.max().item()
    # So that NaN is refused too.
    if not (range_[0] <= low and high <= range_[1]):
        where = "" if column is None else f" in column {column} of the last dimension"
        raise SpecError(
            f"{name}: got ids from {low:.16g} to {high:.16g}{where}; expected {range_[0]} to {range_[1]}, the entries "
            "of this model's table; use its own tokenizer or processor"
        )
