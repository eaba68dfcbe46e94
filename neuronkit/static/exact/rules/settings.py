"""What a call is told beside its tensors: pairs of numbers, shapes, amounts."""

from __future__ import annotations

from typing import Any

from neuronkit.static.exact.call import Call
from neuronkit.static.exact.sizes import Dim, Extent
from neuronkit.static.exact.values import Size


def pair(value: Any) -> tuple[Any, Any]:
    """(height, width) from one number for both, or two."""
    if isinstance(value, (tuple, list)):
        return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])
    return value, value


def constant(size: Any, call: Call) -> Any:
    """A size as a number, where it is the same for every input that the network can run."""
    if isinstance(size, Size) and isinstance(size.dim, Extent):
        values = size.dim.values[call.builder.runnable[size.dim.source]]
        if len(values) and (values == values[0]).all():
            return int(values[0])
    if isinstance(size, Size) and isinstance(size.dim, int):
        return size.dim
    return size


def numbers(call: Call, name: str) -> list[Any]:
    """Numbers given one by one, or as one sequence."""
    given = call.args[1:] if len(call.args) > 1 else (call.kwargs.get(name, ()),)
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        given = tuple(given[0])
    return [
        constant(item, call) if isinstance(item, Size) and not isinstance(item.dim, Extent) else item for item in given
    ]


def fixed(item: Any) -> Dim:
    """The dimension that an entry of a target shape makes; -1 is some number."""
    if isinstance(item, Size):
        return item.dim
    return item if isinstance(item, int) and item >= 0 else None
