"""Tensors as a file describes them: their sizes are known, their values are read when they are used."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neuronkit.models.files.source import Damaged

_MAX_DIMENSIONS = 64
_MAX_ELEMENTS = 1 << 48


def _dtypes(**names: str) -> dict[str, torch.dtype]:
    """Those of the dtypes that the installed torch has."""
    return {key: getattr(torch, name) for key, name in names.items() if hasattr(torch, name)}


STORAGE_DTYPES = _dtypes(
    DoubleStorage="float64", FloatStorage="float32", HalfStorage="float16", BFloat16Storage="bfloat16",
    LongStorage="int64", IntStorage="int32", ShortStorage="int16", CharStorage="int8", ByteStorage="uint8",
    BoolStorage="bool", ComplexDoubleStorage="complex128", ComplexFloatStorage="complex64",
    UntypedStorage="uint8", _UntypedStorage="uint8",
)  # fmt: skip
DTYPES = _dtypes(
    **{name: name for name in (
        "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex128",
        "complex64", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
    )},
)  # fmt: skip


def item_size(dtype: torch.dtype) -> int:
    return torch.empty(0, dtype=dtype).element_size()


class Block:
    """A run of bytes in a file, read once."""

    def __init__(self, size: int, read: Callable[[], Tensor]) -> None:
        self.size = size
        self._read = read
        self._bytes: Tensor | None = None

    def bytes(self) -> Tensor:
        if self._bytes is None:
            self._bytes = self._read()
        return self._bytes


@dataclass(frozen=True, eq=False)
class Storage:
    """`count` bytes of a block from `begin` on; `dtype` is None where torch's is none of the plain ones."""

    block: Block
    begin: int
    count: int
    dtype: torch.dtype | None
    kind: str


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A view of a storage; sizes, strides and offset in elements."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    conjugated: bool = False
    negated: bool = False

    @classmethod
    def contiguous(cls, storage: Storage, dtype: torch.dtype, shape: Sequence[int]) -> StoredTensor:
        """The whole of a storage, in order."""
        return cls(storage, dtype, 0, tuple(shape), tuple(math.prod(shape[i + 1 :]) for i in range(len(shape))))

    def __post_init__(self) -> None:
        numbers = (self.offset, *self.shape, *self.stride)
        if any(type(n) is not int or n < 0 for n in numbers) or len(self.shape) != len(self.stride):
            raise Damaged("a tensor has sizes or strides that are no whole numbers of at least 0")
        elements = math.prod(self.shape)
        if len(self.shape) > _MAX_DIMENSIONS or elements > _MAX_ELEMENTS:
            raise Damaged("a tensor is larger than any that torch can hold")
        reach = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.stride)) + 1 if elements else 0
        if max(reach, self.offset) * item_size(self.dtype) > self.storage.count:
            raise Damaged("a tensor reaches beyond its data")

    @property
    def size_in_bytes(self) -> int:
        return math.prod(self.shape) * item_size(self.dtype)

    def tensor(self) -> Tensor:
        """Read the values."""
        data = self.storage.block.bytes()[self.storage.begin : self.storage.begin + self.storage.count]
        size = item_size(self.dtype)
        if self.storage.begin % size:  # a view at an address that torch does not take
            data = data.clone()
        flat = data[: data.numel() // size * size].view(self.dtype)
        result = flat.as_strided(self.shape, self.stride, self.offset + flat.storage_offset())
        if self.conjugated:
            result = result.conj()
        return -result if self.negated else result


def unfolded(tensors: list[StoredTensor]) -> tuple[int, int]:
    """The bytes that the tensors take in memory when each has its own, and the bytes they share in the file."""
    blocks = {id(tensor.storage.block): tensor.storage.block.size for tensor in tensors}
    return sum(tensor.size_in_bytes for tensor in tensors), sum(blocks.values())
