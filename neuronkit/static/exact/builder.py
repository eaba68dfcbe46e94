"""The builder of the graph that computes on a padded canvas, and the calls that it is built from."""

from __future__ import annotations

import copy
import inspect
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from torch import Tensor, fx, nn

from neuronkit.static.exact import runtime
from neuronkit.static.exact.masking import is_own_memory, masked_convolution, zero_own
from neuronkit.static.exact.sizes import SAMPLE, Dim, Extent, Sizes
from neuronkit.static.exact.trace import path_in
from neuronkit.static.exact.values import Fill, Refused, Requirement, Size, Table, Value, to_nodes


class Builder:
    """Builds the exact graph, node by node, in the order of the traced one.

    Attributes:
        graph: What has been built.
        attributes: Modules and tensors that it calls and reads, by target.
        tables: Its constants that depend on the canvas.
        requirements: What an image must be for the network itself to run.
        where: The traced node that is being rewritten, in words.
        runnable: The sizes of `SAMPLE`, per source, for which the network itself can run.

    Args:
        sources: What the columns of the valid sizes are: `HEIGHT`, `WIDTH` or both.
    """

    def __init__(self, sources: Sequence[int]) -> None:
        self._columns = {source: column for column, source in enumerate(sources)}
        self.graph = fx.Graph()
        self.attributes: dict[str, Any] = {}
        self.tables: list[Table] = []
        self.requirements: list[Requirement] = []
        self.where = ""
        self.runnable = [np.ones(len(SAMPLE), dtype=np.bool_) for _ in range(2)]
        self.images = self.graph.placeholder("images")
        self.valid_size = self.graph.placeholder("valid_size")
        self._last_placeholder = self.valid_size
        self._memo: dict[Any, fx.Node] = {}

    def emit(self, function: Callable[..., Any], *args: Any) -> fx.Node:
        """Add a call of a function, with the nodes of values and sizes in their place."""
        return self.graph.call_function(function, to_nodes(args))

    def emit_once(self, function: Callable[..., Any], *args: Any, key: Any) -> fx.Node:
        """Add a call, or give the node of the same call before."""
        key = (function, key)
        if key not in self._memo:
            self._memo[key] = self.emit(function, *args)
        return self._memo[key]

    def emit_part(self, part: nn.Module, *args: Any) -> fx.Node:
        """Add a call of a module that is not the network's own."""
        return self.graph.call_module(self.adopt(f"part_{len(self.attributes)}", part), to_nodes(args))

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

    def weight(self, tensor: Tensor) -> Value:
        """A parameter or a buffer as a value."""
        node = self.attribute(tensor)
        assert node is not None
        return Value(node, tuple(tensor.shape), constant=tensor.detach())

    def table(self, compute: Callable[[tuple[int, int]], npt.NDArray[Any]], key: Any) -> fx.Node:
        """A constant that depends on the canvas; the same for the same key."""
        key = ("table", key)
        if key not in self._memo:
            name = f"table_{len(self.tables)}"
            with self.graph.inserting_after(self._last_placeholder):
                node = self.graph.placeholder(name)
            self._last_placeholder = self._memo[key] = node
            self.tables.append(Table(name, compute))
        return self._memo[key]

    def of_size(self, compute: Callable[[Sizes], npt.NDArray[Any]], source: int, key: Any) -> fx.Node:
        """A number for each row, looked up by its height or width, without arithmetic that a device may round.

        Args:
            compute: Gives it for an array of sizes.
            source: `HEIGHT` or `WIDTH`.
            key: The same for the same function.

        Returns:
            (N, 1), of the dtype that `compute` gives.
        """
        sizes = self.table(lambda canvas: np.arange(1, canvas[source] + 1, dtype=np.int32), ("sizes", source))
        values = self.table(lambda canvas: compute(np.arange(1, canvas[source] + 1)), key)
        return self.emit_once(runtime.look_up, self.valid_size, self._columns[source], sizes, values, key=key)

    def valid(self, dim: Extent) -> fx.Node:
        """Which entries are valid along a dimension: (N, L) bool."""
        if not dim.is_monotone(self.runnable[dim.source]):
            raise Refused("gives a smaller output for some larger inputs")
        thresholds = self.table(lambda canvas: dim.thresholds(canvas[dim.source]), ("thresholds", dim.key))
        return self.emit_once(runtime.valid, self.valid_size, self._columns[dim.source], thresholds, key=dim.key)

    def size(self, dim: Dim) -> fx.Node:
        """Number of valid entries along a dimension, for each row: (N, 1) or (1, 1) float."""
        if isinstance(dim, Extent):
            return self.emit_once(runtime.size, self.valid(dim), self.images, key=dim.key)
        if isinstance(dim, int):
            return self.emit_once(runtime.constant_size, self.images, dim, key=dim)
        raise Refused("needs a size that is not known here")

    def count(self, dim: Dim) -> fx.Node:
        """Number of valid entries along a dimension, for each row: (N, 1) or (1, 1) int32."""
        if isinstance(dim, Extent):
            return self.emit_once(runtime.count, self.valid(dim), key=dim.key)
        if isinstance(dim, int):
            return self.emit_once(runtime.constant_count, self.images, dim, key=dim)
        raise Refused("needs a size that is not known here")

    def positions(self, dim: Dim) -> fx.Node:
        """0, 1, 2, ... along a dimension: (L,) int32."""
        if isinstance(dim, Extent):
            return self.table(lambda canvas: _count_up(dim.at(canvas[dim.source])), ("positions", dim.key))
        if isinstance(dim, int):
            return self.table(lambda _: _count_up(dim), ("positions", dim))
        raise Refused("needs a size that is not known here")

    def mask(self, value: Value, only: Iterable[int] | None = None) -> fx.Node:
        """1 inside the valid area of a tensor, 0 outside; over all of its varying dimensions, or some."""
        dims = value.dims or ()
        chosen = [(i, dim) for i, dim in enumerate(dims) if isinstance(dim, Extent) and (only is None or i in only)]
        batch = value.batch or 0
        key = (len(dims), batch, tuple((i, dim.key) for i, dim in chosen))
        valids = [self.valid(dim) for _, dim in chosen]
        return self.emit_once(runtime.mask, self.images, len(dims), [i for i, _ in chosen], valids, batch, key=key)

    def zeroed(self, value: Value) -> fx.Node:
        """The tensor with zeros outside its valid area."""
        if value.fill is Fill.ZERO or not value.varying:
            return value.node
        mask = self.mask(value)
        masked = masked_convolution(value.node, self.attributes)
        if value.fill is Fill.ANYTHING:
            function = runtime.replace_outside
        elif masked is not None:
            value.node, value.fill = self.emit_part(masked[1], masked[0], mask), Fill.ZERO
            return value.node
        else:
            owned = value.batch is not None and is_own_memory(value.node, self.attributes)
            function = zero_own if owned else runtime.zero_outside
        node = self.emit(function, value.node, mask)
        # From here on the network reads it so: what is made of it is zero outside more often.
        value.node, value.fill = node, Fill.ZERO
        return node

    def lowered(self, value: Value, sign: float = 1.0) -> fx.Node:
        """The tensor with values outside its valid area that never are the maximum (with sign -1, the minimum)."""
        if value.nonnegative and sign > 0:
            return self.zeroed(value)
        return self.excluded(value, sign)

    def excluded(self, value: Value, sign: float = 1.0) -> fx.Node:
        """The same, with values that are below 0 even where the tensor has no negative values."""
        if not value.varying:
            return value.node
        mask = self.mask(value)
        outside = self.emit_once(runtime.lowest, mask, sign, key=(mask, sign))
        return self.emit(operator.add, self.zeroed(value), outside)

    def require(
        self, unmet: Callable[[tuple[int, int]], str | None], met: Callable[[tuple[Sizes, Sizes]], Any]
    ) -> None:
        """Note what the node that is being rewritten needs of an image's size; see `Requirement`."""
        self.requirements.append(Requirement(self.where, unmet, met))

    def require_size(self, dim: Extent, fits: Callable[[Sizes], Any], reason: str) -> None:
        """Note that a size must pass a test; `reason` is formatted with the size."""
        met = np.asarray(fits(dim.values), dtype=np.bool_)
        if not met.all():
            self.runnable[dim.source] &= met

            def unmet(size: tuple[int, int]) -> str | None:
                n = dim.at(size[dim.source])
                return None if fits(np.array([n])).all() else reason.format(n)

            self.require(unmet, lambda sizes: fits(dim.function(sizes[dim.source])))

    def agree(self, left: Extent, right: Extent) -> Extent:
        """The size of two that the network needs to be equal."""
        if left.source != right.source:
            raise Refused("joins a dimension that follows the height with one that follows the width")
        runnable = self.runnable[left.source]
        equal = left.values == right.values
        if not equal[runnable].any():
            raise Refused("joins maps whose sizes differ for every size of the input")
        if not equal[runnable].all():

            def unmet(size: tuple[int, int]) -> str | None:
                a, b = (dim.at(size[dim.source]) for dim in (left, right))
                return None if a == b else f"joins sizes {a} and {b}. Take a multiple of its stride"

            self.require(unmet, lambda sizes: left.function(sizes[left.source]) == right.function(sizes[right.source]))
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
        """Wrap a node; sizes for which a dimension would vanish are not sizes that the network can run."""
        for dim in dims or ():
            if isinstance(dim, Extent):
                self.require_size(dim, lambda n: n > 0, "has nothing left to give. Take a larger image")
        return Value(node, None if dims is None else tuple(dims), fill, **kwargs)


# `Call.same` without dimensions keeps those of the input.
_SAME: Any = object()


class Call:
    """One call of the traced network, as a rule sees it: a module's call and a function's look alike.

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

    def settings(self, parameters: Iterable[inspect.Parameter]) -> dict[str, Any]:
        """Values for a rule's parameters, which are named as the function's are, after its input.

        A module has them in its attributes, weights among them; a function in its arguments.
        """
        names = [parameter.name for parameter in parameters]
        if self.module is not None:
            held = {name: getattr(self.module, name) for name in names if hasattr(self.module, name)}
            found = {name: self.builder.weight(v) if isinstance(v, Tensor) else v for name, v in held.items()}
        else:
            found = dict(zip(names, self.args[1:]))
            found.update({name: value for name, value in self.kwargs.items() if name in names})
        for parameter in parameters:
            if found.setdefault(parameter.name, parameter.default) is inspect.Parameter.empty:
                self.refuse(f"is called without {parameter.name}")
        return found

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

    @property
    def tensors(self) -> list[Value]:
        """The arguments that are tensors."""
        return [a for a in (*self.args, *self.kwargs.values()) if isinstance(a, Value)]

    def image(self) -> tuple[Value, tuple[Dim, ...]]:
        """The first argument, as a batch of maps (N, C, H, W), and its dimensions."""
        x = self.input
        if x.dims is None or len(x.dims) != 4 or any(isinstance(dim, Extent) for dim in x.dims[:2]):
            self.refuse("needs a batch of maps (N, C, H, W), height and width last")
        return x, x.dims

    def number(self, size: Any) -> Any:
        """A size as a number, where it is the same for every input that the network can run."""
        if isinstance(size, Size) and isinstance(size.dim, Extent):
            values = size.dim.values[self.builder.runnable[size.dim.source]]
            return int(values[0]) if len(values) and (values == values[0]).all() else size
        return size.dim if isinstance(size, Size) and isinstance(size.dim, int) else size

    def same(
        self,
        dims: Sequence[Dim] | None = _SAME,
        fill: Fill | None = None,
        *,
        given: fx.Node | None = None,
        storage: object = None,
    ) -> Value:
        """Make the same call in the new graph, never in place.

        Args:
            dims: The result's dimensions, None where they are not known; those of the input if left out.
            fill: What the result holds outside its valid area; as much as the input, but no zeros, if left out.
            given: Stands for the input.
            storage: Of the input, where the result is a view of it.
        """
        x = self.tensors[0] if self.tensors else self.input
        node = self.again({x: given} if given is not None else {})
        fill = max(x.fill, Fill.FINITE) if fill is None else fill
        shared = {} if storage is None else {"storage": storage}
        return self.builder.output(node, x.dims if dims is _SAME else dims, fill, **shared)

    def again(self, replaced: Mapping[Value, fx.Node] | None = None) -> fx.Node:
        """Emit the same call, with some tensors replaced, and never in place."""
        return self.builder.emit_call(self, replaced or {})

    def emit(self, function: Callable[..., Any], *args: Any) -> fx.Node:
        """Add a call of a function to the new graph."""
        return self.builder.emit(function, *args)


def _count_up(size: int) -> npt.NDArray[np.int32]:
    return np.arange(size, dtype=np.int32)


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
