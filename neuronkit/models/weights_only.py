"""weights_only loading for torch releases whose own restricted unpickler cannot read a plain float."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import torch

# What a state dict needs, and nothing that runs code.
_ALLOWED = {
    ("collections", "OrderedDict"),
    ("torch", "Size"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
}


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        is_storage = module == "torch" and name.endswith("Storage")
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if (module, name) in _ALLOWED or is_storage or is_dtype:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a state dict")


def torch_load(path: Any) -> Any:
    """Load tensors, numbers, strings and containers onto the CPU; anything else is an UnpicklingError."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported operand" not in str(error):
            raise
    # torch 1.13 knows neither floats nor long tuples in its weights_only mode.
    restricted = SimpleNamespace(Unpickler=_RestrictedUnpickler, load=_restricted_load, __name__="restricted")
    return torch.load(path, map_location="cpu", pickle_module=restricted)


def _restricted_load(file: Any, **arguments: Any) -> Any:
    """What files from before torch 1.6, which are no zip archives, are read with."""
    return _RestrictedUnpickler(file, **arguments).load()
