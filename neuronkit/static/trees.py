"""Walking structures: whatever stands in tuples, lists, named tuples, mappings and slices, in any nesting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from neuronkit.errors import SpecError


def map_tree(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply a function to every leaf of a structure, together with what stands at its place in others like it.

    Args:
        function: Called with a leaf, and with the matching entry of each other structure.
        tree: The structure; a leaf is whatever is not a tuple, list, mapping or slice.
        others: Structures with the same keys and lengths.

    Returns:
        The results, in a structure of the same kind. The immutable lists of torch.fx become plain ones.
    """
    if isinstance(tree, slice):
        return slice(*(map_tree(function, part) for part in (tree.start, tree.stop, tree.step)))
    if isinstance(tree, Mapping):
        mapped = {key: map_tree(function, value, *(o[key] for o in others)) for key, value in tree.items()}
        return mapped if _is_plain(tree, dict) else type(tree)(mapped)  # type: ignore[call-arg]
    if isinstance(tree, (tuple, list)):
        items = [map_tree(function, value, *(o[i] for o in others)) for i, value in enumerate(tree)]
        if hasattr(tree, "_fields"):
            return type(tree)(*items)
        return items if _is_plain(tree, list) else type(tree)(items)
    return function(tree, *others)


def _is_plain(tree: Any, kind: type) -> bool:
    return type(tree) is kind or (isinstance(tree, kind) and type(tree).__module__.startswith("torch.fx."))


def map_tensors(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply a function to every tensor of what a model returns; see `map_tree`. None stays None.

    Raises:
        SpecError: If a leaf is neither a tensor nor None.
    """

    def apply(leaf: Any, *matching: Any) -> Any:
        if leaf is None:
            return None
        if isinstance(leaf, Tensor):
            return function(leaf, *matching)
        raise SpecError(
            f"an output is {type(leaf).__name__}; a fixed-shape graph returns tensors, alone or in tuples, lists and "
            "dicts"
        )

    return map_tree(apply, tree, *others)


def find(tree: Any, *kinds: type) -> list[Any]:
    """The leaves of these types, in order."""
    found: list[Any] = []
    map_tree(lambda leaf: found.append(leaf) if isinstance(leaf, kinds) else None, tree)
    return found


def leaves(tree: Any) -> list[Tensor]:
    """The tensors of what a model returns, in order."""
    found: list[Tensor] = []
    map_tensors(found.append, tree)
    return found


def transpose(trees: list[Any]) -> Any:
    """One structure whose entries are lists: what stands there in each of several like structures."""
    return map_tensors(lambda *tensors: list(tensors), *trees)
