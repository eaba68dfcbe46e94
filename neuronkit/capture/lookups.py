"""Which inputs of a model are looked up in tables, and how many entries these have."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from neuronkit.capture.products import base_name

# Operators after which a tensor has the same entries in the same places, as far as its shape is the same.
_KEEPING = {"_to_copy", "alias", "clone", "contiguous", "detach", "expand", "lift_fresh", "slice", "view"}
_MOVING = {"permute", "reshape", "squeeze", "t", "transpose", "unsqueeze", "view", "_reshape_alias", "_unsafe_view"}
_WHOLE = (torch.int32, torch.int64)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Origin:
    """Where a tensor's entries are from: all of an input, or a column of its last dimension, whole and once each."""

    input: int
    column: int | None = None
    # Whether entries lie where they lie in the input.
    in_place: bool = True


class _Lookups(TorchDispatchMode):
    """Follows whole inputs and their columns up to the tables that they are looked up in."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.found: dict[tuple[int, int | None], tuple[int, int]] = {}
        # Tensors are kept: another one would get the id of one that has gone.
        self._known = {id(x): (x, _Origin(i)) for i, x in enumerate(inputs)}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        name = base_name(func)
        if func._schema.is_mutable:
            self._forget(args[0])
            return output
        for ids, low, high in _looked_up(name, args):
            origin = self._origin(ids)
            if origin is not None and low <= high:
                before = self.found.get((origin.input, origin.column), (low, high))
                self.found[origin.input, origin.column] = max(low, before[0]), min(high, before[1])
        first = self._origin(args[0]) if args else None
        if first is not None:
            self._follow(name, first, args, output)
        return output

    def _origin(self, x: Any) -> _Origin | None:
        return self._known.get(id(x), (None, None))[1] if isinstance(x, Tensor) else None

    def _follow(self, name: str, origin: _Origin, args: Sequence[Any], output: Any) -> None:
        given = args[0]
        if name == "unbind" and origin.in_place and origin.column is None:
            if (args[1] if len(args) > 1 else 0) in (given.dim() - 1, -1):
                for column, x in enumerate(output):
                    self._note(x, _Origin(origin.input, column))
        elif name == "select" and origin.in_place and origin.column is None:
            if args[1] in (given.dim() - 1, -1):
                self._note(output, _Origin(origin.input, args[2] % given.shape[-1]))
        elif name in _KEEPING and output.shape == given.shape:
            # A cast to a narrower type changes numbers.
            if output.dtype == given.dtype or output.dtype in _WHOLE:
                self._note(output, origin)
        elif name == "slice" and origin.in_place and origin.column is None and _is_column(given, output, args):
            self._note(output, _Origin(origin.input, args[2] % given.shape[-1], in_place=False))
        elif name in _MOVING and output.numel() == given.numel():
            self._note(output, _Origin(origin.input, origin.column, in_place=False))

    def _forget(self, changed: Any) -> None:
        """Drop what lies where a tensor was changed."""
        place = _place(changed)
        self._known = {key: item for key, item in self._known.items() if _place(item[0]) != place}

    def _note(self, x: Tensor, origin: _Origin) -> None:
        self._known[id(x)] = x, origin


def _place(x: Any) -> int | None:
    if not isinstance(x, Tensor):
        return None
    # torch 1.13 has no untyped_storage.
    storage = x.untyped_storage() if hasattr(x, "untyped_storage") else x.storage()
    return storage.data_ptr()


def _is_column(given: Tensor, output: Tensor, args: Sequence[Any]) -> bool:
    along = len(args) > 2 and args[1] in (given.dim() - 1, -1) and args[2] is not None
    return along and given.dim() > 1 and output.shape == (*given.shape[:-1], 1)


def _looked_up(name: str, args: Sequence[Any]) -> list[tuple[Any, int, int]]:
    """Tensors that an operator looks up, each with the lowest and the highest number that it takes."""
    if name in ("embedding", "embedding_bag", "_embedding_bag", "_embedding_bag_forward_only"):
        return [(args[1], 0, len(args[0]) - 1)]
    if name in ("index_select", "gather") and args[0].dim():
        return [(args[2], 0, args[0].shape[args[1]] - 1)]
    if name == "index" and all(ids is None or _is_whole(ids) for ids in args[1]):
        # Negative ones count from the end.
        return [(ids, -size, size - 1) for ids, size in zip(args[1], args[0].shape) if _is_whole(ids)]
    return []


def _is_whole(ids: Any) -> bool:
    return isinstance(ids, Tensor) and ids.dtype in _WHOLE


def find_lookups(module: nn.Module, inputs: Sequence[Tensor]) -> Mapping[tuple[int, int | None], tuple[int, int]]:
    """Run a module once, and see which of its inputs it looks up in tables, as they are or cut to whole numbers.

    Args:
        module: Whatever can be called.
        inputs: What it is called with.

    Returns:
        (Number of an input, column of its last dimension or None for all of it) → the lowest and the highest number
        that the tables have. What is computed with first, and what is looked up in part, is not among them.
    """
    # Models of images look nothing up, and take long.
    if not any(_is_whole(x) for x in inputs) and not any(isinstance(m, nn.Embedding) for m in module.modules()):
        return {}
    # One tensor may be given for two inputs.
    inputs = [x.detach() for x in inputs]
    lookups = _Lookups(inputs)
    try:
        with torch.no_grad(), lookups:
            module(*inputs)
    except Exception:  # Compiling raises what is wrong with the model; one that cannot be watched runs all the same.
        _log.debug(
            "the numbers that %s looks up are not checked before its graph", type(module).__name__, exc_info=True
        )
    return lookups.found
