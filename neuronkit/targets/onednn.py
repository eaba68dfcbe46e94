"""Layers of a loaded TorchScript graph on oneDNN's kernels, with what follows them fused.

torch computes float32 `aten::linear` and 1x1 convolutions with MKL, which leaves half the speed of a CPU that is not
Intel's unused, and brings the weights of other convolutions into oneDNN's layout at every call. The operators that
torch.compile picks for such layers do neither. The rewrite is done to the graph in memory only: an artifact holds
standard operators, which any torch can load.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import torch

from neuronkit.specs import TensorSpec
from neuronkit.targets import onednn_convolution as convolution
from neuronkit.targets.onednn_graph import Sizes, constant_float, empty_scalars, measure, only_user, substitute

# Below these the kernel's set-up, about 10 microseconds, costs more than it saves.
MIN_ROWS = 16
MIN_WEIGHTS = 1 << 15

_Change = Callable[[], None]


def with_onednn(function: torch.jit.ScriptModule, graphs: Mapping[str, Sequence[TensorSpec]]) -> torch.jit.ScriptModule:
    """A copy of a module whose large layers run on oneDNN; the module itself where nothing would change.

    Args:
        function: A frozen graph, or a script module whose submodules are frozen graphs.
        graphs: Name → input specs of the graphs; a graph that is not a submodule of that name is `function` itself.
    """
    if not is_available() or not any(_changes(graph, specs) for graph, specs in _graphs(function, graphs)):
        return function
    copied = reload(function)
    for graph, specs in _graphs(copied, graphs):
        for change in _changes(graph, specs):
            change()
        torch._C._jit_pass_dce(graph)
    return copied


def reload(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """Copy a script module, by saving and loading it."""
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def is_available() -> bool:
    """Whether this torch has the operators, on this processor: torch 1.13 has not."""
    try:
        return torch.backends.mkldnn.is_available() and convolution.runs() and _linear_runs()
    except (AttributeError, RuntimeError):
        # An operator is missing; or it is there, and not for this processor.
        return False


def _linear_runs() -> bool:
    x, weight = torch.ones(2, 3), torch.ones(4, 3)
    y = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return torch.equal(y, torch.full((2, 4), 3.0))


def _graphs(
    function: torch.jit.ScriptModule, graphs: Mapping[str, Sequence[TensorSpec]]
) -> Iterator[tuple[Any, Sequence[TensorSpec]]]:
    for path, module in function.named_modules():
        name = path.rsplit(".", 1)[-1]
        specs = graphs.get(name) if path else next(iter(graphs.values())) if len(graphs) == 1 else None
        if specs is not None and hasattr(module, "graph"):
            yield module.graph, specs


def _changes(graph: Any, specs: Sequence[TensorSpec]) -> list[_Change]:
    sizes = measure(graph, specs)
    linear = [partial(_replace_linear, graph, node) for node in graph.nodes() if _is_large_linear(node, sizes)]
    return [*linear, *convolution.changes(graph, sizes)]


def _is_large_linear(node: Any, sizes: Sizes) -> bool:
    if node.kind() != "aten::linear":
        return False
    weight, size = constant_float(node.inputsAt(1)), sizes.get(node.inputsAt(0).debugName())
    return (
        weight is not None
        and weight.numel() >= MIN_WEIGHTS
        and size is not None
        and torch.Size(size[:-1]).numel() >= MIN_ROWS
    )


def _replace_linear(graph: Any, linear: Any) -> None:
    gelu = only_user(linear, "aten::gelu")
    graph.setInsertPoint(linear)
    algorithm = graph.insertConstant(gelu.inputsAt(1).toIValue() if gelu else "")
    inputs = [*linear.inputs(), graph.insertConstant("gelu" if gelu else "none"), empty_scalars(graph), algorithm]
    substitute(graph, [step for step in (linear, gelu) if step], "mkldnn::_linear_pointwise", inputs)
