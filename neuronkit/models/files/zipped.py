"""Files of torch.save since 1.6: a zip archive of a pickle and the bytes of each storage."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from neuronkit.models.files.archive import Archive, Member
from neuronkit.models.files.foreign import Foreign
from neuronkit.models.files.pickles.known import storage_dtype
from neuronkit.models.files.pickles.unpickler import unpickle
from neuronkit.models.files.source import Budget, Damaged, Source
from neuronkit.models.files.stored import Block, Storage, item_size

_PICKLE = "/data.pkl"
_STORAGE_FIELDS = 5


def read_zip(file: BinaryIO, size: int) -> Any:
    """Return what the archive's pickle describes.

    Raises:
        Damaged: If a part is missing, broken or malformed.
        Foreign: If it is an archive of another kind.
    """
    archive = Archive(file, size)
    folder = _folder(archive.members)
    archive.check()
    order = archive.members.get(folder + "/byteorder")
    if order is not None and order.size < 16 and bytes(archive.read(order).numpy()).strip() == b"big":
        raise Foreign("a checkpoint in big-endian byte order", "load it with torch.load and save it again")
    member = archive.members[folder + _PICKLE]
    pickled = bytes(archive.read(member).numpy())
    blocks: dict[str, Block] = {}

    def find_storage(identity: tuple[Any, ...]) -> Storage:
        if len(identity) != _STORAGE_FIELDS or identity[0] not in ("storage", b"storage"):
            raise Damaged("its pickle refers to data in an unknown way")
        _, kind, key, _, count = identity
        member = archive.members.get(f"{folder}/data/{key}") if isinstance(key, str) else None
        if member is None:
            raise Damaged("the data of a tensor is missing")
        block = blocks.setdefault(member.name, Block(member.size, lambda: archive.read(member)))
        return make_storage(block, kind, 0, count)

    return unpickle(Source(io.BytesIO(pickled), 0, len(pickled)), Budget(len(pickled)), find_storage)


def make_storage(block: Block, kind: Any, begin: int, count: Any, *, whole: bool = True) -> Storage:
    """Give `count` elements of a block, which must have exactly these where they are its `whole`."""
    name = getattr(kind, "name", None)
    if name is None or type(count) is not int or count < 0:
        raise Damaged("its pickle refers to data in an unknown way")
    dtype = storage_dtype(kind)
    size = count * item_size(dtype) if dtype is not None else block.size - begin
    if begin + size > block.size or (whole and size != block.size):
        raise Damaged("the data of a tensor has another size than it states")
    return Storage(block, begin, size, dtype, str(name))


def _folder(members: dict[str, Member]) -> str:
    names = list(members)
    if any("/code/" in name or name.endswith("/constants.pkl") for name in names):
        if any("/extra/neuronkit" in name for name in names):
            raise Foreign("an artifact that neuronkit compiled", "load it with neuronkit.load")
        raise Foreign("a TorchScript archive, which is a program", "save the state dict of the model it was made of")
    if any(name.endswith(("serialized_exported_program.json", "/models/model.json")) for name in names):
        raise Foreign("an exported program (torch.export)", "save the state dict of the model it was made of")
    folders = [n[: -len(_PICKLE)] for n in names if n.endswith(_PICKLE) and n.count("/") == 1]
    if len(folders) == 1:
        return folders[0]
    if names and all(name.endswith(".npy") for name in names):
        raise Foreign("a NumPy archive", "save a state dict of tensors with torch.save")
    inside = next((n for n in names if n.endswith((".pth", ".pt", ".ckpt", ".safetensors", ".zip", ".bin"))), None)
    more = f" (with {inside:.80} inside)" if inside and inside.isprintable() else ""
    raise Foreign(f"a zip archive of other files{more}", "unpack it, and give the checkpoint inside")
