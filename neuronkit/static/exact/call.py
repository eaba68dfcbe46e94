"""One call of the traced network, as a rule sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from torch import fx, nn

from neuronkit.static.exact.sizes import Extent
from neuronkit.static.exact.trace import path_in
from neuronkit.static.exact.values import Refused, Value

if TYPE_CHECKING:
    from neuronkit.static.exact.builder import Builder


class Call:
    """One call in the traced network, with the values it is given.

    Attributes:
        builder: Where its replacement is built.
        node: The call as traced.
        args: Positional arguments, tensors as `Value`, sizes as `Size`.
        kwargs: Keyword arguments, likewise.
        module: The module called, or None for functions and methods.
        target: The function, or the method's name, out of place.
        name: The rule's name.
    """

    def __init__(
        self,
        builder: Builder,
        node: fx.Node,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        module: nn.Module | None,
        target: Any,
        name: str,
    ) -> None:
        self.builder = builder
        self.node = node
        self.args = args
        self.kwargs = kwargs
        self.module = module
        self.target = target
        self.name = name

    def refuse(self, reason: str) -> NoReturn:
        raise Refused(reason)

    def read(self, *names: str, **defaults: Any) -> list[Any]:
        """The arguments of these names, after the first, from the module's attributes or from the call.

        Args:
            names: In the order of the function's parameters after its input.
            defaults: Values of those that may be left out.
        """
        if self.module is not None:
            return [getattr(self.module, name, defaults.get(name)) for name in names]
        found = dict(zip(names, self.args[1:]))
        found.update({name: value for name, value in self.kwargs.items() if name in names})
        missing = [name for name in names if name not in found and name not in defaults]
        if missing:
            self.refuse(f"is called without {missing[0]}")
        return [found.get(name, defaults.get(name)) for name in names]

    @property
    def path(self) -> str:
        """Where the called module is in the network."""
        return path_in(str(self.node.target))

    @property
    def input(self) -> Value:
        """The first argument, which must be a tensor."""
        given = self.args[0] if self.args else next(iter(self.kwargs.values()), None)
        if not isinstance(given, Value):
            self.refuse("is given something else than a tensor of the network")
        return given

    def image(self) -> Value:
        """The first argument, as a batch of maps (N, C, H, W)."""
        x = self.input
        if x.dims is None or len(x.dims) != 4 or any(isinstance(dim, Extent) for dim in x.dims[:2]):
            self.refuse("needs a batch of maps (N, C, H, W), height and width last")
        return x

    def again(self, replaced: Mapping[Value, fx.Node] | None = None) -> fx.Node:
        """Emit the same call, with some tensors replaced, and never in place."""
        return self.builder.emit_call(self, replaced or {})

    def emit(self, function: Callable[..., Any], *args: Any) -> fx.Node:
        return self.builder.emit(function, *args)
