"""open_checkpoint: the contents of a checkpoint file of any format, as data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any, BinaryIO

from neuronkit import checks
from neuronkit.errors import CheckpointError
from neuronkit.models.files.foreign import Foreign, recognise
from neuronkit.models.files.legacy import read_legacy
from neuronkit.models.files.safetensors import looks_like_safetensors, read_safetensors
from neuronkit.models.files.source import Damaged
from neuronkit.models.files.zipped import read_zip

_HEAD = 1024


@contextmanager
def open_checkpoint(path: str | PathLike[str]) -> Iterator[Any]:
    """Give what a checkpoint file holds, as containers, numbers, texts, `StoredTensor` and `StandIn`.

    The values of tensors are read inside the ``with`` block. Nothing in the file is run, imported or looked up.

    Args:
        path: A file of torch.save, of any release from 0.2 on, or a safetensors file.

    Raises:
        CheckpointError: If it cannot be opened, is broken, or is a file of another kind.
    """
    file_path = checks.input_file("path", path, error=CheckpointError)
    label = readable(file_path)
    try:
        with open(file_path, "rb") as file:
            yield _read(file)
    except Foreign as error:
        raise CheckpointError(
            f"{label}: got {error.what}; expected a PyTorch checkpoint or a safetensors file; {error.remedy}"
        ) from error
    except Damaged as error:
        raise CheckpointError(
            f"{label}: got a broken file ({error}); expected a whole PyTorch checkpoint; copy or download it again"
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"{label}: got {error.strerror or type(error).__name__}; expected a file that can be read; "
            "check its disk and permissions"
        ) from error


def _read(file: BinaryIO) -> Any:
    size = os.fstat(file.fileno()).st_size
    head = file.read(_HEAD)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return read_zip(file, size)
    if looks_like_safetensors(head, size):
        return read_safetensors(file, size)
    if head[:1] == b"\x80":
        return read_legacy(file, size)
    raise recognise(head) or Foreign("a file of an unknown kind", "copy or download it again")


def readable(text: object, limit: int = 200) -> str:
    """A text that comes from outside, for a message: as it is where it is short and prints, else quoted and cut."""
    plain = str(text)
    return plain if len(plain) <= limit and plain.isprintable() else checks.shown(plain, limit)
