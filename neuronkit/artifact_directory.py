"""Artifacts that are directories: for targets whose compiled programs are files of their own, and for the cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neuronkit.errors import ArtifactError

MANIFEST = "neuronkit.json"
# Holds the hash of every other file, the manifest among them; its own last line is the hash of the lines before it.
_SUMS = "SHA256SUMS"


def save_directory(path: Path, manifest: Mapping[str, Any], fill: Callable[[Path], None]) -> None:
    """Write a directory, whole or not at all; an existing one is replaced at the end.

    Args:
        path: Where.
        manifest: As in a file artifact.
        fill: Writes the target's files into an empty directory.

    Raises:
        ArtifactError: If it cannot be written.
    """
    # Not mkdtemp: its directories can be read by their owner alone.
    work = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        work.mkdir()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot write there ({error}); choose an existing, writable directory") from error
    new, old = work / "new", work / "old"
    try:
        new.mkdir()
        fill(new)
        (new / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        lines = "".join(f"{_hash_file(file)}  {file.relative_to(new).as_posix()}\n" for file in _files(new))
        (new / _SUMS).write_text(lines + hashlib.sha256(lines.encode()).hexdigest() + "\n", encoding="utf-8")
        if os.path.lexists(path):
            os.replace(path, old)
        os.replace(new, path)
    except OSError as error:
        raise ArtifactError(
            f"{path}: was not written ({error}); free some space or choose another directory"
        ) from error
    finally:
        if os.path.lexists(old) and not os.path.lexists(path):
            os.replace(old, path)
        shutil.rmtree(work, ignore_errors=True)


def read_manifest(path: Path) -> dict[str, Any]:
    """Check every file of a directory that `save_directory` wrote, and give its manifest.

    Raises:
        ArtifactError: If a file is missing, changed or new.
    """
    try:
        *lines, seal = (path / _SUMS).read_bytes().decode("utf-8").splitlines(keepends=True)
        expected = {name: digest for digest, _, name in (line.rstrip("\n").partition("  ") for line in lines)}
        found = {f.relative_to(path).as_posix(): _hash_file(f) for f in _files(path) if f.name != _SUMS}
    except (OSError, UnicodeDecodeError, ValueError):
        expected, found, lines, seal = {}, {}, [], ""
    if MANIFEST not in expected or seal != hashlib.sha256("".join(lines).encode()).hexdigest() + "\n":
        expected, found = {_SUMS: ""}, {}
    wrong = sorted(name for name in {**expected, **found} if expected.get(name) != found.get(name))
    if wrong:
        raise ArtifactError(
            f"{path}: is not a whole artifact of neuronkit: a file is missing, new or changed ({', '.join(wrong[:3])}"
            "), or something else wrote it. Copy it again, or compile again with compile_for_inferentia"
        )
    manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def _files(directory: Path) -> list[Path]:
    return sorted(file for file in directory.rglob("*") if file.is_file())


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
