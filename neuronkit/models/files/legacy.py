"""Files of torch.save before 1.6: pickles, and behind them the bytes of each storage. They have no checksums."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

from neuronkit.models.files.foreign import Foreign
from neuronkit.models.files.pickles.known import storage_dtype
from neuronkit.models.files.pickles.standins import Name
from neuronkit.models.files.pickles.unpickler import unpickle
from neuronkit.models.files.source import Budget, Damaged, Source, read_bytes
from neuronkit.models.files.stored import Block, Storage, item_size
from neuronkit.models.files.zipped import make_storage

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_STORAGE_FIELDS = 6
_MODULE_FIELDS = 4


class _Blocks:
    """The storages that the pickle names; where each stands is known only after it was read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._blocks: dict[str, tuple[Block, int]] = {}
        self._begins: dict[str, int] = {}

    def find(self, identity: tuple[Any, ...]) -> Any:
        kind = identity[0] if identity else None
        if kind in ("module", b"module") and len(identity) == _MODULE_FIELDS and isinstance(identity[1], Name):
            return identity[1]
        if kind not in ("storage", b"storage") or len(identity) != _STORAGE_FIELDS:
            raise Damaged("its pickle refers to data in an unknown way")
        _, kind, key, _, count, view = identity
        dtype = storage_dtype(kind)
        if not isinstance(key, str) or type(count) is not int or not 0 <= count < 1 << 48 or dtype is None:
            raise Foreign(
                f"tensors on {getattr(kind, 'name', '?'):.60}, which are quantised or unknown",
                "save the state dict of the model before quantisation",
            )
        size = count * item_size(dtype)
        block, item = self._blocks.setdefault(key, (Block(size, lambda: self._read(key)), item_size(dtype)))
        if view is None:
            return make_storage(block, kind, 0, count)
        if not isinstance(view, tuple) or len(view) != 3 or any(type(n) is not int or n < 0 for n in view[1:]):
            raise Damaged("its pickle refers to data in an unknown way")
        return make_storage(block, kind, view[1] * item, view[2], whole=False)

    def place(self, keys: Any, source: Source, size: int) -> None:
        """Find the storages in the order of `keys`: eight bytes of length before each."""
        if not isinstance(keys, list) or any(not isinstance(key, str) or key not in self._blocks for key in keys):
            raise Damaged("it lists data that no tensor uses")
        position = source.position
        for key in keys:
            block, item = self._blocks[key]
            (count,) = struct.unpack("<q", Source(self._file, position, size).take(8))
            if count * item != block.size:
                raise Damaged("the data of a tensor has another size than it states")
            self._begins[key] = position + 8
            position += 8 + block.size
            if position > size:
                raise Damaged("it ends early")
        if self._blocks.keys() - self._begins.keys():
            raise Damaged("the data of a tensor is missing")

    def _read(self, key: str) -> Any:
        return read_bytes(self._file, self._begins[key], self._blocks[key][0].size)


def read_legacy(file: BinaryIO, size: int) -> Any:
    """Return what the file's fourth pickle describes; magic number, version and machine stand before it.

    Raises:
        Damaged: If a part is missing or malformed.
        Foreign: If its bytes are in another order.
    """
    budget = Budget(size)
    source = Source(file, 0, size)
    blocks = _Blocks(file)

    def load(find_storage: Any = blocks.find) -> Any:
        return unpickle(source, budget, find_storage)

    if load(_refuse) != _MAGIC_NUMBER:
        raise Foreign("a pickle that torch.save did not write", "save the model's state dict with torch.save")
    if load(_refuse) != _PROTOCOL:
        raise Damaged("it is of an unknown version")
    machine = load(_refuse)
    if isinstance(machine, dict) and machine.get("little_endian") is False:
        raise Foreign("a checkpoint in big-endian byte order", "load it with torch.load and save it again")
    contents = load()
    blocks.place(load(_refuse), source, size)
    return contents


def _refuse(identity: tuple[Any, ...]) -> Storage:
    raise Damaged("its pickle refers to data before there is any")
