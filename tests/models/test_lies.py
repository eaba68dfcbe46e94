"""Files whose sizes, places and names are wrong: each is refused before anything is allocated for it."""

from __future__ import annotations

import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from neuronkit.errors import CheckpointError
from neuronkit.models.files.reader import open_checkpoint

from .hostile import MAGIC, Assembler, zipped

HUGE = 1 << 62
BEYOND = "a tensor reaches beyond its data"
NO_SIZE = "sizes or strides that are no whole numbers of at least 0"
SIZE = "the data of a tensor has another size than it states"
EARLY = "it ends early"


@pytest.fixture
def a(tmp_path: Path) -> Assembler:
    return Assembler(random.Random(0), tmp_path)


def refused(data: bytes, message: str, folder: Path) -> None:
    (folder / "x.pt").write_bytes(data)
    with pytest.raises(CheckpointError, match=message), open_checkpoint(folder / "x.pt"):
        pass


@pytest.mark.parametrize(
    ("offset", "size", "stride", "message"),
    [
        (0, [17], [1], BEYOND),
        (1, [16], [1], BEYOND),
        (0, [2, 2], [1, 15], BEYOND),
        (0, [4], [HUGE], BEYOND),
        (HUGE, [1], [1], BEYOND),
        (HUGE, [0], [1], BEYOND),
        (-1, [4], [1], NO_SIZE),
        (0, [-4], [1], NO_SIZE),
        (4, [4], [-1], NO_SIZE),
        (0, [4], [1, 1], NO_SIZE),
        (0, [HUGE], [0], "larger than any"),
        (0, [1] * 100, [1] * 100, "larger than any"),
    ],
)
def test_tensors(offset: int, size: list[int], stride: list[int], message: str, a: Assembler, tmp_path: Path) -> None:
    storage = a.storage(a.name("torch", "FloatStorage"), a.text("0"), b"K\x10")
    refused(zipped(b"\x80\x04" + a.tensor(storage, offset, size, stride) + b"."), message, tmp_path)


STORAGES: dict[str, tuple[Callable[[Assembler], bytes], str]] = {
    "more": (lambda a: a.storage(a.name("torch", "FloatStorage"), a.text("0"), b"K\x11"), SIZE),
    "fewer": (lambda a: a.storage(a.name("torch", "FloatStorage"), a.text("0"), b"K\x0f"), SIZE),
    "huge": (lambda a: a.storage(a.name("torch", "FloatStorage"), a.text("0"), a.number(HUGE)), SIZE),
    "negative": (lambda a: a.storage(a.name("torch", "FloatStorage"), a.text("0"), a.number(-1)), "in an unknown way"),
    "a bool": (lambda a: a.storage(a.name("torch", "FloatStorage"), a.text("0"), b"\x88"), "in an unknown way"),
    "absent": (lambda a: a.storage(a.name("torch", "FloatStorage"), a.text("9"), b"K\x10"), "is missing"),
    "elsewhere": (lambda a: a.storage(a.name("torch", "FloatStorage"), a.text("../data.pkl"), b"K\x10"), "is missing"),
    "no tuple": (lambda a: b"K\x01Q", "refers to data by a int"),
    "empty": (lambda a: b")Q", "in an unknown way"),
}


@pytest.mark.parametrize("kind", STORAGES)
def test_storages(kind: str, a: Assembler, tmp_path: Path) -> None:
    make, message = STORAGES[kind]
    refused(zipped(b"\x80\x04" + make(a) + b"."), message, tmp_path)


@pytest.mark.parametrize("count", [15, 17, -1, HUGE])
def test_lengths_of_older_files(count: int, a: Assembler, tmp_path: Path) -> None:
    storage = a.storage(a.name("torch", "FloatStorage"), a.text("0"), b"K\x10", b"N")
    body = b"\x80\x02" + a.tensor(storage, 0, [16], [1]) + b"." + b"\x80\x02](X\x01\0\0\x000e."
    refused(MAGIC + body + struct.pack("<q", count) + bytes(64), SIZE, tmp_path)
    refused(MAGIC + body + struct.pack("<q", 16) + bytes(60), EARLY, tmp_path)


@pytest.mark.parametrize("opcode", [b"\x8d", b"\x8e", b"\x96"])
@pytest.mark.parametrize("length", [1 << 33, 1 << 40, HUGE, (1 << 64) - 1])
def test_lengths_of_texts_and_bytes(opcode: bytes, length: int, tmp_path: Path) -> None:
    body = b"\x80\x04" + opcode + struct.pack("<Q", length) + b"x."
    for data in (zipped(body), MAGIC + body):
        refused(data, EARLY, tmp_path)


def test_members_of_one_place(tmp_path: Path) -> None:
    data = bytearray(zipped(b"N.", {"a/data/0": bytes(64), "a/data/1": bytes(64)}))
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    third = data.index(b"PK\x01\x02", second + 4)
    data[third + 42 : third + 46] = data[second + 42 : second + 46]
    refused(bytes(data), "two of its members overlap", tmp_path)


def test_members_of_one_name(tmp_path: Path) -> None:
    data = zipped(b"N.", {"a/data/0": bytes(64), "a/data/1": bytes(64)}).replace(b"a/data/1", b"a/data/0")
    refused(data, "two of its members have one name", tmp_path)


def test_members_that_swell(tmp_path: Path) -> None:
    refused(zipped(b"N.", {"a/data/0": bytes(1 << 20)}, zipfile.ZIP_DEFLATED), "unpacks to far more", tmp_path)
