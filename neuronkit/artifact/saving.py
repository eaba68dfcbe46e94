"""Writing an artifact, whole or not at all; nothing is replaced but an earlier artifact."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from neuronkit import checks
from neuronkit.artifact.joined import save_graphs
from neuronkit.capture.serialize import save_script
from neuronkit.errors import ArtifactError
from neuronkit.shown import shown
from neuronkit.storage.atomic import replacing_file
from neuronkit.storage.sealed import MANIFEST, is_sealed_directory, is_sealed_file, save_directory, seal_file
from neuronkit.targets import find_target


def write_artifact(
    path: Any, function: Callable[..., Any], graphs: Mapping[str, Callable[..., Any]], manifest: Mapping[str, Any]
) -> Path:
    """Write a compiled model and its manifest: a directory where the target saves one, else a TorchScript archive.

    Args:
        path: What the caller gave.
        function: The compiled model.
        graphs: Name → compiled graph, which `function` joins.
        manifest: Of the artifact.

    Returns:
        Where it was written, symbolic links followed.

    Raises:
        ArtifactError: If the target makes nothing that can be saved; if something other than an artifact is at
            `path`; or if it cannot be written.
    """
    target = find_target(manifest["target"])
    if target.saves_directory:
        found = destination(path, directory=True)
        save_directory(found, manifest, partial(save_graphs, target, graphs, manifest))
        return found
    if not isinstance(function, torch.jit.ScriptModule):
        raise ArtifactError(
            f"target {manifest['target']!r} only checks; what it makes lives in this process and cannot be saved. "
            "Compile for 'cpu' or a Neuron target to get an artifact"
        )
    found = destination(path, directory=False)
    try:
        with replacing_file(found) as work:
            save_script(function, work, {MANIFEST: json.dumps(manifest)})
            seal_file(work)
    except (OSError, RuntimeError) as error:
        raise ArtifactError(
            f"{shown(path)}: was not written ({error}); free some space or choose another directory"
        ) from error
    return found


def destination(path: Any, *, directory: bool) -> Path:
    """Follow symbolic links, and make sure that no more than an earlier artifact would be replaced.

    Args:
        path: What the caller gave.
        directory: Whether the artifact is a directory.

    Returns:
        The path to write to.

    Raises:
        ArtifactError: If something else is there: another file or folder, a device, a pipe, a socket; or if it cannot
            be written to.
    """
    given = checks.path("path", path, error=ArtifactError)
    found = Path(os.path.realpath(given))
    try:
        mode = os.lstat(found).st_mode
    except OSError:
        _check_parent(given, found)
        return found
    kind = "directory" if directory else "file"
    if stat.S_ISLNK(mode):
        raise _refusal(given, "a symbolic link that leads to itself", kind)
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise _refusal(given, checks.file_kind(mode), kind)
    if stat.S_ISDIR(mode) and not directory:
        raise _refusal(given, "a folder", kind, "give a file's name in it")
    try:
        ours = is_sealed_directory(found) if stat.S_ISDIR(mode) else is_sealed_file(found)
    except OSError as error:
        raise _refusal(given, f"{checks.file_kind(mode)} that cannot be read ({error.strerror})", kind) from error
    if not ours:
        what = "a folder with other files in it" if stat.S_ISDIR(mode) else "a file that save() did not write"
        raise _refusal(given, what, kind, "remove it first, or choose another path")
    return found


def _check_parent(given: Path, found: Path) -> None:
    if not found.parent.is_dir():
        raise ArtifactError(
            f"got path={shown(given)}: cannot write there, {shown(found.parent)} is no directory; expected a path in "
            "an existing directory; make it first"
        )


def _refusal(path: Path, what: str, kind: str, way: str = "choose another path") -> ArtifactError:
    return ArtifactError(f"got path={shown(path)}, {what}; expected a new path, or an earlier artifact's {kind}; {way}")
