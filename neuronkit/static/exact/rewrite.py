"""Rewriting a traced network, call by call, into one that computes on a padded canvas."""

from __future__ import annotations

import builtins
import math
import operator
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from neuronkit.errors import SpecError
from neuronkit.static.exact.builder import Builder, Call
from neuronkit.static.exact.rules.registry import BATCH_ANYWHERE, MODULES, RULES, module_rule, name_of
from neuronkit.static.exact.signs import is_nonnegative
from neuronkit.static.exact.sizes import BATCH, HEIGHT, WIDTH, Dim, Extent
from neuronkit.static.exact.trace import INPLACE_OPERATORS, Traced, describe, trace, way_out
from neuronkit.static.exact.values import Fill, Opaque, Pieces, Refused, Requirement, Size, Table, Value, Withheld
from neuronkit.static.trees import find, map_tree

_OUT_OF_PLACE = {function: getattr(operator, name.strip("_")[1:], None) for name, function in INPLACE_OPERATORS.items()}
# torch.fx records attribute access and indexing as these functions.
_ACCESS = {builtins.getattr: "getattr", operator.getitem: "getitem"}
# Of Python's own, for sizes.
_NUMBERS: dict[Any, str] = {
    **dict.fromkeys((math.ceil, math.floor, math.trunc), "whole"),
    **dict.fromkeys((max, min), "larger"),
}

_MODE_DEPENDENT = (nn.modules.batchnorm._BatchNorm, nn.InstanceNorm2d, nn.RReLU)


@dataclass(frozen=True)
class Rewritten:
    """A network that computes on a padded canvas.

    Attributes:
        module: Takes images, valid sizes and the tables; returns the tensors of the result, in order.
        tables: Its constants that depend on the canvas.
        structure: What the network returns, with the index of a tensor in its place.
        output_dims: The dimensions of each tensor.
        requirements: What an image must be for the network itself to run.
        mode_dependent: Modules that compute something else in train mode.
    """

    module: fx.GraphModule
    tables: tuple[Table, ...]
    structure: Any
    output_dims: tuple[tuple[Dim, ...], ...]
    requirements: tuple[Requirement, ...]
    mode_dependent: tuple[nn.Module, ...]


def rewrite(root: nn.Module, height: int | None = None) -> Rewritten:
    """Rewrite a module that takes images (N, C, H, W).

    Args:
        root: The module.
        height: Of all images, where only their widths vary.

    Raises:
        SpecError: If it cannot be traced, or holds an operator that would let padding into the result.
    """
    own = tuple(cls for cls in MODULES if not cls.__module__.startswith("torch.nn."))
    return _Rewriter(root, trace(root, own), height).run()


class _Rewriter:
    def __init__(self, root: nn.Module, traced: Traced, height: int | None) -> None:
        self.root = root
        self.traced = traced
        self.nodes = list(traced.graph.nodes)
        self.builder = Builder((HEIGHT, WIDTH) if height is None else (WIDTH,))
        self.height: Dim = Extent(HEIGHT) if height is None else height
        self.values: dict[fx.Node, Any] = {}
        position = {node: i for i, node in enumerate(self.nodes)}
        self.last_use = {node: max((position[user] for user in node.users), default=-1) for node in self.nodes}
        self.modules: list[nn.Module] = []

    def run(self) -> Rewritten:
        result: Any = None
        for position, node in enumerate(self.nodes):
            self.builder.where = describe(node)
            try:
                if node.op == "output":
                    result = self._finish(node)
                else:
                    self.values[node] = self._value(node, position)
            except Refused as reason:
                raise _refusal(self.root, node, str(reason)) from reason
        return result  # type: ignore[no-any-return]

    def _value(self, node: fx.Node, position: int) -> Any:
        if node.op == "placeholder":
            return self._images()
        if node.op == "get_attr":
            return self._attribute(str(node.target))
        return self._call(node, position)

    def _images(self) -> Value:
        images = Value(self.builder.images, (BATCH, None, self.height, Extent(WIDTH)), Fill.ANYTHING)
        # Zeroed here, where there are few channels: the canvas may hold any value outside the image, NaN included.
        return Value(self.builder.zeroed(images), images.dims, Fill.ZERO)

    def _attribute(self, target: str) -> Any:
        value: Any = self.traced.root
        for name in target.split("."):
            value = getattr(value, name)
        node = self.builder.attribute(value) if isinstance(value, torch.Tensor) else None
        if node is None:
            raise Refused("is an attribute that is no tensor")
        return Value(node, tuple(value.shape), constant=value.detach())

    def _call(self, node: fx.Node, position: int) -> Any:
        args, kwargs = self._resolve(node.args), self._resolve(node.kwargs)
        module = self.traced.root.get_submodule(str(node.target)) if node.op == "call_module" else None
        name, target, in_place = _identify(node, module)
        call = Call(self.builder, node, args, kwargs, module, target, name or "")
        if kwargs.get("out") is not None:
            call.refuse("writes into a tensor that is given")
        rule = RULES.get(name) if name is not None else None
        if module is not None:
            self.modules.append(module)
        value = self._apply(call, rule)
        if isinstance(value, Value) and value.constant is None:
            _note_constant(call, value)
        if is_nonnegative(call):
            for part in _tensors(value):
                part.nonnegative = True
        if in_place or kwargs.get("inplace") or getattr(module, "inplace", False):
            self._write_back(call.input, value, position)
        return value

    def _apply(self, call: Call, rule: Callable[[Call], Any] | None) -> Any:
        given = (call.args, call.kwargs)
        withheld = find(given, Withheld)
        if withheld and call.name != "getitem":
            call.refuse(withheld[0].reason)
        varies = any(v.varies for v in find(given, Value, Size, Pieces))
        if rule is None and varies:
            call.refuse("is not a known operator")
        if call.name not in BATCH_ANYWHERE and any(v.varying and v.batch != 0 for v in find(given, Value)):
            call.refuse("works on a tensor whose first dimension is not the batch")
        if rule is not None:
            try:
                return rule(call)
            except Refused:
                # The network itself would fail where a check does.
                if varies or call.name == "_assert":
                    raise
        # Nothing here depends on the size of the image: taken as it is.
        node = call.again()
        return Value(node, None) if find(given, Value, Pieces) or call.module else Opaque(node)

    def _resolve(self, tree: Any) -> Any:
        return fx.node.map_aggregate(tree, lambda a: self.values[a] if isinstance(a, fx.Node) else a)

    def _write_back(self, before: Value, after: Value, position: int) -> None:
        """Point every name of a tensor that was changed in place to its new value."""
        for node, value in self.values.items():
            if value is before:
                self.values[node] = after
                continue
            views = [v for v in _tensors(value) if v is not before]
            if self.last_use[node] > position and any(v.storage is before.storage for v in views):
                raise Refused(f"changes in place a tensor of which {node.name!r} is a view that is read later")

    def _finish(self, node: fx.Node) -> Rewritten:
        outputs: list[Value] = []

        def place(leaf: Any) -> Any:
            if leaf is None:
                return None
            if isinstance(leaf, Withheld):
                raise Refused(leaf.reason)
            if not isinstance(leaf, Value):
                raise Refused(f"returns {type(leaf).__name__}; only tensors can be cut back to the valid size")
            if leaf.varying and leaf.batch is None:
                raise Refused("returns a tensor whose rows are not apart; only whole rows can be cut back")
            outputs.append(leaf)
            return len(outputs) - 1

        structure = map_tree(place, self._resolve(node.args[0]))
        if self.traced.returned is OrderedDict:
            structure = OrderedDict(structure)
        builder = self.builder
        builder.graph.output(tuple(builder.zeroed(value) for value in outputs))
        builder.drop_unused()
        return Rewritten(
            fx.GraphModule(builder.attributes, builder.graph),
            tuple(builder.tables),
            structure,
            tuple(value.dims or () for value in outputs),
            tuple(builder.requirements),
            tuple(module for module in self.modules if isinstance(module, _MODE_DEPENDENT)),
        )


def _tensors(tree: Any) -> list[Value]:
    """The tensors of a structure, pieces among them."""
    return [found.piece if isinstance(found, Pieces) else found for found in find(tree, Value, Pieces)]


def _note_constant(call: Call, value: Value) -> None:
    """Compute what depends on weights alone, as a standardised kernel does, for its shape."""
    given = (call.args, call.kwargs)
    tensors = find(given, Value)
    unknown = find(given, Opaque, Pieces) or any(not isinstance(s.dim, int) for s in find(given, Size))
    if call.module is not None or unknown or not tensors or any(v.constant is None for v in tensors):
        return

    # On copies: what is called may write into what it is given, as batch normalisation does into its statistics.
    def copied(leaf: Any) -> Any:
        if isinstance(leaf, Value) and leaf.constant is not None:
            return leaf.constant.clone()
        return leaf.dim if isinstance(leaf, Size) else leaf

    args, kwargs = map_tree(copied, given)
    try:
        with torch.no_grad():
            if call.node.op == "call_method":
                result = getattr(args[0], call.target)(*args[1:], **kwargs)
            else:
                result = call.target(*args, **kwargs)
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        # The network's own call will fail in the same way, and say why.
        return
    if isinstance(result, torch.Tensor):
        value.dims, value.constant = tuple(result.shape), result


def _identify(node: fx.Node, module: nn.Module | None) -> tuple[str | None, Any, bool]:
    """The rule's name for a call, what to call in its place, and whether it works in place."""
    target = node.target
    if module is not None:
        return module_rule(module), target, False
    if node.op == "call_method":
        name = str(target)
        if name.endswith("_") and not name.endswith("__"):
            return name[:-1], name[:-1], True
        return name, name, False
    if target in _OUT_OF_PLACE:
        function = _OUT_OF_PLACE[target]
        return name_of(function), function, True
    if target in _ACCESS or target in _NUMBERS:
        return {**_ACCESS, **_NUMBERS}[target], target, False
    if getattr(target, "__module__", None) == "torchvision.ops.stochastic_depth":
        return "stochastic_depth", target, False
    name = name_of(target) or ""
    if name.endswith("_") and not name.endswith("__"):
        function = next((getattr(space, name[:-1]) for space in (torch, F) if hasattr(space, name[:-1])), None)
        return name[:-1], function, True
    return name or None, target, False


def _refusal(root: nn.Module, node: fx.Node, reason: str) -> SpecError:
    return SpecError(
        f"exact_padding cannot rewrite {type(root).__name__}: node {describe(node)} {reason}. The result on a padded "
        f"canvas would differ from that on the image alone. {way_out(root)}"
    )
