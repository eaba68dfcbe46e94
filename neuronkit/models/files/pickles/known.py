"""The classes and functions whose results are data: containers, numbers, and the ways torch and NumPy store arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from neuronkit.models.files.pickles.numpy_values import NumpyArray, NumpyType, numpy_frombuffer, numpy_scalar
from neuronkit.models.files.pickles.standins import Name, StandIn, as_key
from neuronkit.models.files.source import Budget, Damaged
from neuronkit.models.files.stored import DTYPES, STORAGE_DTYPES, Block, Storage, StoredTensor

_STORAGE_MODULES = ("torch", "torch.cuda", "torch.storage")


def storage_dtype(kind: Any) -> torch.dtype | None:
    """The dtype of a class of storages by its name; None for others, quantised ones among them."""
    known = isinstance(kind, Name) and kind.module in _STORAGE_MODULES
    return STORAGE_DTYPES.get(kind.name) if known else None


def _tensor(budget: Budget, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Any:
    """``_rebuild_tensor`` and ``_rebuild_tensor_v2``: the dtype is the storage's."""
    dtype = storage.dtype if isinstance(storage, Storage) else None
    return _view(storage, dtype, offset, size, stride, rest[2] if len(rest) > 2 else None)


def _tensor_v3(budget: Budget, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Any:
    """``_rebuild_tensor_v3``: the dtype stands behind the two arguments of training."""
    dtype, bits = rest[2], rest[3] if len(rest) > 3 else None
    return _view(storage, _torch_dtype(dtype), offset, size, stride, bits)


def _torch_dtype(name: Any) -> torch.dtype | None:
    return DTYPES.get(name.name) if isinstance(name, Name) and name.module == "torch" else None


def _view(storage: Any, dtype: torch.dtype | None, offset: Any, size: Any, stride: Any, bits: Any) -> Any:
    if not isinstance(storage, Storage) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise Damaged("it holds a tensor without storage, size or stride")
    if dtype is None:
        return StandIn(f"torch.Tensor on {storage.kind}")
    marks = bits if isinstance(bits, dict) else {}
    return StoredTensor(storage, dtype, offset, size, stride, marks.get("conj") is True, marks.get("neg") is True)


def _first(budget: Budget, value: Any, *rest: Any) -> Any:
    """Parameters are their data."""
    return value


def _from_type(budget: Budget, function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """A tensor of a subclass, or with attributes: the plain tensor."""
    builder = BUILDERS.get((function.module, function.name)) if isinstance(function, Name) else None
    made = builder(budget, *arguments) if builder in (_tensor, _tensor_v3) and isinstance(arguments, tuple) else None
    return made if isinstance(made, StoredTensor) else StandIn(kind.full if isinstance(kind, Name) else "torch.Tensor")


def _from_numpy(budget: Budget, data: Any, dtype: Any, device: Any, grad: Any) -> Any:
    """Tensors of XLA devices are stored as NumPy arrays."""
    known = _torch_dtype(dtype)
    if not isinstance(data, NumpyArray) or data.values is None or known is None:
        return StandIn("torch.Tensor of an XLA device")
    budget.spend(2 * data.values.nbytes)
    values = torch.from_numpy(np.ascontiguousarray(data.values.astype(data.values.dtype.newbyteorder("=")))).to(known)
    flat = values.reshape(-1).view(torch.uint8)
    storage = Storage(Block(flat.numel(), lambda: flat), 0, flat.numel(), known, str(known))
    return StoredTensor.contiguous(storage, known, values.shape)


def _dictionary(budget: Budget, items: Any = (), *rest: Any) -> dict[Any, Any]:
    """Ordered, default and counting dictionaries; what is not an item (a default, a factory) is left out."""
    if isinstance(items, dict):
        budget.spend(100 * len(items))
        return dict(items)
    pairs = items if isinstance(items, (list, tuple)) else ()
    budget.spend(200 * len(pairs))
    return {as_key(key): value for key, value in pairs}


def _sequence(make: Callable[[Any], Any]) -> Callable[..., Any]:
    def build(budget: Budget, items: Any = (), *rest: Any) -> Any:
        if not isinstance(items, (list, tuple, set, frozenset, bytes)):
            raise Damaged("its pickle makes a container of something else")
        budget.spend(16 * len(items))
        return make(items)

    return build


def _set(items: Any) -> set[Any]:
    return set(map(as_key, items))


def _encode(budget: Budget, text: Any, encoding: Any = "latin1") -> bytes:
    """How protocol 2 writes bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Damaged("its pickle encodes something that is no text")
    budget.spend(len(text))
    return text.encode("latin1")


def _bytes(budget: Budget, data: Any = b"", encoding: Any = "latin1") -> bytes:
    return _encode(budget, data, encoding) if isinstance(data, str) else _sequence(bytes)(budget, data)


def _complex(budget: Budget, real: Any, imaginary: Any) -> complex:
    return complex(float(real), float(imaginary))


def _device(budget: Budget, kind: Any, index: Any = None) -> str:
    return f"{kind:.20}" if isinstance(kind, str) else "device"


def _copyreg(budget: Budget, kind: Any, base: Any, state: Any) -> StandIn:
    made = StandIn(kind.full if isinstance(kind, Name) else "object")
    if isinstance(state, dict):
        made.items = state
    return made


Builder = Callable[..., Any]


def _in_modules(modules: tuple[str, ...], builders: dict[str, Builder]) -> dict[tuple[str, str], Builder]:
    return {(module, name): builder for module in modules for name, builder in builders.items()}


BUILDERS: dict[tuple[str, str], Builder] = {
    **_in_modules(
        ("torch._utils", "torch._tensor"),
        {
            "_rebuild_tensor": _tensor,
            "_rebuild_tensor_v2": _tensor,
            "_rebuild_tensor_v3": _tensor_v3,
            "_rebuild_parameter": _first,
            "_rebuild_parameter_with_state": _first,
            "_rebuild_from_type_v2": _from_type,
            "_rebuild_device_tensor_from_numpy": _from_numpy,
            "_rebuild_xla_tensor": _from_numpy,
            "_rebuild_device_tensor_from_cpu_tensor": _first,
        },
    ),
    **_in_modules(("torch",), {"Size": _sequence(tuple), "device": _device}),
    **_in_modules(
        ("collections",),
        {
            "OrderedDict": _dictionary,
            "defaultdict": lambda budget, *factory: {},
            "Counter": _dictionary,
            "deque": _sequence(list),
        },
    ),
    **_in_modules(
        ("builtins", "__builtin__"),
        {
            "set": _sequence(_set),
            "frozenset": _sequence(_set),
            "list": _sequence(list),
            "tuple": _sequence(tuple),
            "dict": _dictionary,
            "bytes": _bytes,
            "bytearray": _bytes,
            "complex": _complex,
        },
    ),
    **_in_modules(("_codecs",), {"encode": _encode}),
    **_in_modules(("copyreg", "copy_reg"), {"_reconstructor": _copyreg}),
    **_in_modules(("numpy",), {"dtype": lambda budget, code, *rest: NumpyType(code)}),
    **_in_modules(
        ("numpy.core.multiarray", "numpy._core.multiarray"),
        {"_reconstruct": lambda budget, *rest: NumpyArray(), "scalar": numpy_scalar},
    ),
    **_in_modules(("numpy.core.numeric", "numpy._core.numeric"), {"_frombuffer": numpy_frombuffer}),
}
