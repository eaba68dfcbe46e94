"""The values that flow through a network on a padded canvas."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy.typing as npt
from torch import Tensor, fx

from neuronkit.static.exact.sizes import BATCH, MIXED, Dim, Extent, Rows, Sizes
from neuronkit.static.trees import map_tree


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
        nonnegative: Whether it holds no value below 0, inside its valid area.
        constant: The tensor itself, where it depends on no input: a weight, or what is computed from weights alone.
    """

    node: fx.Node
    dims: tuple[Dim, ...] | None
    fill: Fill = Fill.FINITE
    storage: object = field(default_factory=object)
    constant: Tensor | None = None
    nonnegative: bool = False

    @property
    def varies(self) -> bool:
        """Whether the valid size of a dimension varies."""
        return bool(self.varying)

    @property
    def varying(self) -> tuple[int, ...]:
        """The dimensions whose valid size varies."""
        return tuple(i for i, dim in enumerate(self.dims or ()) if isinstance(dim, (Extent, Rows)))

    @property
    def batch(self) -> int | None:
        """Which dimension is the batch; None where none is, or where it is one with another."""
        return next((i for i, dim in enumerate(self.dims or ()) if dim is BATCH), None)


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
        return isinstance(self.dim, (Extent, Rows)) or self.dim is MIXED


@dataclass(eq=False)
class Pieces:
    """Several tensors in one node, as `chunk` or `max` return them.

    Attributes:
        node: Computes them.
        piece: What each of them is.
    """

    node: fx.Node
    piece: Value

    @property
    def varies(self) -> bool:
        return self.piece.varies

    def take(self, node: fx.Node) -> Value:
        """The piece that a node gets out of them."""
        return replace(self.piece, node=node)


@dataclass(eq=False)
class Opaque:
    """A value that is neither tensor nor size, such as a dtype or a device."""

    node: fx.Node


@dataclass(frozen=True)
class Withheld:
    """A further result of a call that cannot be computed on a canvas; a network that uses it is refused.

    Attributes:
        reason: In words that follow the reading node's name.
    """

    reason: str


class Refused(Exception):
    """A rule's reason why it cannot rewrite an operator."""


@dataclass(frozen=True)
class Table:
    """A constant of the graph that depends on the canvas.

    Attributes:
        name: Of the input of the graph that receives it.
        compute: Gives it for a canvas (height, width).
    """

    name: str
    compute: Callable[[tuple[int, int]], npt.NDArray[Any]]


@dataclass(frozen=True)
class Requirement:
    """What the network needs of the size of an image, and does not get from every size.

    Attributes:
        where: The node that needs it.
        unmet: Says what is wrong with an image of (height, width), in words that follow the node's name; None if
            nothing is.
        met: The same of many sizes at once: from heights and widths, two arrays that broadcast, to whether all is well.
    """

    where: str
    unmet: Callable[[tuple[int, int]], str | None]
    met: Callable[[tuple[Sizes, Sizes]], Any]


def to_nodes(tree: Any, replaced: Mapping[Any, fx.Node] | None = None) -> Any:
    """Replace values and sizes by their nodes, or by the nodes given for them."""

    def node(leaf: Any) -> Any:
        return (replaced or {}).get(leaf, leaf.node) if isinstance(leaf, (Value, Size, Opaque, Pieces)) else leaf

    return map_tree(node, tree)


def fixed(item: Any) -> Dim:
    """The dimension that an entry of a target shape makes; -1 is some number."""
    if isinstance(item, Size):
        return item.dim
    return item if isinstance(item, int) and item >= 0 else None
