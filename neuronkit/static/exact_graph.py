"""The values that flow through a network on a padded canvas, and the builder of the graph that computes them."""

from __future__ import annotations

import copy
import enum
import inspect
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from torch import Tensor, fx, nn

from neuronkit.errors import SpecError
from neuronkit.static import exact_runtime as runtime
from neuronkit.static.exact_sizes import BATCH, MIXED, SAMPLE, Dim, Extent
from neuronkit.static.exact_trace import PATH, path_in


class Fill(enum.IntEnum):
    """What a tensor holds outside its valid area, from the best known to the least."""

    ZERO = 0
    FINITE = 1
    ANYTHING = 2


@dataclass(eq=False)
class Value:
    """A tensor of the network.

    Attributes:
        node: Computes it.
        dims: What each dimension is; None where not even their number is known, which no varying tensor may be.
        fill: What lies outside the valid area.
        storage: Shared by views of one another, which an in-place operator would change together.
    """

    node: fx.Node
    dims: tuple[Dim, ...] | None
    fill: Fill = Fill.FINITE
    storage: object = field(default_factory=object)
    zeroed: fx.Node | None = None

    @property
    def varying(self) -> tuple[int, ...]:
        """The dimensions whose valid size varies."""
        return tuple(i for i, dim in enumerate(self.dims or ()) if isinstance(dim, Extent))


class Size:
    """A number that Python code took from a tensor's shape.

    Args:
        dim: Which size it is, as a dimension.
        make: Makes the node that computes it for the canvas.
    """

    def __init__(self, dim: Dim, make: Callable[[], fx.Node]) -> None:
        self.dim = dim
        self._make = make
        self._node: fx.Node | None = None

    @property
    def node(self) -> fx.Node:
        if self._node is None:
            self._node = self._make()
        return self._node

    @property
    def varies(self) -> bool:
        return isinstance(self.dim, Extent) or self.dim is MIXED


@dataclass(eq=False)
class Pieces:
    """Several tensors in one node, as `chunk` or `max` return them.

    Attributes:
        node: Computes them.
        piece: What each of them is.
    """

    node: fx.Node
    piece: Value

    def take(self, builder: Builder, index: int) -> Value:
        node = builder.emit(operator.getitem, self.node, index)
        return Value(node, self.piece.dims, self.piece.fill, self.piece.storage)


@dataclass(eq=False)
class Opaque:
    """A value that is neither tensor nor size, such as a dtype or a device."""

    node: fx.Node


class Refused(Exception):
    """A rule's reason why it cannot rewrite an operator."""


@dataclass(frozen=True)
class Table:
    """A constant of the graph that depends on the canvas.

    Attributes:
        kind: "thresholds" of a varying dimension, or "positions": 0, 1, 2, ... along any.
        dim: The dimension.
    """

    kind: str
    dim: Extent | int
    name: str

    def compute(self, canvas: tuple[int, int]) -> npt.NDArray[Any]:
        if isinstance(self.dim, int):
            return np.arange(self.dim, dtype=np.int32)
        size = canvas[self.dim.source]
        if self.kind == "thresholds":
            return self.dim.thresholds(size)
        return np.arange(self.dim.at(size), dtype=np.int32)


@dataclass(frozen=True)
class Agreement:
    """Two sizes that the network needs to be equal, and that are not for every input.

    Attributes:
        left: One of them.
        right: The other.
        where: The node that joins them.
    """

    left: Extent
    right: Extent
    where: str

    def holds(self, size: tuple[int, int]) -> bool:
        n = size[self.left.source]
        return self.left.at(n) == self.right.at(n)


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


class Builder:
    """Builds the exact graph, node by node, in the order of the traced one.

    Attributes:
        graph: What has been built.
        attributes: Modules and tensors that it calls and reads, by target.
        tables: Its constants that depend on the canvas.
        agreements: Sizes that must be equal for an input to fit the network.
        runnable: The sizes of `SAMPLE`, per source, for which the network itself can run.
    """

    def __init__(self) -> None:
        self.graph = fx.Graph()
        self.attributes: dict[str, Any] = {}
        self.tables: list[Table] = []
        self.agreements: list[Agreement] = []
        self.runnable = [np.ones(len(SAMPLE), dtype=np.bool_) for _ in range(2)]
        self.images = self.graph.placeholder("images")
        self.valid_size = self.graph.placeholder("valid_size")
        self._last_placeholder = self.valid_size
        self._memo: dict[Any, fx.Node] = {}

    def emit(self, function: Callable[..., Any], *args: Any) -> fx.Node:
        """Add a call of a function; values and sizes stand for their nodes."""
        return self.graph.call_function(function, to_nodes(args))

    def emit_once(self, function: Callable[..., Any], *args: Any, key: Any) -> fx.Node:
        """Add a call, or give the node of the same call before."""
        key = (function, key)
        if key not in self._memo:
            self._memo[key] = self.emit(function, *args)
        return self._memo[key]

    def emit_call(self, call: Call, replaced: Mapping[Value, fx.Node]) -> fx.Node:
        args, kwargs = to_nodes(call.args, replaced), to_nodes(call.kwargs, replaced)
        if call.module is not None:
            settings = {"inplace": False} if getattr(call.module, "inplace", False) else {}
            if settings and self._may_overwrite(call.module, args[0]):
                settings = {}
            return self.graph.call_module(self.adopt(call.path, call.module, **settings), args, kwargs)
        if call.node.op == "call_method":
            return self.graph.call_method(call.target, args, kwargs)
        args, kwargs = _out_of_place(call.target, args, kwargs)
        return self.graph.call_function(call.target, args, kwargs)

    def _may_overwrite(self, activation: nn.Module, node: fx.Node) -> bool:
        """Whether an in-place ReLU may stay one, which saves memory traffic: what it overwrites is a layer's own output
        that nothing else has read, and that nothing reads later under its old content.
        """
        if not isinstance(activation, (nn.ReLU, nn.ReLU6)) or node.op != "call_module" or node.users:
            return False
        return isinstance(self.attributes[str(node.target)], (nn.Conv2d, nn.BatchNorm2d, nn.Linear))

    def adopt(self, target: str, module: nn.Module, **changed: Any) -> str:
        """Give the graph a module, sharing its weights; where settings differ, a shallow copy of it.

        Returns:
            The target to call it by.
        """
        if changed:
            module = copy.copy(module)
            for name, value in changed.items():
                setattr(module, name, value)
            target = f"{target}_{'_'.join(changed)}"
        self.attributes.setdefault(target, module)
        return target

    def attribute(self, value: Tensor | None) -> fx.Node | None:
        """The node of a parameter, a buffer or a constant; None if there is none."""
        if value is None:
            return None
        key = ("attribute", id(value))
        if key not in self._memo:
            target = f"tensor_{len(self.attributes)}"
            self.attributes[target] = value
            # Not Graph.get_attr(), which warns when it is called before there is a module.
            self._memo[key] = self.graph.create_node("get_attr", target)
        return self._memo[key]

    def table(self, kind: str, dim: Extent | int) -> fx.Node:
        key = (kind, dim.key if isinstance(dim, Extent) else dim)
        if key not in self._memo:
            name = f"table_{len(self.tables)}"
            with self.graph.inserting_after(self._last_placeholder):
                node = self.graph.placeholder(name)
            self._last_placeholder = self._memo[key] = node
            self.tables.append(Table(kind, dim, name))
        return self._memo[key]

    def valid(self, dim: Extent) -> fx.Node:
        """Which entries are valid along a dimension: (N, L) bool."""
        if not dim.is_monotone(self.runnable[dim.source]):
            raise Refused("gives a smaller output for some larger inputs")
        thresholds = self.table("thresholds", dim)
        return self.emit_once(runtime.valid, self.valid_size, dim.source, thresholds, key=dim.key)

    def size(self, dim: Dim) -> fx.Node:
        """Number of valid entries along a dimension, for each row: (N, 1) or (1, 1) float."""
        if isinstance(dim, Extent):
            return self.emit_once(runtime.size, self.valid(dim), self.images, key=dim.key)
        if isinstance(dim, int):
            return self.emit_once(runtime.constant_size, self.images, dim, key=dim)
        raise Refused("needs a size that is not known here")

    def count(self, dim: Extent) -> fx.Node:
        """Number of valid entries along a dimension, for each row: (N, 1) int32."""
        return self.emit_once(runtime.count, self.valid(dim), key=dim.key)

    def positions(self, dim: Dim) -> fx.Node:
        """0, 1, 2, ... along a dimension: (L,) int32."""
        if isinstance(dim, (Extent, int)):
            return self.table("positions", dim)
        raise Refused("needs a size that is not known here")

    def mask(self, value: Value, only: Iterable[int] | None = None) -> fx.Node:
        """1 inside the valid area of a tensor, 0 outside; over all of its varying dimensions, or some."""
        dims = value.dims or ()
        chosen = [(i, dim) for i, dim in enumerate(dims) if isinstance(dim, Extent) and (only is None or i in only)]
        key = (len(dims), tuple((i, dim.key) for i, dim in chosen))
        valids = [self.valid(dim) for _, dim in chosen]
        return self.emit_once(runtime.mask, self.images, len(dims), [i for i, _ in chosen], valids, key=key)

    def zeroed(self, value: Value) -> fx.Node:
        """The tensor with zeros outside its valid area."""
        if value.fill is Fill.ZERO or not value.varying:
            return value.node
        if value.zeroed is None:
            function = runtime.replace_outside if value.fill is Fill.ANYTHING else runtime.zero_outside
            value.zeroed = self.emit(function, value.node, self.mask(value))
        return value.zeroed

    def lowered(self, value: Value, sign: float = 1.0) -> fx.Node:
        """The tensor with values outside its valid area that lose every maximum (with sign -1, every minimum)."""
        if not value.varying:
            return value.node
        mask = self.mask(value)
        outside = self.emit_once(runtime.lowest, mask, sign, key=(mask, sign))
        return self.emit(operator.add, self.zeroed(value), outside)

    def agree(self, left: Extent, right: Extent, call: Call) -> Extent:
        """The size of two that the network needs to be equal."""
        if left.source != right.source:
            raise Refused("joins a dimension that follows the height with one that follows the width")
        runnable = self.runnable[left.source]
        equal = left.values == right.values
        if not equal[runnable].any():
            raise Refused("joins maps whose sizes differ for every size of the input")
        if not equal[runnable].all():
            self.agreements.append(Agreement(left, right, describe(call.node)))
            self.runnable[left.source] = runnable & equal
        return left

    def drop_unused(self) -> None:
        """Erase what no output needs."""
        for node in reversed(list(self.graph.nodes)):
            if not node.users and node.op not in ("placeholder", "output"):
                self.graph.erase_node(node)
        for node in [node for node in self.graph.nodes if node.op == "placeholder" and not node.users]:
            if node not in (self.images, self.valid_size):
                self.tables = [table for table in self.tables if table.name != node.target]
                self.graph.erase_node(node)

    def output(self, node: fx.Node, dims: Sequence[Dim] | None, fill: Fill = Fill.FINITE, **kwargs: Any) -> Value:
        """Wrap a node; sizes for which a dimension would vanish are no sizes that the network can run."""
        for dim in dims or ():
            if isinstance(dim, Extent):
                self.runnable[dim.source] &= dim.values > 0
        value = Value(node, None if dims is None else tuple(dims), fill, **kwargs)
        if value.varying and (value.dims or ())[0] is not BATCH:
            raise Refused("moves the batch away from the first dimension")
        return value


def to_nodes(tree: Any, replaced: Mapping[Value, fx.Node] | None = None) -> Any:
    """Replace values and sizes by their nodes, in any nesting of tuples, lists, dicts and slices."""
    if isinstance(tree, Value):
        return (replaced or {}).get(tree, tree.node)
    if isinstance(tree, (Size, Opaque, Pieces)):
        return tree.node
    if isinstance(tree, slice):
        return slice(*(to_nodes(part, replaced) for part in (tree.start, tree.stop, tree.step)))
    if isinstance(tree, (tuple, list)):
        return type(tree)(to_nodes(item, replaced) for item in tree)
    if isinstance(tree, dict):
        return {key: to_nodes(item, replaced) for key, item in tree.items()}
    return tree


def find(tree: Any, kind: type) -> list[Any]:
    """Everything of a type, in any nesting of tuples, lists, dicts and slices."""
    if isinstance(tree, kind):
        return [tree]
    if isinstance(tree, slice):
        tree = (tree.start, tree.stop, tree.step)
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    return [found for item in tree for found in find(item, kind)] if isinstance(tree, (tuple, list)) else []


def describe(node: fx.Node) -> str:
    """Name a traced node in the words of the caller's code."""
    where = path_in(node.meta.get(PATH) or "network")
    if node.op == "call_module":
        return f"{node.name!r} (module {path_in(str(node.target))!r})"
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    return f"{node.name!r} ({name} in {'its forward' if where == 'network' else repr(where)})"


def refusal(root: nn.Module, node: fx.Node, reason: str) -> SpecError:
    return SpecError(
        f"exact_padding cannot rewrite {type(root).__name__}: node {describe(node)} {reason}. The result on a padded "
        "canvas would differ from that on the image alone; leave this part out of the module, or compile the sizes "
        "you serve and join them with neuronkit.Buckets"
    )


def _out_of_place(target: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Turn `inplace=True` off, wherever the function takes it."""
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return args, kwargs
    names = list(parameters)
    if "inplace" not in names:
        return args, kwargs
    position = names.index("inplace")
    kwargs = {**kwargs, "inplace": False}
    return (*args[:position], *args[position + 1 :]), kwargs
