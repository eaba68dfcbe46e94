"""Linear layers of a loaded TorchScript graph on oneDNN's kernel, with the GELU after them fused.

torch computes float32 `aten::linear` with MKL, which leaves half the speed of a CPU that is not Intel's unused; the
kernel that torch.compile picks for such layers, `mkldnn::_linear_pointwise`, does not. The rewrite is done to the
graph in memory only: an artifact holds standard operators, which any torch can load.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from neuronkit.specs import TensorSpec

# Below these the kernel's set-up, about 10 microseconds, costs more than it saves.
MIN_ROWS = 16
MIN_WEIGHTS = 1 << 15


def with_onednn_linear(
    function: torch.jit.ScriptModule, graphs: Mapping[str, Sequence[TensorSpec]]
) -> torch.jit.ScriptModule:
    """A copy of a module whose large linear layers run on oneDNN; the module itself where nothing would change.

    Args:
        function: A frozen graph, or a script module whose submodules are frozen graphs.
        graphs: Name → input specs of the graphs; a graph that is not a submodule of that name is `function` itself.
    """
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise") or not _graphs_to_change(function, graphs):
        return function
    copied = reload(function)
    for graph in _graphs_to_change(copied, graphs):
        for linear in [node for node in graph.nodes() if _is_large_linear(node)]:
            _replace(graph, linear)
    return copied


def reload(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """Copy a script module, by saving and loading it."""
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)  # type: ignore[no-any-return]


def _graphs_to_change(function: torch.jit.ScriptModule, graphs: Mapping[str, Sequence[TensorSpec]]) -> list[Any]:
    found = []
    for path, module in function.named_modules():
        name = path.rsplit(".", 1)[-1]
        specs = graphs.get(name) if path else next(iter(graphs.values())) if len(graphs) == 1 else None
        if specs is None or not hasattr(module, "graph"):
            continue
        if any(map(_is_large_linear, module.graph.nodes())) and _rows(module.graph, specs) >= MIN_ROWS:
            found.append(module.graph)
    return found


def _is_large_linear(node: Any) -> bool:
    if node.kind() != "aten::linear":
        return False
    weight = node.inputsAt(1).node()
    if weight.kind() != "prim::Constant" or not weight.hasAttribute("value"):
        return False
    tensor = weight.t("value")
    return tensor.dtype == torch.float32 and tensor.numel() >= MIN_WEIGHTS


def _rows(graph: Any, specs: Sequence[TensorSpec]) -> int:
    """Rows of the first linear layer's input."""
    graph = graph.copy()
    for value, spec in zip(list(graph.inputs())[1:], specs):
        value.setType(torch._C.TensorType.create_from_tensor(torch.empty(spec.shape, dtype=spec.torch_dtype)))
    torch._C._jit_pass_propagate_shapes_on_graph(graph)
    first = next(node for node in graph.nodes() if node.kind() == "aten::linear")
    sizes = first.inputsAt(0).type().sizes()
    return torch.Size(sizes[:-1]).numel() if sizes and None not in sizes else 0


def _replace(graph: Any, linear: Any) -> None:
    uses = linear.output().uses()
    gelu = uses[0].user if len(uses) == 1 and uses[0].user.kind() == "aten::gelu" else None
    last = gelu or linear
    graph.setInsertPoint(last)
    empty = graph.create("prim::ListConstruct", [], 1)
    graph.insertNode(empty)
    empty.output().setType(torch._C.ListType(torch._C.OptionalType(torch._C.NumberType.get())))
    activation = graph.insertConstant("gelu" if gelu else "none")
    algorithm = gelu.inputsAt(1) if gelu else graph.insertConstant("")
    fused = graph.create("mkldnn::_linear_pointwise", [*linear.inputs(), activation, empty.output(), algorithm], 1)
    graph.insertNode(fused)
    last.output().replaceAllUsesWith(fused.output())
    last.destroy()
    if gelu:
        linear.destroy()
