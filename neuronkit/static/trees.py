"""Walking the structures that models return: tensors in tuples, lists, named tuples and dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from neuronkit.errors import SpecError


def map_tensors(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply a function to every tensor of a structure, together with what stands at its place in others like it.

    Args:
        function: Called with a tensor and the matching entry of each other structure.
        tree: Tensors in tuples, lists, named tuples and mappings, in any nesting; None stays None.
        others: Structures with the same keys and lengths.

    Returns:
        The results, in a structure of the same kind.

    Raises:
        SpecError: If an entry is none of these.
    """
    if isinstance(tree, Tensor):
        return function(tree, *others)
    if tree is None:
        return None
    if isinstance(tree, Mapping):
        mapped = {key: map_tensors(function, value, *(o[key] for o in others)) for key, value in tree.items()}
        return mapped if type(tree) is dict else type(tree)(mapped)  # type: ignore[call-arg]
    if isinstance(tree, (tuple, list)):
        items = [map_tensors(function, value, *(o[i] for o in others)) for i, value in enumerate(tree)]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    raise SpecError(
        f"an output is {type(tree).__name__}; a fixed-shape graph returns tensors, alone or in tuples, lists and dicts"
    )


def leaves(tree: Any) -> list[Tensor]:
    """The tensors of a structure, in order."""
    found: list[Tensor] = []
    map_tensors(found.append, tree)
    return found


def transpose(trees: list[Any]) -> Any:
    """One structure whose entries are lists: what stands there in each of several like structures."""
    return map_tensors(lambda *tensors: list(tensors), *trees)
