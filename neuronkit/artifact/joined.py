"""Saving and loading models of several graphs; the manifest says how they are joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neuronkit.errors import ArtifactError, OptionError
from neuronkit.shown import shown
from neuronkit.static.decoding.methods import join
from neuronkit.targets.base import Target


def save_graphs(
    target: Target, graphs: Mapping[str, Callable[..., Any]], manifest: Mapping[str, Any], directory: Path
) -> None:
    """Write compiled graphs into an empty directory: a single one into it, several into a folder each.

    Args:
        target: Whose graphs they are.
        graphs: Name → compiled graph.
        manifest: Of the artifact.
        directory: Where.

    Raises:
        ArtifactError: If the manifest does not say how several are joined, or one cannot be written.
    """
    if len(graphs) > 1 and manifest["joining"] is None:
        raise ArtifactError(
            f"got {len(graphs)} graphs ({', '.join(graphs)}) that Python code of {manifest['family']!r} joins; "
            "expected `joining`, the same as data; give the static model one, or make it of a single graph"
        )
    target.save_graphs(graphs, directory)


def load_graphs(
    target: Target, manifest: Mapping[str, Any], directory: Path
) -> tuple[Callable[..., Any], dict[str, Callable[..., Any]]]:
    """Read what `save_graphs` wrote.

    Returns:
        The graphs, joined, and each of them by its name.

    Raises:
        ArtifactError: If they cannot be read, or joined.
    """
    graphs = target.load_graphs(list(manifest["graphs"]), directory)
    if manifest["joining"] is None:
        (function,) = graphs.values()
        return function, graphs
    try:
        return join(manifest["joining"], graphs), graphs
    except (OptionError, LookupError, TypeError) as error:
        raise ArtifactError(
            f"{shown(directory)}: its graphs cannot be joined as its manifest says ({shown(str(error))}); register the "
            "method that it was made with, or compile it again"
        ) from error
