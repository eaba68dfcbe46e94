"""Where an artifact may be written: nothing is replaced but an earlier artifact."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from neuronkit import checks
from neuronkit.errors import ArtifactError
from neuronkit.shown import shown
from neuronkit.storage.sealed import is_sealed_directory, is_sealed_file


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
