"""Bounded reading: a length that a file states is compared with what is there before anything is allocated."""

from __future__ import annotations

from typing import Any, BinaryIO

import torch
from torch import Tensor

_LONGEST_LINE = 4096


class Damaged(ValueError):
    """The bytes do not follow the format; `open_checkpoint` names the file."""


class Source:
    """The bytes `begin` to `end` of an open file, read from front to back."""

    def __init__(self, file: BinaryIO, begin: int, end: int) -> None:
        self._file, self.position, self._end = file, begin, end
        file.seek(begin)

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        if not 0 <= count <= self._end - self.position:
            raise Damaged(f"it ends early: {count} bytes wanted, {self._end - self.position} left")
        data = self._file.read(count)
        if len(data) != count:
            raise Damaged("it ends early")
        self.position += count
        return data

    def line(self) -> str:
        """Return the next line, without its end."""
        data = self._file.readline(min(_LONGEST_LINE, self._end - self.position))
        if not data.endswith(b"\n"):
            raise Damaged("a line does not end")
        self.position += len(data)
        return data[:-1].decode("utf-8")


class Budget:
    """A limit on unpickling, in bytes of memory; a step that takes time is charged as memory.

    A pickle can describe far more than it holds, by referring to what it has made before.

    Args:
        held: Bytes that the pickle may hold. What it does hold is not limited, only what it makes of it.
    """

    STEP = 96
    CONTAINER = 256

    def __init__(self, held: int) -> None:
        self._left = (256 << 20) + 4 * held

    def spend(self, amount: int) -> None:
        self._left -= amount
        if self._left < 0:
            raise Damaged("it describes more objects than a checkpoint has")


def read_bytes(file: BinaryIO, begin: int, count: int) -> Tensor:
    """Read `count` bytes at `begin`, which the caller has compared with the file's size, as a uint8 tensor."""
    result = torch.empty(count, dtype=torch.uint8)
    if count:
        file.seek(begin)
        buffer: Any = result.numpy()
        view = memoryview(buffer)
        done = 0
        while done < count:
            got = file.readinto(view[done:])  # type: ignore[attr-defined]
            if not got:
                raise Damaged("it ends early")
            done += got
    return result
