"""Seals: a hash of every byte of a file or directory, stored with it, so that any change is noticed."""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from neuronkit.errors import ArtifactError
from neuronkit.shown import shown
from neuronkit.storage.atomic import replacing_directory

MANIFEST = "neuronkit.json"
# Holds the hash of every other file, the manifest among them; its own last line is the hash of the lines before it.
SUMS = "SHA256SUMS"
# A zip file may end in a comment. Ours is the hash of everything before it, so that any changed byte shows.
_SEAL = b"neuronkit:sha256:"
_SEAL_LENGTH = len(_SEAL) + 64
# TorchScript keeps the manifest under this name; it is found in a file that was cut, too.
_MEMBER = f"/extra/{MANIFEST}".encode()
# Bytes of the lists and descriptions in an artifact. A manifest has some kilobytes; what is read takes a multiple.
LARGEST_TEXT = 8 << 20


def seal_file(path: Path) -> None:
    """Append the hash of a zip archive to it, as the archive's comment."""
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(struct.pack("<H", _SEAL_LENGTH))
        file.seek(0)
        digest = _hash(file, path.stat().st_size)
        file.seek(0, os.SEEK_END)
        file.write(_SEAL + digest.encode())


def check_file(path: Path) -> None:
    """Raise ArtifactError unless a file is as `seal_file` left it."""
    try:
        with path.open("rb") as file:
            body = max(0, os.fstat(file.fileno()).st_size - _SEAL_LENGTH)
            digest = _hash(file, body)
            seal = file.read(_SEAL_LENGTH + 1)
    except OSError as error:
        raise ArtifactError(
            f"got {shown(path)}, which cannot be read ({error.strerror}); expected an artifact; "
            "give the path of a file that save() wrote"
        ) from error
    if seal != _SEAL + digest.encode():
        raise ArtifactError(f"{shown(path)}: is not a whole artifact of neuronkit: {_instead(path)}")


def _instead(path: Path) -> str:
    """What an unsealed file is, and what to do."""
    cut = (
        "it was cut or changed, or something else wrote it. Copy it again, or compile again with compile_for_inferentia"
    )
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # Whatever is wrong with a zip archive, it is none.
        return cut
    if is_sealed_file(path) or not any(name.endswith("/data.pkl") for name in names):
        return cut
    if any(name.endswith("/constants.pkl") for name in names):
        return "it is plain TorchScript. Load it with torch.jit.load, or compile the model with compile_for_inferentia"
    return (
        "it is a checkpoint. Build the model and fill it with neuronkit.models.load_checkpoint(model, path), then "
        "compile that with compile_for_inferentia"
    )


def is_sealed_file(path: Path) -> bool:
    """Whether a file is an artifact, be it whole or damaged, or empty.

    Raises:
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            return True
        file.seek(max(0, size - _SEAL_LENGTH))
        if file.read().startswith(_SEAL):
            return True
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(_MEMBER) >= 0


def save_directory(path: Path, manifest: Mapping[str, Any], fill: Callable[[Path], None]) -> None:
    """Write a sealed directory, whole or not at all; whatever is at `path` is replaced at the end.

    Args:
        path: Where.
        manifest: What describes it, ready for JSON.
        fill: Writes the files into an empty directory.

    Raises:
        ArtifactError: If it cannot be written.
    """
    try:
        with replacing_directory(path) as new:
            fill(new)
            (new / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
            lines = "".join(f"{_hash_file(file)}  {file.relative_to(new).as_posix()}\n" for file in _files(new))
            (new / SUMS).write_text(lines + hashlib.sha256(lines.encode()).hexdigest() + "\n", encoding="utf-8")
    except OSError as error:
        raise ArtifactError(
            f"{shown(path)}: was not written ({error}); free some space or choose another directory"
        ) from error


def read_manifest(path: Path) -> Any:
    """Check every file of a directory that `save_directory` wrote, and give its manifest.

    Raises:
        ArtifactError: If a file is missing, changed or new, or the manifest is not JSON.
    """
    check_directory(path)
    try:
        return json.loads(read_text(path / MANIFEST))
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{shown(path)}: its manifest cannot be read ({shown(error)}); compile it again") from error


def check_directory(path: Path) -> None:
    """Raise ArtifactError unless every file of a directory is as `save_directory` left it."""
    try:
        expected = _sums(path)
        found = {_name(path, f): _hash_file(f) if f.is_file() else "" for f in _files(path) if _name(path, f) != SUMS}
    except (OSError, ValueError):
        expected, found = {SUMS: ""}, {}
    wrong = sorted(name for name in {**expected, **found} if expected.get(name) != found.get(name))
    if wrong:
        raise ArtifactError(
            f"{shown(path)}: is not a whole artifact of neuronkit: a file is missing, new or changed "
            f"({', '.join(map(shown, wrong[:3]))}), or something else wrote it. Copy it again, or compile again with "
            "compile_for_inferentia"
        )


def read_text(path: Path) -> str:
    """Read a text of an artifact.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not a regular file of at most `LARGEST_TEXT` bytes, or not UTF-8.
    """
    # Reading a pipe would block, and a device never ends.
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
    with path.open("rb") as file:
        content = file.read(LARGEST_TEXT + 1)
    if len(content) > LARGEST_TEXT:
        raise ValueError(f"{path.name} has more than {LARGEST_TEXT} bytes")
    return content.decode("utf-8")


def is_sealed_directory(path: Path) -> bool:
    """Whether a directory is empty, or holds an artifact, be it whole or damaged, and nothing else.

    Raises:
        OSError: If it cannot be read.
    """
    entries = _files(path)
    try:
        known = {*_sums(path), SUMS} if entries else set()
    except ValueError:
        return False
    return all(_name(path, entry) in known for entry in entries)


def _sums(path: Path) -> dict[str, str]:
    """Name → hash, as written in the directory.

    Raises:
        ValueError: If there is no list of hashes, or it is not whole.
    """
    try:
        *lines, seal = read_text(path / SUMS).splitlines(keepends=True)
    except OSError as error:
        raise ValueError(f"{path} has no {SUMS}") from error
    sums = {name: digest for digest, _, name in (line.rstrip("\n").partition("  ") for line in lines)}
    if MANIFEST not in sums or seal != hashlib.sha256("".join(lines).encode()).hexdigest() + "\n":
        raise ValueError(f"{path / SUMS} is not whole")
    return sums


def _name(directory: Path, file: Path) -> str:
    return file.relative_to(directory).as_posix()


def _files(directory: Path) -> list[Path]:
    """All but folders; links to folders are none: what lies behind them is not sealed."""
    return sorted(file for file in directory.rglob("*") if file.is_symlink() or not file.is_dir())


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return _hash(file, path.stat().st_size)


def _hash(file: BinaryIO, length: int) -> str:
    """SHA-256 of the next `length` bytes, in hex."""
    digest = hashlib.sha256()
    while length > 0 and (block := file.read(min(length, 1 << 20))):
        digest.update(block)
        length -= len(block)
    return digest.hexdigest()
