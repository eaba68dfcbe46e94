"""Rules for joining tensors, and for splitting them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neuronkit.static.exact.call import Call
from neuronkit.static.exact.rules.elementwise import broadcast
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.sizes import Dim, Extent
from neuronkit.static.exact.values import Fill, Pieces, Value


@rule("cat", "concat", "concatenate")
def concatenate(call: Call) -> Value:
    tensors = call.args[0] if call.args else call.kwargs["tensors"]
    dim = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim", call.kwargs.get("axis", 0))
    parts: list[Any] = [tensors.piece] if isinstance(tensors, Pieces) else list(tensors)
    if not all(isinstance(part, Value) for part in parts):
        call.refuse("joins something else than tensors of the network")
    if not any(part.varying for part in parts):
        return call.builder.output(call.again(), _joined(parts, dim))
    if any(part.dims is None for part in parts) or len({len(part.dims) for part in parts}) > 1:
        call.refuse("joins maps with tensors whose shape is not known here")
    dim %= len(parts[0].dims)
    if dim == 0 or any(isinstance(part.dims[dim], Extent) for part in parts):
        call.refuse("joins maps along the batch, or along a dimension that varies, which puts padding between them")
    others = [Value(part.node, (*part.dims[:dim], 1, *part.dims[dim + 1 :])) for part in parts]
    dims = list(broadcast(call, others) or ())
    dims[dim] = None if isinstance(tensors, Pieces) else _sum([part.dims[dim] for part in parts])
    zero = all(part.fill is Fill.ZERO for part in parts)
    return call.builder.output(call.again(), dims, Fill.ZERO if zero else max(Fill.FINITE, *(p.fill for p in parts)))


def _sum(dims: Sequence[Dim]) -> Dim:
    return sum(dims) if all(isinstance(dim, int) for dim in dims) else None  # type: ignore[arg-type]


def _joined(parts: Sequence[Value], dim: int) -> list[Dim] | None:
    if any(part.dims is None for part in parts):
        return None
    dims = list(parts[0].dims or ())
    dims[dim] = _sum([(part.dims or ())[dim] for part in parts])
    return dims


@rule("stack")
def stack(call: Call) -> Value:
    parts = list(call.args[0])
    dim = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim", 0)
    dims = broadcast(call, parts)
    if dims is None:
        return call.builder.output(call.again(), None)
    place = dim % (len(dims) + 1)
    return call.builder.output(
        call.again(), [*dims[:place], len(parts), *dims[place:]], max(Fill.FINITE, *(p.fill for p in parts))
    )


@rule("chunk", "split", "tensor_split", "unbind", "split_with_sizes")
def split(call: Call) -> Any:
    x = call.input
    named = ("dim",) if call.name == "unbind" else ("sections", "dim")
    dim = call.kwargs.get("dim", call.args[len(named)] if len(call.args) > len(named) else 0)
    node = call.again()
    if x.dims is None:
        return Pieces(node, Value(node, None, x.fill, x.storage))
    dim %= len(x.dims)
    if x.varying and (dim == 0 or dim in x.varying):
        call.refuse("splits the batch, or a dimension that varies")
    dims: list[Dim] = list(x.dims)
    if call.name == "unbind":
        dims.pop(dim)
    else:
        dims[dim] = _section(dims[dim], call)
    return Pieces(node, Value(node, tuple(dims), x.fill, x.storage))


def _section(dim: Dim, call: Call) -> Dim:
    """Size of each piece, where all are equal."""
    sections = call.args[1] if len(call.args) > 1 else None
    if not isinstance(dim, int) or not isinstance(sections, int):
        return None
    if call.name == "split":
        return sections if dim % sections == 0 else None
    return dim // sections if dim % sections == 0 else None
