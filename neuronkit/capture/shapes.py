"""Runs of a module under the tracer in which shapes alone are computed."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from neuronkit.threads.quiet import quiet

Found = TypeVar("Found")
# Elements of the inputs from which a run takes long.
_LARGE = 1 << 20


def record_convolution(graph: Any, arguments: Any) -> Any:
    """Record a convolution by hand: the tracer does so inside the kernel, where a dispatch mode keeps it out.

    Returns:
        The node in the growing trace.
    """
    # Beyond those of aten::convolution: benchmark, deterministic, cudnn_enabled, allow_tf32.
    values = [_traced_value(graph, argument) for argument in (*arguments, False, False, False, False)]
    node = graph.create("aten::_convolution", values, 1)
    graph.insertNode(node)
    return node


def _traced_value(graph: Any, argument: Any) -> Any:
    if isinstance(argument, Tensor):
        return torch._C._get_value_trace(argument)  # type: ignore[attr-defined]
    return graph.insertConstant(argument)


class _Shapes(TorchDispatchMode):
    """Runs every kernel in a thread that does not trace: kernels of meta tensors calculate with sizes in Python."""

    def __init__(self, thread: ThreadPoolExecutor, records: bool) -> None:
        super().__init__()
        self._thread, self._records = thread, records

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        state = torch._C._get_tracing_state()
        node = None
        if self._records and state is not None and str(func).startswith("aten.convolution."):
            node = record_convolution(state.graph(), args)
        output = self._thread.submit(_call, func, args, kwargs or {}).result()
        if node is not None:
            torch._C._set_value_trace(output, node.output())  # type: ignore[attr-defined]
        return output


def _call(func: Any, args: Any, kwargs: Any) -> Any:
    # This thread is another one than that which captures.
    with torch.no_grad(), quiet():
        outputs = func(*args, **kwargs)
    given = {id(x) for x in tree_flatten((args, kwargs))[0]}
    # Autograd takes no view that it has seen itself.
    return tree_map(lambda x: x if id(x) in given or not isinstance(x, Tensor) else _fresh(x), outputs)


def _fresh(x: Tensor) -> Tensor:
    return torch.empty_strided(x.size(), x.stride(), dtype=x.dtype, device=x.device)


def with_shapes_alone(
    look: Callable[[nn.Module, tuple[Tensor, ...]], Found],
    module: nn.Module,
    examples: tuple[Tensor, ...],
    *,
    records: bool,
) -> Found:
    """What `look` finds in a traced run of a module, which on large inputs computes shapes alone, where that is known.

    Args:
        look: Traces the module on the examples.
        module: Stays as it is.
        examples: Its inputs.
        records: Whether convolutions are recorded here; `look` may do that itself.
    """
    if sum(x.numel() for x in examples) >= _LARGE and not isinstance(module, torch.jit.ScriptModule):
        # Where Python reads values, or a kernel needs them for its shapes, the run below reports it.
        with contextlib.suppress(Exception), ThreadPoolExecutor(1) as thread:
            bare, inputs = copy.deepcopy(module).to("meta"), tuple(x.to("meta") for x in examples)
            with _Shapes(thread, records):
                return look(bare, inputs)
    return look(module, examples)
