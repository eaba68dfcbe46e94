"""The seal of an artifact's file: a hash of all that comes before it."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import Any

from neuronkit.errors import ArtifactError

# A zip file may end in a comment. Ours is the hash of everything before it, so that any changed byte shows.
_SEAL = b"neuronkit:sha256:"
_SEAL_LENGTH = len(_SEAL) + 64


def seal(path: Path) -> None:
    """Append the hash as the zip archive's comment, and flush it to the disk."""
    with open(path, "r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(struct.pack("<H", _SEAL_LENGTH))
        file.seek(0)
        digest = _hash(file, os.path.getsize(path))
        file.seek(0, os.SEEK_END)
        file.write(_SEAL + digest.encode())
        file.flush()
        os.fsync(file.fileno())


def check_seal(path: Path) -> None:
    try:
        with open(path, "rb") as file:
            body = max(0, os.path.getsize(path) - _SEAL_LENGTH)
            digest = _hash(file, body)
            seal = file.read()
    except OSError as error:
        raise ArtifactError(
            f"{path}: cannot be read ({error.strerror}); give the path of a file that save() wrote"
        ) from error
    if seal != _SEAL + digest.encode():
        raise ArtifactError(
            f"{path}: is not a whole artifact of neuronkit: it was cut or changed, or something else wrote it. "
            "Copy it again, or compile again with compile_for_inferentia"
        )


def _hash(file: Any, length: int) -> str:
    """SHA-256 of the next `length` bytes, in hex."""
    digest = hashlib.sha256()
    while length > 0 and (block := file.read(min(length, 1 << 20))):
        digest.update(block)
        length -= len(block)
    return digest.hexdigest()
