"""Models of several graphs as directories: a folder for each graph, and the manifest's word on how they are joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neuronkit.errors import ArtifactError, OptionError
from neuronkit.shown import shown
from neuronkit.static.decoding.methods import join
from neuronkit.targets.base import Target

_GRAPHS = "graphs"


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
    for name, folder in _folders(list(graphs), directory).items():
        folder.mkdir(parents=True, exist_ok=True)
        target.save_directory(graphs[name], folder)


def load_graphs(
    target: Target, manifest: Mapping[str, Any], directory: Path
) -> tuple[Callable[..., Any], dict[str, Callable[..., Any]]]:
    """Read what `save_graphs` wrote.

    Returns:
        The graphs, joined, and each of them by its name.

    Raises:
        ArtifactError: If they cannot be read, or joined.
    """
    folders = _folders(list(manifest["graphs"]), directory)
    graphs = {name: target.load_directory(folder) for name, folder in folders.items()}
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


def _folders(names: list[str], directory: Path) -> dict[str, Path]:
    """Where each graph lies."""
    if len(names) == 1:
        return {names[0]: directory}
    for name in names:
        if not name.isidentifier():
            raise ArtifactError(f"got a graph called {shown(name)}; expected a name of letters and digits; rename it")
    return {name: directory / _GRAPHS / name for name in names}
