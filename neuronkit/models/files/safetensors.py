"""safetensors files: eight bytes of length, a JSON header of that length, and the tensors' bytes without gaps.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any, BinaryIO, TypeGuard

from neuronkit.models.files.pickles.standins import StandIn
from neuronkit.models.files.source import Damaged, read_bytes
from neuronkit.models.files.stored import DTYPES, Block, Storage, StoredTensor, item_size

_LARGEST_HEADER = 32 << 20
_NAMES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64", "BOOL": "bool",
    "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip


def looks_like_safetensors(head: bytes, size: int) -> bool:
    """Whether a file that begins with `head` states a header that fits into its `size`."""
    return len(head) > 8 and head[8:9] == b"{" and 2 <= struct.unpack("<Q", head[:8])[0] <= size - 8


def read_safetensors(file: BinaryIO, size: int) -> dict[str, Any]:
    """Return the tensors by name under ``"state_dict"``, the metadata's texts under ``"hyper_parameters"``.

    Raises:
        Damaged: If the header is malformed, or does not describe every byte once.
    """
    file.seek(0)
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _LARGEST_HEADER:
        raise Damaged(f"its header has {length} bytes")
    header = _header(file.read(length))
    metadata = header.pop("__metadata__", {})
    begin = 8 + length
    tensors: dict[str, Any] = {}
    spans = []
    for name, entry in header.items():
        tensors[name], first, last = _tensor(file, begin, size - begin, entry)
        spans.append((first, last))
    end = 0
    for first, last in sorted(spans):
        if first != end:
            raise Damaged("its tensors overlap, or leave gaps")
        end = last
    if end != size - begin:
        raise Damaged("it ends early, or goes on behind its tensors")
    return {"state_dict": tensors, "hyper_parameters": metadata if isinstance(metadata, dict) else {}}


def _header(data: bytes) -> dict[str, Any]:
    try:
        header = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"its header is malformed: {type(error).__name__}") from error
    if not isinstance(header, dict):
        raise Damaged("its header is malformed")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name stands twice")
    return result


def _tensor(file: BinaryIO, begin: int, size: int, entry: Any) -> tuple[Any, int, int]:
    fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
    kind, shape, span = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    if not isinstance(kind, str) or not _naturals(shape) or not _naturals(span) or len(span) != 2:
        raise Damaged("its header is malformed")
    first, last = span
    if not first <= last <= size:
        raise Damaged("a tensor reaches beyond its data")
    dtype = DTYPES.get(_NAMES.get(kind, ""))
    if dtype is None:
        return StandIn(f"safetensors.{kind:.20}"), first, last
    if math.prod(shape) * item_size(dtype) != last - first:
        raise Damaged("the data of a tensor has another size than it states")
    block = Block(last - first, lambda: read_bytes(file, begin + first, last - first))
    storage = Storage(block, 0, last - first, dtype, kind)
    return StoredTensor.contiguous(storage, dtype, shape), first, last


def _naturals(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and len(value) <= 64 and all(type(n) is int and 0 <= n < 1 << 62 for n in value)
