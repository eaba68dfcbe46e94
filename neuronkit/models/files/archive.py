"""Zip archives, as torch.save writes them since 1.6: every size and place that one states is checked before it is used.

Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
from torch import Tensor

from neuronkit.models.files.source import Damaged, read_bytes

_LARGE = 0xFFFFFFFF
_MAX_MEMBERS = 200_000
_STORED, _DEFLATED = 0, 8
_CHUNK = 1 << 20
# Weights hardly shrink when they are compressed; what unpacks to more than this is made to fill memory.
_MAX_UNPACKING = 16


@dataclass(frozen=True)
class Member:
    """One file in the archive."""

    name: str
    method: int
    crc: int
    packed: int
    size: int
    header: int
    begin: int = 0


class Archive:
    """An archive whose directory, headers and contents agree, and whose checksums are right.

    Args:
        file: Where it stands, from first to last byte.
        size: Of the file.

    Raises:
        Damaged: If it is not whole, or not as archives of torch are.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        directory, directory_begin, count = self._find_directory()
        found = _read_directory(directory, count)
        self.members: dict[str, Member] = {}
        end = 0
        for member in sorted(found, key=lambda m: m.header):
            if member.name in self.members:
                raise Damaged("two of its members have one name")
            if member.header < end:
                raise Damaged("two of its members overlap")
            placed = self._place(member)
            end = placed.begin + placed.packed
            if end > directory_begin:
                raise Damaged("a member reaches into its directory")
            self.members[member.name] = placed
        if sum(m.size for m in found) > _MAX_UNPACKING * size:
            raise Damaged("it unpacks to far more than its own size; give it uncompressed")

    def check(self) -> None:
        """Compare every member with its checksum."""
        for member in self.members.values():
            crc = size = 0
            for chunk in self._chunks(member):
                crc, size = zlib.crc32(chunk, crc), size + len(chunk)
            if crc != member.crc or size != member.size:
                raise Damaged("the checksum of a member is wrong")

    def read(self, member: Member) -> Tensor:
        """Return the contents of a member, as a uint8 tensor."""
        if member.method == _STORED:
            return read_bytes(self._file, member.begin, member.size)
        data = bytearray().join(self._chunks(member))
        return torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)

    def _chunks(self, member: Member) -> Iterator[bytes]:
        """The contents of a member in pieces, of which there are no more than it states."""
        unpack = zlib.decompressobj(-15) if member.method == _DEFLATED else None
        left = member.size
        position, end = member.begin, member.begin + member.packed
        while position < end:
            self._file.seek(position)
            chunk = self._file.read(min(_CHUNK, end - position))
            if not chunk:
                raise Damaged("it ends early")
            position += len(chunk)
            for piece in (chunk,) if unpack is None else _unpacked(unpack, chunk):
                left -= len(piece)
                if left < 0:
                    raise Damaged("a member is larger than it states")
                yield piece

    def _find_directory(self) -> tuple[bytes, int, int]:
        tail_begin = max(0, self._size - 22 - 0xFFFF)
        tail = self._read(tail_begin, self._size - tail_begin)
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or at + 22 > len(tail):
            raise Damaged("its end is missing")
        count, size, begin, comment = struct.unpack("<10xHIIH", tail[at : at + 22])
        end = tail_begin + at
        if tail_begin + at + 22 + comment != self._size:
            raise Damaged("its end is missing")
        if count == 0xFFFF or _LARGE in (size, begin):
            count, size, begin, end = self._large_directory(end)
        if count > _MAX_MEMBERS:
            raise Damaged(f"it has {count} members")
        if begin + size > end or 46 * count > size:
            raise Damaged("its directory is not where its end says")
        return self._read(begin, size), begin, count

    def _large_directory(self, end: int) -> tuple[int, int, int, int]:
        """The same figures in 64 bits, from the record that the locator before the end points to."""
        locator = self._read(max(0, end - 20), 20)
        at = struct.unpack("<8xQ4x", locator)[0] if locator.startswith(b"PK\x06\x07") else self._size
        if at + 56 > self._size:
            raise Damaged("its directory is not where its end says")
        record = self._read(at, 56)
        if not record.startswith(b"PK\x06\x06"):
            raise Damaged("its directory is not where its end says")
        count, size, begin = struct.unpack("<32xQQQ", record)
        return count, size, begin, at

    def _place(self, member: Member) -> Member:
        """Find where the contents begin, behind a header that says the same as the directory."""
        if member.header + 30 > self._size:
            raise Damaged("a member is not where its directory says")
        header = self._read(member.header, 30)
        name_length, extra_length = struct.unpack("<26xHH", header)
        begin = member.header + 30 + name_length + extra_length
        if not header.startswith(b"PK\x03\x04") or begin + member.packed > self._size:
            raise Damaged("a member is not where its directory says")
        if self._read(member.header + 30, name_length).decode("utf-8", "replace") != member.name:
            raise Damaged("a member has another name than its directory says")
        return Member(member.name, member.method, member.crc, member.packed, member.size, member.header, begin)

    def _read(self, begin: int, count: int) -> bytes:
        self._file.seek(begin)
        data = self._file.read(count)
        if len(data) != count:
            raise Damaged("it ends early")
        return data


def _read_directory(directory: bytes, count: int) -> list[Member]:
    members, at = [], 0
    for _ in range(count):
        if directory[at : at + 4] != b"PK\x01\x02" or at + 46 > len(directory):
            raise Damaged("its directory is malformed")
        flags, method, crc, packed, size, name_length, extra_length, comment, _disk, header = struct.unpack(
            "<8xHH4xIIIHHHH6xI", directory[at : at + 46]
        )
        name = directory[at + 46 : at + 46 + name_length].decode("utf-8", "replace")
        extra = directory[at + 46 + name_length : at + 46 + name_length + extra_length]
        size, packed, header = _large_numbers(extra, size, packed, header)
        if flags & 1:
            raise Damaged("it is encrypted")
        if method not in (_STORED, _DEFLATED) or (method == _STORED and size != packed):
            raise Damaged("a member is packed in a way that torch.save does not use")
        members.append(Member(name, method, crc, packed, size, header))
        at += 46 + name_length + extra_length + comment
    return members


def _large_numbers(extra: bytes, *numbers: int) -> tuple[int, ...]:
    """Replace those that did not fit into 32 bits by those of the extra field that holds them, in the same order."""
    at, large = 0, b""
    while at + 4 <= len(extra):
        kind, length = struct.unpack("<HH", extra[at : at + 4])
        if kind == 1:
            large = extra[at + 4 : at + 4 + length]
        at += 4 + length
    result = []
    for number in numbers:
        if number == _LARGE:
            if len(large) < 8:
                raise Damaged("a size is missing from its directory")
            number, large = struct.unpack("<Q", large[:8])[0], large[8:]
        result.append(number)
    return tuple(result)


def _unpacked(unpack: Any, chunk: bytes) -> Iterator[bytes]:
    """What `chunk` unpacks to, in pieces. Some may be left when all of it is consumed: the last piece is empty."""
    try:
        while piece := unpack.decompress(chunk, _CHUNK):
            yield piece
            chunk = unpack.unconsumed_tail
    except zlib.error as error:
        raise Damaged("a member does not unpack") from error
