"""Hostile checkpoints by generator, and what they do to a process: ``python hostile.py COUNT SEED FOLDER [torch]``.

Prints one JSON report. Files only ever name programs and places inside FOLDER. With "torch", a single file is read by
torch.load, which runs it: the report must show that.
"""

from __future__ import annotations

import builtins
import contextlib
import copyreg
import io
import json
import os
import pickle
import random
import resource
import struct
import sys
import time
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuronkit.errors import AssumptionWarning, CheckpointError
from neuronkit.models import CRAFT, PARSeq, load_checkpoint

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
SMALL = {"embed_dim": 8, "enc_depth": 1, "dec_depth": 1, "enc_num_heads": 1, "dec_num_heads": 1, "img_size": (8, 16)}


class Assembler:
    """Pickles, opcode by opcode."""

    def __init__(self, random_: random.Random, folder: Path) -> None:
        self.random, self.mark = random_, str(folder / "EXECUTED")

    def text(self, value: str) -> bytes:
        data = value.encode()
        return b"X" + struct.pack("<I", len(data)) + data

    def number(self, value: int) -> bytes:
        data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8b" + struct.pack("<I", len(data)) + data

    def name(self, module: str, qualified: str) -> bytes:
        if self.random.random() < 0.5:
            return self.text(module) + self.text(qualified) + b"\x93"
        return f"c{module}\n{qualified}\n".encode()

    def tuple(self, *items: bytes) -> bytes:
        return b"(" + b"".join(items) + b"t"

    def call(self, function: bytes, *arguments: bytes) -> bytes:
        return function + self.tuple(*arguments) + b"R"

    def dict(self, **items: bytes) -> bytes:
        return b"}(" + b"".join(self.text(key) + value for key, value in items.items()) + b"u"

    def storage(self, kind: bytes, key: bytes, count: bytes, *more: bytes) -> bytes:
        return self.tuple(self.text("storage"), kind, key, self.text("cpu"), count, *more) + b"Q"

    def tensor(self, storage: bytes, offset: int, size: list[int], stride: list[int]) -> bytes:
        sizes, strides = (self.tuple(*map(self.number, numbers)) for numbers in (size, stride))
        rebuild = self.name("torch._utils", "_rebuild_tensor_v2")
        return self.call(rebuild, storage, self.number(offset), sizes, strides, b"\x89", b"}")


def programs(a: Assembler) -> list[bytes]:
    """Objects whose reading runs something in an unpickler that looks names up."""
    run, touch = a.text(f"touch {a.mark}"), a.text(f"open({a.mark!r}, 'w')")
    mark, getattr_ = a.text(a.mark), a.name("builtins", "getattr")
    system = a.name("os", "system")
    return [
        a.call(system, run),
        a.call(a.name("posix", "system"), run),
        a.call(a.name("nt", "system"), run),
        a.call(a.name("builtins", "eval"), touch),
        a.call(a.name("__builtin__", "exec"), touch),
        a.call(a.name("subprocess", "check_call"), b"](" + a.text("touch") + mark + b"e"),
        a.call(a.call(getattr_, a.call(a.name("builtins", "__import__"), a.text("os")), a.text("system")), run),
        a.call(a.name("os", "path.os.system"), run),
        a.call(a.name("torch", "serialization.os.system"), run),
        a.call(a.name("collections", "OrderedDict.__init__.__globals__"), run),
        a.call(a.call(a.name("functools", "partial"), system), run),
        a.call(a.call(a.name("operator", "methodcaller"), a.text("touch")), a.call(a.name("pathlib", "Path"), mark)),
        a.call(a.name("builtins", "map"), system, b"](" + run + b"e"),
        a.call(a.name("torch", "load"), mark),
        a.call(a.name("torch.jit", "load"), mark),
        a.call(a.name("torch.hub", "load_state_dict_from_url"), a.text("file://" + a.mark)),
        a.call(a.name("torch", "from_file"), mark, b"\x88", b"K\x04"),
        a.call(a.name("numpy", "save"), mark, b"K\x01"),
        a.call(a.name("numpy.core.multiarray", "scalar"), system, run),
        a.call(a.name("importlib", "import_module"), a.text("antigravity")),
        a.call(a.name("torch.utils._config_module", "load_config"), run),
        a.call(a.name("torch._utils", "_rebuild_parameter"), a.call(system, run), b"\x88", b"}"),
        a.call(a.name("torch._tensor", "_rebuild_from_type_v2"), system, system, a.tuple(run), b"}"),
        a.call(a.name("copyreg", "_reconstructor"), system, a.name("builtins", "object"), run),
        a.call(a.name("collections", "defaultdict"), system) + b"(" + run + run + b"u",
        b"(" + system + run + b"o",
        b"(" + run + b"ios\nsystem\n",
        system + a.tuple(run) + b"\x81",
        system + a.tuple(run) + b"}\x92",
        b"\x82\x05" + a.tuple(run) + b"R",
        b"\x83\x05\x00" + a.tuple(run) + b"R",
        b"\x84\x05\x00\x00\x00" + a.tuple(run) + b"R",
        a.call(a.name("os", "putenv"), a.text("HOSTILE"), run),
        a.call(a.name("sys", "exit"), b"K\x01"),
        a.call(a.name("os", "_exit"), b"K\x01"),
        a.call(a.name("time", "sleep"), a.number(10**6)),
    ]


def builds(a: Assembler) -> list[bytes]:
    """Changes of classes, functions and objects of the process."""
    seven = a.dict(__init__=b"K\x07", __setstate__=a.name("os", "system"), __class__=b"N", __name__=a.text(a.mark))
    targets = [
        a.name("torch", "storage.TypedStorage"), a.name("torch", "Tensor"), a.name("torch.nn", "Module"),
        a.name("torch._utils", "_rebuild_tensor_v2"), a.name("collections", "OrderedDict"), a.name("os", "environ"),
        a.name("builtins", "print"), a.name("neuronkit.errors", "CheckpointError"), a.name("sys", "modules"),
        a.name("torch.nn", "Linear") + b")\x81", a.name("argparse", "Namespace") + b")\x81",
        a.call(a.name("collections", "OrderedDict")), a.call(a.name("torch", "Size"), b")"),
    ]  # fmt: skip
    states = [seven, b"N" + seven + b"\x86", a.text("x"), b"K\x01", b"]"]
    return [target + a.random.choice(states) + b"b" for target in targets] + [
        target + b"(" + a.text("HOSTILE") + b"K\x01u" for target in targets
    ]


def bombs(a: Assembler) -> list[bytes]:
    """Small pickles of large objects, long lengths, and slow ones."""
    doubled = b"]" + b"".join(b"q" + bytes([i]) + b"0](h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(200))
    pair = b")" + b"2\x86" * 90
    clash = (1 << 61) - 1
    long = a.text("y" * 200_000) + b"\x940"
    encode = a.name("_codecs", "encode") + b"\x940"
    return [
        b"Nr\xff\xff\xff\xff", b"N" + b"r\xff\xff\xff\x7f" * 50, doubled, pair, b"}" + pair + b"Ns",
        b"}(" + b"".join(a.number(i * clash) + b"N" for i in range(1, 20_000)) + b"u",
        b"}(" + b"".join(a.tuple(a.number(i * clash)) + b"N" for i in range(1, 5_000)) + b"u",
        b"](" + long + encode + (b"h\x01h\x00" + a.text("latin1") + b"\x86R") * 5_000 + b"e",
        b"](" + b"}" * 1_500_000 + b"e", b"](" + b"\x8f" * 1_500_000 + b"e", b"](" + b")" * 6_000_000 + b"e",
        b"(" * 100_000, b"]" * 100_000 + b"a" * 99_999, b"N" + b"\x85" * 200_000, b"N" + b"2\x86" * 100_000,
        a.name("x", "y") + b"2b" * 50_000, a.name("x", "y") + b")R" * 50_000,
        b"\x8d" + struct.pack("<Q", 1 << 62), b"\x8e" + struct.pack("<Q", 1 << 40), b"\x96" + b"\xff" * 8,
        b"B\xff\xff\xff\xff", b"X\xff\xff\xff\xff", b"\x8b\xff\xff\xff\x7f", b"\x8b\xff\xff\xff\xff",
        b"\x95" + b"\xff" * 8 + b"N", b"T\xff\xff\xff\xff", a.number(1 << 8_000), a.number(1 << 200_000),
        b"I" + b"9" * 4_000 + b"\n", b"I" + b"9" * 100_000 + b"\n", b"c" + b"x" * 100_000 + b"\ny\n",
        b"\x80\xff", b"\x97", b"\x98", b"P12\n", b"h\x00", b"j\xff\xff\xff\xff", b"R", b"b", b"u", b"e", b"0" * 9, b"1",
    ]  # fmt: skip


def storages(a: Assembler) -> list[bytes]:
    """State dicts whose tensors lie: persistent ids of odd shape, sizes, strides, offsets."""
    kind, key, count = a.name("torch", "FloatStorage"), a.text("0"), b"K\x10"
    good = a.storage(kind, key, count)
    huge = 1 << 62
    bad = [
        b"K\x05Q", a.text("0") + b"Q", b")Q", b"NQ", b"]Q", a.tuple(kind) + b"Q",
        a.tuple(a.text("module"), kind) + b"Q",
        a.tuple(a.text("module"), a.name("os", "system"), a.text(a.mark), a.text(a.mark)) + b"Q",
        a.storage(kind, key, a.number(-1)), a.storage(kind, key, a.number(huge)), a.storage(kind, key, b"\x88"),
        a.storage(kind, key, b"N"), a.storage(kind, key, a.text("16")), a.storage(kind, b"K\x00", count),
        a.storage(kind, a.text("../data.pkl"), count), a.storage(kind, a.text("/etc/passwd"), count),
        a.storage(kind, a.text("99"), count), a.storage(a.name("torch", "DoubleStorage"), key, count),
        a.storage(a.name("torch", "QInt8Storage"), key, count), a.storage(a.name("os", "system"), key, count),
        a.storage(a.text("FloatStorage"), key, count), a.storage(kind, key, count, b"N"),
        a.storage(kind, key, count, a.tuple(a.text("v"), a.number(8), a.number(huge))),
        a.storage(kind, key, count, a.tuple(a.text("v"), a.number(-8), a.number(4))),
    ]  # fmt: skip
    views = [
        (0, [17], [1]), (1, [16], [1]), (16, [1], [1]), (-1, [4], [1]), (0, [-4], [1]), (0, [4], [-1]),
        (huge, [1], [1]),
        (0, [huge], [0]), (0, [huge], [huge]), (0, [10**12], [0]), (0, [1 << 30, 1 << 30], [0, 0]), (0, [4], [1, 1]),
        (0, [1] * 500, [1] * 500), (0, [0], [huge]), (huge, [0], [1]), (0, [1 << 500], [1]), (0, [2, 2], [1, 15]),
    ]  # fmt: skip
    tensors = [a.tensor(storage, 0, [16], [1]) for storage in bad] + [a.tensor(good, *view) for view in views]
    odd = [
        a.call(a.name("torch._utils", "_rebuild_tensor_v2"), good),
        a.call(a.name("torch._utils", "_rebuild_tensor_v2"), good, b"\x88", b")", b")", b"\x89", b"}"),
        a.call(a.name("torch._utils", "_rebuild_tensor_v3"), good, b"K\x00", b")", b")", b"\x89", b"}", kind),
        a.call(a.name("torch._utils", "_rebuild_tensor_v2"), *(b"N",) * 6),
        a.call(a.name("torch", "Size"), b"K\x05"),
        a.call(a.name("torch._utils", "_rebuild_qtensor"), good, b"K\x00", b")", b")", b")", b"\x89", b"}"),
        a.call(a.name("numpy.core.multiarray", "_reconstruct"), b"N", b")", b"N") + a.tuple(*(b"K\x01",) * 5) + b"b",
        a.call(a.name("numpy", "dtype"), a.text("O8"), b"\x89", b"\x88") + a.tuple(b"K\x03", a.text("|")) + b"b",
        a.call(a.name("numpy", "dtype"), a.text("f" + "9" * 50), b"\x89", b"\x88"),
        a.call(a.name("builtins", "complex"), a.text("x"), b"N"),
    ]
    return [a.dict(**{a.random.choice(("conv_cls.4.weight", "pos_queries")): tensor}) for tensor in [*tensors, *odd]]


class Sound:
    """Sound files to spoil, and their parts."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.models = {CRAFT: CRAFT(width=1 / 64), PARSeq: PARSeq("abc", **SMALL)}
        self.settings = {"charset_train": "abc", **SMALL}

    def contents(self, cls: type, **settings: Any) -> dict[str, Any]:
        state = self.models[cls].state_dict()
        return {"state_dict": state, "hyper_parameters": {**self.settings, **settings}, "lr": 0.5, "n": np.float64(2)}

    def zip(self, cls: type, **settings: Any) -> bytes:
        buffer = io.BytesIO()
        torch.save(self.contents(cls, **settings), buffer)
        return buffer.getvalue()

    def legacy(self, cls: type) -> bytes:
        buffer = io.BytesIO()
        torch.save(self.contents(cls), buffer, _use_new_zipfile_serialization=False)
        return buffer.getvalue()

    def safetensors(self, cls: type, **spoiled: Any) -> bytes:
        header: dict[str, Any] = {}
        data = b""
        for name, value in self.models[cls].state_dict().items():
            raw = value.numpy().tobytes()
            kind = "F32" if value.is_floating_point() else "I64"
            header[name] = {
                "dtype": kind,
                "shape": list(value.shape),
                "data_offsets": [len(data), len(data) + len(raw)],
            }
            data += raw
        if spoiled:
            header[next(iter(header))].update(spoiled)
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data


def zipped(body: bytes, members: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a/data.pkl", body)
        for name, data in (members or {"a/data/0": bytes(64), "a/version": b"3"}).items():
            archive.writestr(name, data)
    return buffer.getvalue()


def wrapped(body: bytes, rng: random.Random) -> bytes:
    """A pickle in one of the formats that have one."""
    body = b"\x80\x04" + body + b"."
    kind = rng.randrange(4)
    if kind < 2:
        return zipped(body, method=zipfile.ZIP_DEFLATED if kind and len(body) < 4096 else zipfile.ZIP_STORED)
    keys = pickle.dumps(["0"], 2) + struct.pack("<q", 16) + bytes(64)
    return MAGIC + body + keys if kind == 2 else body


def archives(sound: Sound) -> list[bytes]:
    """Zips that lie, nest, overlap or swell."""
    whole = sound.zip(CRAFT)
    end = whole.rfind(b"PK\x05\x06")
    directory = struct.unpack("<I", whole[end + 16 : end + 20])[0]
    second = whole.find(b"PK\x01\x02", directory + 4)

    def patched(position: int, data: bytes) -> bytes:
        return whole[:position] + data + whole[position + len(data) :]

    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            archive.writestr("a/data.pkl", b"N.")
    fields = [(8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (42, 4)]
    lies = [
        patched(entry + at, value[:size])
        for entry in (directory, second)
        for at, size in fields
        for value in (b"\xff" * 4, b"\0" * 4, b"\x01\0\0\0")
    ]
    ends = [patched(end + at, value) for at in (8, 10, 12, 16, 20) for value in (b"\xff\xff", b"\0\0")]
    return [
        *lies, *ends, many.getvalue(),
        zipped(b"N.", {"a/data/0": bytes(40 << 20)}, zipfile.ZIP_DEFLATED),
        zipped(bytes(40 << 20), {}, zipfile.ZIP_DEFLATED),
        zipped(whole), zipped(b"N.", {"a/data/0": whole}),
        zipped(b"N.", {"a/constants.pkl": b"N.", "a/code/x.py": b""}),
        zipped(b"N.", {"b/data.pkl": b"N."}), zipped(b"N.", {"../data/0": b"x", "/etc/x": b"y"}),
        zipped(b"N.", {f"a/data/{i}": b"" for i in range(3000)}), zipped(b"N.", {"a/byteorder": b"big"}),
        whole + whole, whole[: end - 1] + whole[end:], b"junk" + whole, whole[:-22],
    ]  # fmt: skip


def others(sound: Sound, rng: random.Random) -> list[bytes]:
    """Settings out of range, names that are no names, safetensors that lie, files of other kinds."""
    large = [10**9, -1, 0, 2.5, float("nan"), "x", None, [], [1, 2, 3], {"a": 1}, True, 10**400]
    settings = [
        sound.zip(PARSeq, **{rng.choice([*SMALL, "charset_train", "refine_iters", "dropout"]): v}) for v in large
    ]
    settings += [sound.zip(PARSeq, charset_train="x" * 300_000), sound.zip(PARSeq, refine_iters=10**9)]
    names = ["\x1b[31mred\x1b[0m", "model." * 100_000, "n\0m", "\ud800", "x" * 1_000_000, "encoder.blocks.999999999.x"]
    for name in names:
        buffer = io.BytesIO()
        torch.save({name: torch.zeros(2), name + "y": torch.zeros(1)}, buffer)
        settings.append(buffer.getvalue())
    lies: list[dict[str, Any]] = [
        {"shape": [1 << 62]}, {"shape": [-1]}, {"shape": None}, {"shape": [0.5]}, {"shape": [1] * 1000}, {"dtype": "X"},
        {"dtype": 5}, {"data_offsets": [0, 1 << 62]}, {"data_offsets": [8, 0]}, {"data_offsets": [-4, 4]},
        {"data_offsets": []}, {"data_offsets": [0, 1]},
    ]  # fmt: skip
    tensors = [sound.safetensors(CRAFT, **lie) for lie in lies]
    headers = [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":1}',
        b'{"a":{},"a":{}}',
        b"{" + b"9" * 10_000,
        b'{"__metadata__":5}',
    ]
    tensors += [struct.pack("<Q", len(h)) + h for h in headers] + [struct.pack("<Q", 1 << 60) + b"{" + bytes(99)]
    kinds = [
        b"", bytes(4096), b"<!DOCTYPE html><html>", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        b"{}",
        b"\x08\x07\x12\x07pytorch", b"\x1f\x8b\x08" + bytes(99), b"\x89HDF\r\n\x1a\n", b"\x93NUMPY\x01\x00",
        b"PK\x05\x06",
        b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x80", b"\x80\x02.", b"\x80\x04N.",
        bytes(257) + b"ustar" + bytes(250),
        rng.randbytes(5_000), b"\x80" + rng.randbytes(5_000), b"PK\x03\x04" + rng.randbytes(5_000),
    ]  # fmt: skip
    return [*settings, *tensors, *kinds]


def spoiled(data: bytes, rng: random.Random) -> bytes:
    """One change that wear, a broken download or a person may make."""
    at, more = rng.randrange(len(data)), rng.randrange(1, 40)
    return rng.choice(
        [
            lambda: data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],
            lambda: data[:at] + rng.randbytes(more) + data[at + more :],
            lambda: data[:at] + data[at + more :],
            lambda: data[:at] + rng.randbytes(more) + data[at:],
            lambda: data[:at],
        ]
    )()


def files(count: int, seed: int, folder: Path) -> list[tuple[type, bytes]]:
    """`count` files and the class to load each into: every fixed case once, and mutations up to the count."""
    rng = random.Random(seed)
    sound = Sound()
    a = Assembler(rng, folder)
    fixed: list[bytes] = [*archives(sound), *others(sound, rng)]
    for body in [*programs(a), *builds(a), *bombs(a), *storages(a)]:
        fixed.append(wrapped(body, rng))
        if len(body) < 10_000:
            fixed.append(zipped(b"\x80\x04" + a.dict(state_dict=body, hyper_parameters=body, model=body) + b"."))
    rng.shuffle(fixed)
    seeds: list[Callable[[type], bytes]] = [sound.zip, sound.legacy, sound.safetensors]
    small = [data for data in fixed if 0 < len(data) < 100_000]
    while len(fixed) < count:
        base = rng.choice(seeds)(rng.choice([CRAFT, PARSeq])) if rng.random() < 0.6 else rng.choice(small)
        for _ in range(rng.randrange(1, 4)):
            base = spoiled(base, rng) if base else base
        fixed.append(base)
    return [(rng.choice([CRAFT, PARSeq]), data) for data in fixed[:count]]


EXPECTED_EVENTS = {"open", "object.__getattr__", "os.scandir", "marshal.loads", "import", "code.__new__", "builtins.id"}


def state_of_process(folder: Path) -> dict[str, Any]:
    """What a file could change."""
    watched = {
        "builtins": builtins, "torch": torch, "Tensor": torch.Tensor, "Module": torch.nn.Module, "sys": sys, "os": os,
        "_utils": torch._utils, "TypedStorage": torch.storage.TypedStorage, "OrderedDict": OrderedDict, "numpy": np,
        "error": CheckpointError, "rebuild": torch._utils._rebuild_tensor_v2,
    }  # fmt: skip
    found: dict[str, Any] = {
        name: {key: id(value) for key, value in vars(thing).items() if not key.startswith("_")}
        for name, thing in watched.items()
    }
    here = sorted(path.name for path in {*folder.iterdir(), *Path.cwd().iterdir()})
    found |= {"modules": sorted(sys.modules), "environ": dict(os.environ), "files": here, "folder": os.getcwd()}
    return found


def unsafe_load(kind: type, path: Path) -> None:
    torch.load(path, weights_only=False)


def main() -> None:
    count, seed, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).resolve()
    copyreg.add_extension("os", "system", 5)
    load: Callable[..., Any] = load_checkpoint
    if sys.argv[4:] == ["torch"]:
        cases = [(CRAFT, zipped(b"\x80\x04" + programs(Assembler(random.Random(0), folder))[0] + b"."))]
        load = unsafe_load
    else:
        cases = files(count, seed, folder)
    path, events, failures = folder / "case.pt", [], []
    watching = False

    def watch(event: str, arguments: Any) -> None:
        if not watching:
            return
        written = event == "open" and (arguments[0] != str(path) or arguments[1] not in ("r", "rb"))
        if event not in EXPECTED_EVENTS or written or event in ("import", "marshal.loads"):
            events.append(f"{event} {str(arguments)[:200]}")

    sys.addaudithook(watch)
    path.write_bytes(b"")
    warnings.simplefilter("ignore", AssumptionWarning)
    for kind in (CRAFT, PARSeq):  # whatever the first call imports
        for data in (
            Sound().zip(kind),
            Sound().legacy(kind),
            Sound().safetensors(kind),
            b"PK\x03\x04",
        ):
            path.write_bytes(data)
            with contextlib.suppress(CheckpointError):
                load_checkpoint(kind, path, charset="abc") if kind is PARSeq else load_checkpoint(kind, path)
    before = state_of_process(folder)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loaded, slowest = 0, 0.0
    for number, (kind, data) in enumerate(cases):
        path.write_bytes(data)
        begin = time.process_time()
        watching = True
        try:
            load(kind, path)
            loaded += 1
        except CheckpointError as error:
            message = str(error)
            if not message.isprintable() or len(message) > 2000 or "weights_only" in message:
                failures.append(f"{number}: message {message[:300]!r}")
        except BaseException as error:
            failures.append(f"{number}: {type(error).__name__}: {str(error)[:300]}")
        finally:
            watching = False
        slowest = max(slowest, time.process_time() - begin)
    path.write_bytes(Sound().zip(CRAFT))
    load_checkpoint(CRAFT, path)
    after = state_of_process(folder)
    report = {
        "torch": torch.__version__, "files": len(cases), "loaded": loaded, "failures": failures, "events": events,
        "changed": [key for key in before if before[key] != after[key]], "slowest_s": round(slowest, 2),
        "growth_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) // 1024,
    }  # fmt: skip
    print(json.dumps(report))


if __name__ == "__main__":
    main()
