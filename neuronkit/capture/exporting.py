"""Graphs as torch.export programs that compute on whatever device their inputs are on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from neuronkit.capture.tracing import capturing
from neuronkit.errors import CompileError

if TYPE_CHECKING:
    from neuronkit.specs import TensorSpec


def export_graph(module: nn.Module, specs: tuple[TensorSpec, ...]) -> Any:
    """A graph as a torch.export program.

    Raises:
        CompileError: If it cannot be exported.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise CompileError(
            "a TorchScript module keeps the device it was made on; give the nn.Module that it was traced from"
        )
    examples = tuple(spec.example() for spec in specs)
    try:
        with torch.no_grad(), capturing():
            return torch.export.export(module, examples, strict=False)
    except Exception as error:
        raise CompileError(f"torch.export cannot export {type(module).__name__}: {error}") from error


def load_portable(path: Path) -> fx.GraphModule:
    """Read an exported graph as a module that `to()` can move to any device."""
    with capturing():
        return make_portable(torch.export.load(str(path)).module())  # type: ignore[arg-type]


def make_portable(module: fx.GraphModule) -> fx.GraphModule:
    """Let an exported graph follow its inputs' device; edits and returns the module.

    Export writes the device of the example inputs into every operator that creates a tensor, and keeps constants as
    plain attributes, which `to()` overlooks.
    """
    for part in list(module.modules()):
        if isinstance(part, fx.GraphModule):
            _follow_inputs(part)
        for name, value in list(vars(part).items()):
            if isinstance(value, Tensor):
                delattr(part, name)
                part.register_buffer(name, value)
    return module


def _follow_inputs(module: fx.GraphModule) -> None:
    """Put the device of the first input wherever the graph names one, and drop the checks that it is the CPU."""
    graph = module.graph
    for node in list(graph.nodes):
        is_guard = node.op == "call_module" and node.target == "_guards_fn"
        if is_guard or (node.op == "call_function" and getattr(node.target, "__name__", "").startswith("_assert")):
            graph.erase_node(node)
        elif node.op == "call_function" and node.target in _FILLS:
            _fill_with_number(module, node)
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    if inputs:
        with graph.inserting_after(inputs[-1]):
            device = graph.call_function(getattr, (inputs[0], "device"))
        for node in graph.nodes:
            node.args = tuple(device if isinstance(arg, torch.device) else arg for arg in node.args)
            node.kwargs = {k: device if isinstance(arg, torch.device) else arg for k, arg in node.kwargs.items()}
    module.recompile()


_FILLS = {
    torch.ops.aten.fill_.Tensor: torch.ops.aten.fill_.Scalar,
    torch.ops.aten.fill.Tensor: torch.ops.aten.fill.Scalar,
}
_ALIASES = {torch.ops.aten.lift_fresh_copy.default, torch.ops.aten.detach_.default, torch.ops.aten.detach.default}


def _fill_with_number(module: fx.GraphModule, node: fx.Node) -> None:
    """Write a constant as a number: export makes it a tensor, which would have to come back from the device."""
    source = node.args[1]
    while isinstance(source, fx.Node) and source.target in _ALIASES:
        source = source.args[0]
    if isinstance(source, fx.Node) and source.op == "get_attr":
        owner: Any = module
        for name in str(source.target).split("."):
            owner = getattr(owner, name)
        node.args = (node.args[0], owner.item())
        node.target = _FILLS[node.target]  # type: ignore[index]
