"""Following a module's forward symbolically, in-place operators included."""

from __future__ import annotations

import builtins
import contextlib
import dis
import functools
import operator
import os
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from neuronkit.capture.tracing import capturing
from neuronkit.errors import SpecError
from neuronkit.static.original import eval_mode

PATH = "neuronkit_path"

# torch.fx records `x += y` as `x + y`, which loses the change for other names of x.
INPLACE_OPERATORS = {
    f"__{name}__": getattr(operator, name)
    for name in ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor", "imatmul")
}


class _Proxy(fx.Proxy):
    """A proxy that records in-place operators as such."""

    def __setitem__(self, key: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, key, value), {})

    def __bool__(self) -> bool:
        if not _is_asserted(sys._getframe(1)):
            return super().__bool__()
        # torch.fx has this too, for the byte code of older Pythons.
        self.tracer.create_proxy("call_function", torch._assert, (self, ""), {})
        return True


def _is_asserted(frame: types.FrameType) -> bool:
    """Whether a condition that a frame evaluates is that of an assert statement."""
    code = list(dis.get_instructions(frame.f_code))
    place = next(i for i, instruction in enumerate(code) if instruction.offset == frame.f_lasti)
    # Some releases convert to bool in an instruction of its own.
    for i, instruction in enumerate(code[place : place + 4], start=place):
        if "JUMP" in instruction.opname:
            failed = code[i + 1] if "IF_TRUE" in instruction.opname else _at(code, instruction.argval)
            return failed.opname == "LOAD_ASSERTION_ERROR"
    return False


def _at(code: list[dis.Instruction], offset: int) -> dis.Instruction:
    return next(instruction for instruction in code if instruction.offset == offset)


def _recorder(function: Callable[..., Any]) -> Callable[..., Any]:
    def record(self: _Proxy, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return record


for _name, _function in INPLACE_OPERATORS.items():
    setattr(_Proxy, _name, _recorder(_function))


# Functions that torch.fx does not record: argument parsers that take no proxy for a number, most of them in torch 1.13.
# Python's max and min compare, which needs the values of proxies.
_UNRECORDED = (
    (F, "pad"), (F, "avg_pool2d"), (torch, "reshape"), (torch, "broadcast_to"), (torch, "tile"), (torch, "zeros"),
    (builtins, "max"), (builtins, "min"),
)  # fmt: skip


@contextlib.contextmanager
def _recording_calls() -> Iterator[None]:
    """Let functions record themselves when they are called with proxies; torch.fx patches others likewise."""
    originals = [(space, name, getattr(space, name)) for space, name in _UNRECORDED]
    try:
        for space, name, original in originals:
            setattr(space, name, _recording(original))
        yield
    finally:
        for space, name, original in originals:
            setattr(space, name, original)


def _recording(function: Callable[..., Any]) -> Callable[..., Any]:
    thread = threading.get_ident()

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != thread:
            return function(*args, **kwargs)
        proxies: list[fx.Proxy] = []
        fx.node.map_aggregate((args, kwargs), lambda a: proxies.append(a) if isinstance(a, fx.Proxy) else None)
        if proxies:
            return proxies[0].tracer.create_proxy("call_function", function, args, kwargs)
        return function(*args, **kwargs)

    return call


@contextlib.contextmanager
def _left_as_it_was(module: nn.Module) -> Iterator[None]:
    """Undo what the module's own code does to its attributes and buffers, as a counter of calls does."""
    attributes = [(part, dict(vars(part))) for part in module.modules()]
    tables = [
        (table, dict(table)) for part, _ in attributes for table in (part._buffers, part._parameters, part._modules)
    ]
    contents = [(buffer, buffer._version, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for held, before in [*((vars(part), kept) for part, kept in attributes), *tables]:
            _put_back(held, before)
        with torch.no_grad():
            for buffer, version, content in contents:
                if buffer._version != version:
                    buffer.copy_(content)


def _put_back(held: dict[str, Any], before: dict[str, Any]) -> None:
    """Undo changes of a table, and touch no more of it than was changed: other threads may be reading it."""
    for name in held.keys() - before.keys():
        del held[name]
    for name, value in before.items():
        if name not in held or held[name] is not value:
            held[name] = value
    if list(held) != list(before):
        # Something was taken out and has come back behind the others.
        for name in before:
            held[name] = held.pop(name)


class Tracer(fx.Tracer):
    """Traces as torch.fx does, and notes which module each node comes from."""

    def __init__(self, leaves: tuple[type[nn.Module], ...]) -> None:
        super().__init__()
        self._leaves = leaves
        self._paths: list[str] = [""]
        self._depth = 0
        self.failed_at = ""
        self.returned: type = object

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self._leaves) or super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        self._paths.append(self.path_of_module(m))
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            self.failed_at = self.failed_at or self._paths[-1]
            raise
        finally:
            self._paths.pop()

    def create_arg(self, a: Any) -> Any:
        # torch.fx turns every mapping into a dict; what is converted last is what the module returns.
        if self._depth == 0:
            self.returned = type(a)
        self._depth += 1
        try:
            return super().create_arg(a)
        finally:
            self._depth -= 1

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        node.meta[PATH] = self._paths[-1]
        return node


@dataclass(frozen=True)
class Traced:
    """A module's forward, followed symbolically.

    Attributes:
        root: Holds the module as ``network``, and the tensors that its code makes.
        graph: The calls, in order.
        returned: Type of what forward returns.
    """

    root: nn.Module
    graph: fx.Graph
    returned: type


class Root(nn.Module):
    """Calls a module with images alone: arguments that have a default take it, and constants land here, not there."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> Any:
        return self.network(images)


def path_in(target: str) -> str:
    """A path within the network, of one within `Root`."""
    return target.removeprefix("network.")


def trace(module: nn.Module, leaves: tuple[type[nn.Module], ...] = ()) -> Traced:
    """Follow a module's forward, in eval mode.

    Args:
        module: Called with images.
        leaves: Classes of modules whose own forward is not looked into, besides those of torch.

    Raises:
        SpecError: If Python needs a value of the input to go on.
    """
    tracer, root = Tracer(leaves), Root(module)
    try:
        with capturing(), eval_mode(module), _left_as_it_was(module), _recording_calls():
            graph = tracer.trace(root)
    except Exception as error:  # Whatever the module's code raises when it meets a proxy in place of a tensor.
        where = path_in(tracer.failed_at)
        raise SpecError(
            f"exact_padding cannot follow {type(module).__name__}: {type(error).__name__}: {error} "
            f"(in {'its forward' if where == 'network' else repr(where)}{_line(error)}). torch.fx must be able to "
            "trace the module when it is called with images alone: no Python branch or loop may depend on them or on "
            f"their size. {way_out(module, 'Move such code out of the module, or give the part that convolves')}"
        ) from error
    return Traced(root, graph, tracer.returned)


_LEAVE_OUT = (
    "Leave this part out of the module, or compile each size that you serve, the module as it is, and join them with "
    "neuronkit.Buckets"
)


def way_out(module: nn.Module, otherwise: str = _LEAVE_OUT) -> str:
    """What to do about a module that is refused, where its kind is known; `otherwise` where not."""
    classes = [cls.__name__ for cls in type(module).__mro__]
    if "LightningModule" in classes:
        held = [name for name, part in module.named_children() if any(True for _ in part.parameters())]
        name = "model" if "model" in held or not held else held[0]
        return f"A LightningModule holds the network beside its training: give that, model.{name}"
    if type(module).__module__.startswith("doctr.") and getattr(module, "exportable", True) is False:
        return "docTR leaves its post-processing out of a model that is made with exportable=True: give such a one"
    if any(
        "DeformConv" in type(part).__name__ or "ModulatedDeform" in type(part).__name__ for part in module.modules()
    ):
        return (
            "Its deformable convolutions sample where they are told to, across the border of the image, and no Neuron "
            "compiler takes them: EasyOCR's detect_network='dbnet18' is such a model. Take CRAFT, "
            "detect_network='craft', or a detector of docTR"
        )
    if any("WindowAttention" in type(part).__name__ for part in module.modules()):
        return (
            "Window attention divides the image into a grid that depends on its size: compile each size that you "
            "serve, the module as it is, and join them with neuronkit.Buckets"
        )
    return otherwise


def _line(error: Exception) -> str:
    """``, file:line`` of the caller's innermost frame in a traceback, empty if there is none."""
    own = (os.path.dirname(torch.__file__) + os.sep, os.path.abspath(__file__))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(own)]
    return f", {frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def describe(node: fx.Node) -> str:
    """Name a traced node in the words of the caller's code."""
    where = path_in(node.meta.get(PATH) or "network")
    if node.op == "call_module":
        return f"{node.name!r} (module {path_in(str(node.target))!r})"
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    return f"{node.name!r} ({name} in {'its forward' if where == 'network' else repr(where)})"
