"""Convolutions of a TorchScript graph on oneDNN's kernel: weights packed once, ReLU and addition fused.

Each rewrite gives what the graph gave, to float rounding, in the same memory layout:

- a convolution, and a ReLU that alone uses it, become one operator;
- a 1x1 convolution of concatenated tensors becomes the sum of the convolutions of each, without the concatenation;
- a product with a mask, and a maximum of every other row, are written over what they are made of, where nothing else
  uses that. A large fresh tensor costs several times what computing it does, because the system clears its pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuronkit.targets.onednn_graph import (
    Sizes,
    constant,
    constant_float,
    empty_scalars,
    insert_packed,
    is_none,
    only_user,
    replace,
    substitute,
)

# Multiplications, below which the kernel's set-up costs more than it saves.
MIN_WORK = 1 << 20
# Operators whose result is a tensor of its own, no view of another.
_FRESH = frozenset({"mkldnn::_convolution_pointwise", "mkldnn::_convolution_pointwise_", "aten::max"})


class _Settings(NamedTuple):
    """As oneDNN's operators take them, in their order."""

    padding: list[int]
    stride: list[int]
    dilation: list[int]
    groups: int


class _Convolution(NamedTuple):
    node: Any
    weight: Tensor
    settings: _Settings


def runs() -> bool:
    """Whether the operators are there and compute what they should, packed constants in a graph included."""
    graph: Any = torch._C.Graph()
    x, none = graph.addInput(), graph.insertConstant(None)
    settings = _Settings([0, 0], [1, 1], [1, 1], 1)
    weight = _pack(graph, torch.ones(2, 3, 1, 1), settings, (1, 3, 2, 2))
    first = _insert(graph, x, weight, none, settings, "none")
    graph.registerOutput(_insert(graph, x, weight, none, settings, "relu", added_to=first))
    function = torch._C._create_function_from_graph("forward", graph)
    return torch.equal(function(torch.ones(1, 3, 2, 2)), torch.full((1, 2, 2, 2), 6.0))


def changes(graph: Any, sizes: Sizes) -> list[Callable[[], None]]:
    """What to do to a graph, in order; nothing is changed before."""
    large = [convolution for node in graph.nodes() if (convolution := _read_large(node, sizes))]
    if not large:
        return []
    in_place = partial(_multiply_in_place, graph, sizes), partial(_take_maxima_in_place, graph, sizes)
    return [*(partial(_replace, graph, found, sizes) for found in large), *in_place]


def _read_large(node: Any, sizes: Sizes) -> _Convolution | None:
    """A node that is a large convolution with constant weights in channels_last; None where it is not."""
    if node.kind() != "aten::_convolution":
        return None
    x, weight, bias, size = node.inputsAt(0), constant_float(node.inputsAt(1)), node.inputsAt(2), node.output()
    stride, padding, dilation, transposed, groups = (constant(node.inputsAt(i)) for i in (3, 4, 5, 6, 8))
    if weight is None or transposed is not False or None in (stride, padding, dilation, groups):
        return None
    if not (is_none(bias) or constant_float(bias) is not None) or x.debugName() not in sizes:
        return None
    # Such a weight makes the original's output channels_last too, as oneDNN's operator always does.
    channels_last = weight.dim() == 4 and weight.stride(1) == 1 and weight.stride(3) == weight.shape[1] > 1
    work = weight[0].numel() * torch.Size(sizes.get(size.debugName(), (0,))).numel()
    if not channels_last or work < MIN_WORK:
        return None
    return _Convolution(node, weight, _Settings(padding, stride, dilation, groups))


def _replace(graph: Any, convolution: _Convolution, sizes: Sizes) -> None:
    node, weight, settings = convolution
    relu = only_user(node, "aten::relu", "aten::relu_")
    joined = _concatenated(convolution, sizes)
    parts = list(joined.inputsAt(0).node().inputs()) if joined else [node.inputsAt(0)]
    pieces = weight.split([sizes[part.debugName()][1] for part in parts], dim=1) if joined else [weight]
    graph.setInsertPoint(joined or node)
    bias, total = node.inputsAt(2), None
    for left, part, piece in zip(reversed(range(len(parts))), parts, pieces):
        packed = _pack(graph, piece, settings, sizes[part.debugName()])
        activation = "relu" if relu and not left else "none"
        total = _insert(graph, part, packed, bias, settings, activation, added_to=total)
        bias = graph.insertConstant(None)
    sizes[total.debugName()] = sizes[node.output().debugName()]  # type: ignore[union-attr]
    replace([step for step in (joined, node, relu) if step], total)


def _concatenated(convolution: _Convolution, sizes: Sizes) -> Any:
    """The concatenation of channels that a 1x1 convolution alone reads, if it reads one."""
    node, weight, settings = convolution
    joined = node.inputsAt(0).node()
    if weight.shape[2:] != (1, 1) or (settings.padding, settings.stride, settings.groups) != ([0, 0], [1, 1], 1):
        return None
    if joined.kind() != "aten::cat" or constant(joined.inputsAt(1)) != 1 or not only_user(joined, "aten::_convolution"):
        return None
    parts = joined.inputsAt(0).node()
    known = parts.kind() == "prim::ListConstruct" and all(
        len(sizes.get(v.debugName(), ())) == 4 for v in parts.inputs()
    )
    return joined if known else None


def _multiply_in_place(graph: Any, sizes: Sizes) -> None:
    """Let products overwrite their first factor, where it is fresh, of the product's size, and used by nothing else."""
    for node in list(graph.nodes()):
        if node.kind() != "aten::mul" or node.inputsAt(0).node().kind() not in _FRESH:
            continue
        factor, other, product = (value.debugName() for value in (*node.inputs(), node.output()))
        same_size = factor in sizes and other in sizes and sizes[factor] == sizes.get(product)
        if same_size and only_user(node.inputsAt(0).node(), "aten::mul"):
            substitute(graph, [node], "aten::mul_", list(node.inputs()))


def _take_maxima_in_place(graph: Any, sizes: Sizes) -> None:
    """Let the maximum of two slices of a fresh tensor overwrite the first, where nothing else uses the tensor.

    Only where slices of the maximum are used next, as in pooling: what they give is a dense tensor again.
    """
    for node in list(graph.nodes()):
        if node.kind() != "aten::max" or node.inputsSize() != 2:
            continue
        first, second = map(_outermost_slice, node.inputs())
        if first is None or second is None or not _apart(first, second):
            continue
        tensor, values = first.inputsAt(0), [*node.inputs(), node.output()]
        same_size = len({sizes.get(value.debugName()) for value in values}) == 1 and values[0].debugName() in sizes
        readers = {reader.output().debugName() for reader in _readers(tensor)}
        unseen = all(use.user.kind() == "aten::slice" for use in node.output().uses())
        if same_size and unseen and readers == {node.output().debugName()} and tensor.node().kind() in _FRESH:
            substitute(graph, [node], "aten::max", [*node.inputs(), node.inputsAt(0)])


def _outermost_slice(value: Any) -> Any:
    """The first of the slices that make a value out of a tensor; None where there is none."""
    node = value.node()
    if node.kind() != "aten::slice":
        return None
    return _outermost_slice(node.inputsAt(0)) or node


def _apart(first: Any, second: Any) -> bool:
    """Whether two slices are of one tensor, and of different residues of one dimension."""
    (dim, start, _, step), (other_dim, other_start, _, other_step) = (
        [constant(node.inputsAt(i)) for i in range(1, 5)] for node in (first, second)
    )
    known = None not in (dim, start, step, other_start) and min(start, other_start) >= 0
    same = (first.inputsAt(0).debugName(), dim, step) == (second.inputsAt(0).debugName(), other_dim, other_step)
    return known and same and (start - other_start) % step != 0


def _readers(value: Any) -> Iterator[Any]:
    """The nodes that read a tensor, also through slices."""
    for use in value.uses():
        if use.user.kind() == "aten::slice":
            yield from _readers(use.user.output())
        else:
            yield use.user


def _pack(graph: Any, weight: Tensor, settings: _Settings, size: Sequence[int]) -> Any:
    """Insert a weight in the layout that oneDNN takes it in for an input of a given size."""
    return insert_packed(graph, torch.ops.mkldnn._reorder_convolution_weight(weight.contiguous(), *settings, size))


def _insert(
    graph: Any, x: Any, weight: Any, bias: Any, settings: _Settings, activation: str, *, added_to: Any = None
) -> Any:
    """Insert a convolution, and give its result, in channels_last; `added_to` is overwritten."""
    given = [x, weight, bias, *map(graph.insertConstant, settings)]
    none, text, scalars = graph.insertConstant(None), graph.insertConstant(""), empty_scalars(graph)
    attribute = none if activation == "none" and added_to else graph.insertConstant(activation)
    kind = "mkldnn::_convolution_pointwise"
    if added_to:
        kind += "_"
        given = [added_to, *given, graph.insertConstant("add"), none]
    return graph.insertNode(graph.create(kind, [*given, attribute, scalars, text], 1)).output()
