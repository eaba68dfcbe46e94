"""Tracing a static graph, and finding what a trace would freeze: values that leave the graph for Python."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from neuronkit.capture.patches import patched_here_alone
from neuronkit.errors import CompileError, UnsupportedOperatorError
from neuronkit.specs import TensorSpec
from neuronkit.threads.quiet import quiet
from neuronkit.threads.turns import CAPTURE

# Calls that hand a tensor's values to Python. Shapes are not values: they are fixed in a static graph.
_ESCAPES = frozenset(
    {
        "item", "tolist", "numpy", "__bool__", "__int__", "__float__", "__index__", "__complex__", "__array__",
        "is_nonzero", "equal", "allclose",
    }
)  # fmt: skip
_TORCH = os.path.dirname(torch.__file__) + os.sep
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The code that traces is not part of a model; the rest of the package is.
_TRACING = tuple(os.path.join(_PACKAGE, name) + os.sep for name in ("capture", "targets", "analysis"))
_FRAME = re.compile(r"^(?P<file>.+)\((?P<line>\d+)\): (?P<function>\S+)", re.MULTILINE)
_SHAPE_NODES = frozenset({"aten::size", "aten::dim", "aten::numel", "aten::_shape_as_tensor"})


@dataclass(frozen=True)
class Escape:
    """A value computed from the inputs that Python reads while the graph is traced.

    Attributes:
        call: The call that reads it, such as ``"Tensor.item"``.
        module: Path of the submodule that makes the call.
        location: ``file:line`` of the caller's code.
    """

    call: str
    module: str
    location: str


def trace(module: nn.Module, specs: Sequence[TensorSpec]) -> torch.jit.ScriptModule:
    """Trace a static graph.

    Raises:
        UnsupportedOperatorError: If Python reads a value computed from the inputs, which the trace would freeze.
        CompileError: If it cannot be traced.
    """
    try:
        traced, escapes = trace_watched(module, tuple(spec.example() for spec in specs))
    except Exception as error:
        raise CompileError(f"torch.jit cannot trace {type(module).__name__}: {error}") from error
    if escapes:
        raise UnsupportedOperatorError(
            "a value computed from the inputs decides what Python does next, which a fixed graph cannot follow: "
            + "; ".join(f"{e.call} in {e.module or 'the top module'}, {e.location}" for e in escapes)
            + ". Keep it a tensor, with torch.where or a mask in place of the branch"
        )
    return traced


def trace_watched(module: nn.Module, examples: tuple[Tensor, ...]) -> tuple[torch.jit.ScriptModule, tuple[Escape, ...]]:
    """Trace, and note values computed from the inputs that Python reads, in the order of the calls.

    `torch.jit.trace` only warns of them, and of shapes that Python reads just the same.
    """
    # Parity against the original is checked on the whole model, which says more than running the trace again.
    with quiet_tracing() as watcher:
        traced = torch.jit.trace(_plain(module), examples, check_trace=False, strict=False)
    return traced, tuple(dict.fromkeys(watcher.escapes))


def _plain(module: nn.Module) -> nn.Module:
    """The module itself; in place of a LightningModule one that has its parts and calls it.

    The tracer reads every attribute of what it is given, and some of Lightning's raise where there is no Trainer.
    """
    if not any(cls.__name__ == "LightningModule" for cls in type(module).__mro__):
        return module
    plain = _Plain().train(module.training)
    for held in ("_parameters", "_buffers", "_modules"):
        getattr(plain, held).update(getattr(module, held))
    # Not registered: as a part it would be read like the whole.
    plain.__dict__["call"] = module.forward
    return plain


class _Plain(nn.Module):
    """Has another module's parts, and its forward."""

    call: Callable[..., Any]

    def forward(self, *inputs: Tensor) -> Any:
        return self.call(*inputs)


@contextlib.contextmanager
def quiet_tracing() -> Iterator[EscapeWatcher]:
    """Without gradients, without the tracer's warnings, and with a watcher in their place."""
    with capturing(), torch.no_grad(), EscapeWatcher() as watcher:
        yield watcher


@contextlib.contextmanager
def capturing() -> Iterator[None]:
    """Within, this thread alone captures graphs, and what torch warns it of is not shown."""
    with CAPTURE.taken(), quiet(), patched_here_alone():
        yield


class EscapeWatcher(TorchFunctionMode):
    """Sees every call of torch's functions and notes the values that Python reads.

    Its presence also keeps attention layers from their fused CPU kernels, which no compiler takes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.escapes: list[Escape] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _ESCAPES and torch.jit.is_tracing():  # type: ignore[attr-defined]
            tensors = [arg for arg in args if isinstance(arg, Tensor)]
            if any(_depends_on_inputs(tensor) for tensor in tensors):
                scope = torch._C._get_tracing_state().current_scope()
                self.escapes.append(Escape(f"Tensor.{name}", module_path(scope), user_line()))
        return func(*args, **(kwargs or {}))


def _depends_on_inputs(tensor: Tensor) -> bool:
    """Whether the traced value comes from a graph input by other ways than its shape."""
    pending, seen = [torch._C._get_value_trace(tensor)], set()  # type: ignore[attr-defined]
    while pending:
        value = pending.pop()
        node = value.node()
        if value.unique() in seen or node.kind() in _SHAPE_NODES:
            continue
        seen.add(value.unique())
        # The first input of a traced graph is the module itself: weights are constants.
        if node.kind() == "prim::Param" and value.type().kind() == "TensorType":
            return True
        pending.extend(node.inputs())
    return False


def nodes_of(block: Any) -> Iterator[Any]:
    """Every node of a graph or block, those of nested blocks right after the node that holds them."""
    for node in block.nodes():
        yield node
        for nested in node.blocks():
            yield from nodes_of(nested)


def user_line() -> str:
    """``file:line`` of the innermost running frame that is neither torch's nor the tracing code's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and not is_user_file(frame.f_code.co_filename):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def line_of_range(source_range: str) -> str:
    """``file:line`` of the caller's innermost frame in a `torch._C.Node.sourceRange`; empty if it names none."""
    for frame in _FRAME.finditer(source_range):
        if is_user_file(frame["file"]):
            return f"{frame['file']}:{frame['line']}"
    return ""


def is_user_file(path: str) -> bool:
    """Whether a file holds a model's code, rather than torch's or the tracing code."""
    return not path.startswith((_TORCH, "<frozen", "<eval_with_key", *_TRACING))


def module_path(scope: str) -> str:
    """The submodule that a trace's scope names: ``"__module.a/__module.a.b"`` → ``"a.b"``."""
    return scope.rsplit("/", 1)[-1].partition(".")[2]
