"""Following a module's forward symbolically, in-place operators included."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from neuronkit.errors import SpecError
from neuronkit.static.model import eval_mode

PATH = "neuronkit_path"

# torch.fx records `x += y` as `x + y`, and so forgets that other names of x see the change.
INPLACE_OPERATORS = {
    f"__{name}__": getattr(operator, name)
    for name in ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor", "imatmul")
}


class _Proxy(fx.Proxy):
    """A proxy that records in-place operators as such."""

    def __setitem__(self, key: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, key, value), {})


def _recorder(function: Callable[..., Any]) -> Callable[..., Any]:
    def record(self: _Proxy, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return record


for _name, _function in INPLACE_OPERATORS.items():
    setattr(_Proxy, _name, _recorder(_function))


class Tracer(fx.Tracer):
    """Traces as torch.fx does, and notes which module each node comes from."""

    def __init__(self) -> None:
        super().__init__()
        self._paths: list[str] = [""]
        self._depth = 0
        self.failed_at = ""
        self.returned: type = object

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
        graph: The calls, in order.
        constants: Tensors that the module's code makes, by the name under which the graph asks for them.
        returned: Type of what forward returns.
    """

    graph: fx.Graph
    constants: dict[str, Any]
    returned: type


def trace(module: nn.Module) -> Traced:
    """Follow a module's forward, in eval mode.

    Raises:
        SpecError: If Python needs a value of the input to go on.
    """
    tracer = Tracer()
    stores: tuple[dict[str, Any], ...] = (vars(module), module._parameters, module._buffers)
    before = [set(store) for store in stores]
    constants: dict[str, Any] = {}
    try:
        with eval_mode(module):
            graph = tracer.trace(module)
    except Exception as error:  # Whatever the module's code raises when it meets a proxy in place of a tensor.
        where = tracer.failed_at or "its forward"
        raise SpecError(
            f"exact_padding cannot follow {type(module).__name__}: {type(error).__name__}: {error} (in {where}). "
            "torch.fx must be able to trace the module: no Python branch or loop may depend on the input or its size. "
            "Move such code out of the module, or wrap the part that convolves"
        ) from error
    finally:
        # torch.fx leaves tensors made in forward on the module; the caller's module stays as it was.
        for store, names in zip(stores, before):
            constants.update({name: store.pop(name) for name in set(store) - names})
    return Traced(graph, constants, tracer.returned)
