"""Reading and writing the nodes of a TorchScript graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from neuronkit.specs import TensorSpec

# Size of each value whose size follows from the graph's inputs.
Sizes = dict[str, tuple[int, ...]]


def measure(graph: Any, specs: Sequence[TensorSpec]) -> Sizes:
    """The sizes that a graph's float32 tensors have on inputs of given specs, by name; none where it cannot be told.

    A copy is run on tensors without data: torch's own shape propagation stops at the first convolution.
    """
    given = [torch.empty(spec.shape, dtype=spec.torch_dtype, device="meta") for spec in specs]
    try:
        names, run, constants = _giving_all_tensors(graph, len(specs))
        with torch.no_grad():
            tensors = run(*given, *(tensor.to("meta") for tensor in constants))
    except RuntimeError:
        return {}
    return {name: tuple(tensor.shape) for name, tensor in zip(names, tensors) if tensor.dtype == torch.float32}


def _giving_all_tensors(graph: Any, inputs: int) -> tuple[list[str], Callable[..., Any], list[Tensor]]:
    """Names of a graph's tensors, a function that gives them all, and the constants it takes after the inputs."""
    copy = graph.copy()
    if len(list(copy.inputs())) > inputs:
        copy.eraseInput(0)
    names = [value.debugName() for value in list(graph.inputs())[-inputs:]]
    found, constants = list(copy.inputs()), []
    for node in copy.findAllNodes("prim::Constant"):
        if node.hasAttribute("value") and node.kindOf("value") == "t":
            node.output().replaceAllUsesWith(copy.addInput())
            constants.append(node.t("value"))
    # Without the switches of CUDA's libraries, convolutions are known for tensors without data.
    for node in copy.findAllNodes("aten::_convolution"):
        substitute(copy, [node], "aten::convolution", list(node.inputs())[:9])
    for node, copied in zip(graph.nodes(), copy.nodes()):
        if node.outputsSize() == 1 and isinstance(node.output().type(), torch._C.TensorType):
            names.append(node.output().debugName())
            found.append(copied.output())
    for _ in list(copy.outputs()):
        copy.eraseOutput(0)
    for value in found:
        copy.registerOutput(value)
    copy.makeMultiOutputIntoTuple()
    return names, torch._C._create_function_from_graph("measure", copy), constants


def substitute(graph: Any, nodes: Sequence[Any], kind: str, inputs: Sequence[Any]) -> Any:
    """Put one operator in the place of a chain of nodes, at the first of them."""
    graph.setInsertPoint(nodes[0])
    other = graph.insertNode(graph.create(kind, inputs, 1))
    replace(nodes, other.output())
    return other


def replace(nodes: Sequence[Any], value: Any) -> None:
    """Let a value take the place of what a chain of nodes gives."""
    nodes[-1].output().replaceAllUsesWith(value)
    for node in reversed(nodes):
        node.destroy()


def constant(value: Any) -> Any:
    """The number, string or list that a value is, whatever the inputs are; None where it depends on them."""
    node = value.node()
    if node.kind() != "prim::ListConstruct":
        return value.toIValue()
    items = [item.toIValue() for item in node.inputs()]
    return None if None in items else items


def is_none(value: Any) -> bool:
    """Whether a value is None, whatever the inputs are."""
    return isinstance(value.type(), torch._C.NoneType)


def constant_float(value: Any) -> Tensor | None:
    """The float32 tensor that a value is, whatever the inputs are."""
    node = value.node()
    if node.kind() != "prim::Constant" or not node.hasAttribute("value") or node.kindOf("value") != "t":
        return None
    tensor: Tensor = node.t("value")
    return tensor if tensor.dtype == torch.float32 and tensor.layout == torch.strided else None


def only_user(node: Any, *kinds: str) -> Any:
    """The node that alone uses what another one gives, if it is of one of the kinds; None otherwise."""
    uses = node.output().uses() if node.outputsSize() == 1 else []
    return uses[0].user if len(uses) == 1 and uses[0].user.kind() in kinds else None


def empty_scalars(graph: Any) -> Any:
    """Insert the empty list that stands for an activation's missing parameters."""
    node = graph.insertNode(graph.create("prim::ListConstruct", [], 1))
    node.output().setType(torch._C.ListType(torch._C.OptionalType(torch._C.NumberType.get())))
    return node.output()


def insert_packed(graph: Any, tensor: Tensor) -> Any:
    """Insert a constant in oneDNN's own layout."""
    node = graph.create("prim::ConstantMKLDNNTensor", 1)
    node.t_("value", tensor)
    return graph.insertNode(node).output()
