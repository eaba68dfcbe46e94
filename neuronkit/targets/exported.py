"""Graphs as torch.export programs that compute on whatever device their inputs are on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx, nn

from neuronkit.errors import CompileError
from neuronkit.targets.tracing import recorded_warnings

if TYPE_CHECKING:
    from neuronkit.specs import TensorSpec


def export_graph(module: nn.Module, specs: tuple[TensorSpec, ...], path: Path) -> None:
    """Write a graph as a torch.export program.

    Raises:
        CompileError: If it cannot be exported.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise CompileError(
            "a TorchScript module keeps the device it was made on; give the nn.Module that it was traced from"
        )
    examples = tuple(spec.example() for spec in specs)
    try:
        with torch.no_grad(), recorded_warnings():
            program = torch.export.export(module, examples, strict=False)
            torch.export.save(program, str(path))
    except Exception as error:
        raise CompileError(f"torch.export cannot export {type(module).__name__}: {error}") from error


def load_portable(path: Path) -> fx.GraphModule:
    """Read an exported graph as a module that `to()` can move to any device."""
    with recorded_warnings():
        return make_portable(torch.export.load(str(path)).module())  # type: ignore[arg-type]


def make_portable(module: fx.GraphModule) -> fx.GraphModule:
    """Let an exported graph follow its inputs' device; edits and returns the module.

    Export writes the device of the example inputs into every operator that creates a tensor, and keeps constants as
    plain attributes, which `to()` overlooks.
    """
    graph = module.graph
    for node in list(graph.nodes):
        if (node.op == "call_module" and node.target == "_guards_fn") or (
            node.op == "call_function" and getattr(node.target, "__name__", "").startswith("_assert")
        ):
            graph.erase_node(node)
    first = next((node for node in graph.nodes if node.op == "placeholder"), None)
    fixed = [node for node in graph.nodes if isinstance(node.kwargs.get("device"), torch.device)]
    if first is not None and fixed:
        with graph.inserting_after(list(graph.find_nodes(op="placeholder"))[-1]):
            device = graph.call_function(getattr, (first, "device"))
        for node in fixed:
            node.kwargs = {**node.kwargs, "device": device}
    for name, value in list(vars(module).items()):
        if isinstance(value, Tensor):
            delattr(module, name)
            module.register_buffer(name, value)
    module.recompile()
    return module
