"""Which kernels each node of a trace calls, and from which line of the model's code."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from neuronkit.capture.shapes import record_convolution
from neuronkit.capture.tracing import module_path, nodes_of, quiet_tracing, user_line


@dataclass
class KernelCalls:
    """What a node does and where it comes from.

    Attributes:
        location: ``file:line`` of the caller's code; empty where unknown.
        parts: The kernels that it calls, as ATen names with overload.
    """

    location: str
    parts: list[str] = field(default_factory=list)


_MARK = "neuronkit_kernels"


class _KernelMode(TorchDispatchMode):
    """Notes, at each kernel call, which node of the growing trace it belongs to, and the caller's line."""

    def __init__(self) -> None:
        super().__init__()
        self.graph: Any = None
        self.calls: list[KernelCalls] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.graph is None:
            return func(*args, **(kwargs or {}))
        name = str(func).removeprefix("aten.").removesuffix(".default")
        if name == "convolution":
            return self._convolve(func, args)
        self.mark(self.graph.insertPoint().prev()).parts.append(name)
        return func(*args, **(kwargs or {}))

    def mark(self, node: Any) -> KernelCalls:
        """What is noted of a node, new where there is nothing yet."""
        if not node.hasAttribute(_MARK):
            node.i_(_MARK, len(self.calls))
            self.calls.append(KernelCalls(user_line()))
        return self.calls[node.i(_MARK)]

    def _convolve(self, func: Any, args: Any) -> Tensor:
        node = record_convolution(self.graph, args)
        self.mark(node).parts.append("convolution")
        output: Tensor = func(*args)
        torch._C._set_value_trace(output, node.output())  # type: ignore[attr-defined]
        return output


class _LineMode(TorchFunctionMode):
    """Notes the caller's line for the nodes that call no kernel, such as a dropout at rest."""

    def __init__(self, kernels: _KernelMode) -> None:
        super().__init__()
        self.noted = kernels

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.noted.graph is not None:
            node = self.noted.graph.insertPoint().prev()
            while node.kind() not in ("prim::Param", "prim::Return") and not node.hasAttribute(_MARK):
                self.noted.mark(node)
                node = node.prev()
        return result


def find_kernels(module: nn.Module, examples: tuple[Tensor, ...]) -> dict[tuple[str, str], list[KernelCalls]]:
    """(kind, module path) → what its nodes call, in the order of execution; nothing for nodes that call no kernel."""
    mode = _KernelMode()

    def find_graph(*_: Any) -> None:
        mode.graph = torch._C._get_tracing_state().graph()

    hook = module.register_forward_pre_hook(find_graph)
    try:
        with quiet_tracing(), _LineMode(mode), mode:
            traced = torch.jit.trace(module, examples, check_trace=False, strict=False)
    finally:
        hook.remove()
    found: dict[tuple[str, str], list[KernelCalls]] = defaultdict(list)
    for node in nodes_of(traced.inlined_graph):
        calls = mode.calls[node.i(_MARK)] if node.hasAttribute(_MARK) else KernelCalls("")
        found[node.kind(), module_path(node.scopeName())].append(calls)
    return found
