"""What people have on disk: every value equals torch.load's, and every broken or foreign file is named."""

import argparse
import collections
import datetime
import enum
import io
import json
import math
import os
import pathlib
import random
import struct
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neuronkit.errors import AssumptionWarning, CheckpointError
from neuronkit.models import CRAFT, PARSeq, load_checkpoint
from neuronkit.models.files.pickles.numpy_values import NumpyArray
from neuronkit.models.files.pickles.standins import StandIn
from neuronkit.models.files.reader import open_checkpoint
from neuronkit.models.files.stored import StoredTensor

FILES = Path(__file__).with_name("files")
LEGACY = {"_use_new_zipfile_serialization": False}
SIZES = {
    "embed_dim": 8, "enc_depth": 1, "dec_depth": 1, "enc_num_heads": 2, "dec_num_heads": 4, "img_size": [8, 16],
    "max_label_length": 5,
}  # fmt: skip


class Color(enum.Enum):
    RED = 1


class DotDict(dict[str, Any]):
    """Of the CRAFT trainers."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(name)
        return self[name]


class Settings:
    """A class that nobody else has."""

    def __init__(self) -> None:
        self.embed_dim = 8


def averaged(model: Any, other: Any, step: Any) -> Any:
    return model


def values() -> dict[str, Any]:
    base = torch.arange(24.0).reshape(4, 6)
    return {
        "types": [
            torch.arange(5).to(t) for t in (torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.bool)
        ],
        "complex": [torch.tensor([1 + 2j, 3 - 1j]), torch.tensor([1 + 2j]).conj(), torch.tensor([1 + 2j]).conj().imag],
        "views": [base, base.t(), base[1:, ::2], base[2], torch.zeros(1).expand(3, 4), base[:0], torch.tensor(5)],
        "parameters": nn.ParameterList(
            [nn.Parameter(torch.randn(2)), nn.Parameter(torch.randn(2).half())]
        ).state_dict(),
        "module": nn.BatchNorm2d(3).state_dict(),
        "numbers": [
            1,
            -1,
            2**40,
            10**30,
            True,
            None,
            0.1,
            -math.inf,
            1 + 2j,
            "текст",
            "",
            b"bytes\xff",
            bytearray(b"x"),
        ],
        "numpy": [np.float64(1.5), np.int32(-3), np.bool_(True), np.complex64(1j), np.arange(6).reshape(2, 3)],
        "arrays": [np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(3, dtype=">i2"), np.zeros((0, 2))],
        "containers": [
            {1: (2, [3])},
            collections.OrderedDict(a=1),
            collections.Counter("abca"),
            {1, 2},
            frozenset("a"),
        ],
        "more": [collections.defaultdict(list, {"a": [1]}), collections.deque([1, 2], 5), torch.Size([1, 2]), ((),)],
        "random": [random.Random(0).getstate(), torch.Generator().get_state()],
    }


def read(value: Any) -> Any:
    """What `open_checkpoint` gives, with tensors and arrays read."""
    if isinstance(value, StoredTensor):
        return value.tensor()
    if isinstance(value, NumpyArray):
        return value.values
    if isinstance(value, dict):
        return {key: read(item) for key, item in value.items()}
    return type(value)(map(read, value)) if isinstance(value, (list, tuple)) else value


def assert_equal(found: Any, expected: Any) -> None:
    if isinstance(expected, Tensor):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert torch.equal(found, expected)
    elif isinstance(expected, np.ndarray):
        assert found.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_equal(found[key], value)
    elif isinstance(expected, (list, tuple, collections.deque)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected):
            assert_equal(one, other)
    else:
        assert found == expected
        assert type(found) is type(expected) or isinstance(expected, (frozenset, bytearray))


@pytest.mark.parametrize("name", values())
@pytest.mark.parametrize("options", [{}, LEGACY, {"pickle_protocol": 4}, {**LEGACY, "pickle_protocol": 5}])
def test_everything_that_is_data_reads_as_torch_reads_it(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    contents = values()[name]
    torch.save(contents, tmp_path / "x.pt", **options)
    with open_checkpoint(tmp_path / "x.pt") as found:
        assert_equal(read(found), torch.load(tmp_path / "x.pt", weights_only=False))


@pytest.mark.parametrize("options", [{}, LEGACY])
def test_tied_weights_share_what_they_are_read_from(options: dict[str, Any], tmp_path: Path) -> None:
    shared = torch.randn(6)
    torch.save({"a": shared, "b": shared.view(2, 3), "c": shared[1:4]}, tmp_path / "x.pt", **options)
    with open_checkpoint(tmp_path / "x.pt") as found:
        assert len({id(value.storage.block) for value in found.values()}) == 1
        assert_equal(read(found), {"a": shared, "b": shared.view(2, 3), "c": shared[1:4]})


def objects() -> dict[str, Any]:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(1, 2)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9)
    return {
        "optimizer": optimizer.state_dict(),
        "schedule": {**schedule.state_dict(), "anneal_func": torch.optim.lr_scheduler.OneCycleLR._annealing_cos},
        "bound": [random.Random(0).random, schedule.get_last_lr],
        "averaging": {"avg_fn": averaged, "builtin": len, "method": str.join},
        "classes": [
            Settings(),
            Settings,
            Color.RED,
            Color,
            datetime.datetime(2024, 1, 1),
            pathlib.Path("a/b"),
            range(3),
        ],
        "numpy": [np.array([1, "x"], dtype=object), np.array(["text"]), np.datetime64("2024-01-01"), np.dtype("f4")],
        "torch": [torch.float32, torch.device("cpu"), torch.zeros(2, 2).to_sparse(), torch.zeros(1, device="meta")],
    }


@pytest.mark.parametrize("name", objects())
@pytest.mark.parametrize("options", [{}, LEGACY, {"pickle_protocol": 4}])
def test_objects_beside_the_weights_are_no_obstacle(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    model = CRAFT(width=1 / 32)
    torch.save({"craft": model.state_dict(), "more": objects()[name]}, tmp_path / "x.pt", **options)
    loaded = load_checkpoint(CRAFT, tmp_path / "x.pt")
    assert_equal(loaded.state_dict(), dict(model.state_dict()))


def test_a_checkpoint_that_lightning_wrote() -> None:
    """Lightning 2.6, four epochs with OneCycleLR and weight averaging, the charset as OmegaConf's ListConfig."""
    model = load_checkpoint(PARSeq, FILES / "lightning.ckpt")
    assert model.charset.characters == "абвгд"
    assert (model.img_size, model.max_label_length, model.encoder.blocks[0].attn.num_heads) == ((8, 16), 5, 2)
    again = load_checkpoint(PARSeq("абвгд", **SIZES), FILES / "lightning.ckpt")
    assert_equal(again.state_dict(), dict(model.state_dict()))


def omegaconf(value: Any) -> Any:
    """An object with the classes and attributes of OmegaConf's."""
    module = sys.modules["omegaconf.x"]
    kind = {dict: "DictConfig", list: "ListConfig"}.get(type(value), "AnyNode")
    node = vars(module)[kind]()
    node.__dict__ = {"_metadata": Settings(), "_parent": None}
    if isinstance(value, dict):
        node._content = {key: omegaconf(item) for key, item in value.items()}
    elif isinstance(value, list):
        node._content = [omegaconf(item) for item in value]
    else:
        node._val = value
    return node


CONFIGURATIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "Namespace": lambda s: {"args": argparse.Namespace(**s)},
    "SimpleNamespace": lambda s: {"opt": types.SimpleNamespace(**s)},
    "DotDict": lambda s: {"cfg": DotDict(model=DotDict(s))},
    "defaultdict": lambda s: {"hyper_parameters": collections.defaultdict(str, s)},
    "OmegaConf": lambda s: {"cfg": omegaconf({"model": s})},
    "references": lambda s: {
        "cfg": omegaconf({"model": {**s, "charset": "${data.text}"}, "data": {"text": s["charset"]}})
    },
    "NumPy": lambda s: {"hyper_parameters": {k: v if isinstance(v, str) else np.array(v)[()] for k, v in s.items()}},
    "charset_train as a list": lambda s: {
        "hyper_parameters": {**s, "charset": None, "charset_train": list(s["charset"])}
    },
}


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_architecture_and_characters_come_from_configurations(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = types.ModuleType("omegaconf.x")
    for name in ("DictConfig", "ListConfig", "AnyNode"):
        setattr(fake, name, type(name, (), {"__module__": "omegaconf.x"}))
    monkeypatch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
    monkeypatch.setitem(sys.modules, "omegaconf.x", fake)
    model = PARSeq("дгвба", **SIZES)
    settings = {"charset": "дгвба", "refine_iters": 3, **SIZES}
    torch.save({"model": model.state_dict(), **CONFIGURATIONS[kind](settings)}, tmp_path / "x.pt")
    monkeypatch.delitem(sys.modules, "omegaconf.x")
    loaded = load_checkpoint(PARSeq, tmp_path / "x.pt")
    assert (loaded.charset.characters, loaded.refine_iters, loaded.img_size) == ("дгвба", 3, (8, 16))
    assert_equal(loaded.state_dict(), dict(model.state_dict()))


def safetensors(state: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    names = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}
    header: dict[str, Any] = {"__metadata__": metadata}
    data = b""
    for name, value in state.items():
        raw = bytes(value.contiguous().reshape(-1).view(torch.uint8).numpy())
        span = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": names[value.dtype], "shape": list(value.shape), "data_offsets": span}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def test_safetensors(tmp_path: Path) -> None:
    model = PARSeq("дгвба", **SIZES)
    state = {f"model.{name}": value for name, value in model.bfloat16().state_dict().items()}
    (tmp_path / "x.safetensors").write_bytes(safetensors(state, {"charset": "дгвба"}))
    with pytest.warns(AssumptionWarning, match=r"assumed images of 8 x 16 pixels; .* pass PARSeq\(.*img_size="):
        loaded = load_checkpoint(PARSeq, tmp_path / "x.safetensors", heads=(2, 4))
    assert loaded.charset.characters == "дгвба"
    assert_equal(loaded.bfloat16().state_dict(), dict(model.state_dict()))


def renamed(data: bytes, *names: tuple[str, str]) -> bytes:
    """The archive with members of other names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(dict(names).get(name, name), old.read(name))
    return buffer.getvalue()


def saved(contents: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(contents, buffer, **options)
    return buffer.getvalue()


def script() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(1, 1), torch.zeros(1, 1)), buffer)
    return buffer.getvalue()


def artifact() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(1, 1), torch.zeros(1, 1)), buffer, {"neuronkit.json": "{}"})
    return buffer.getvalue()


def packed(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def quantised() -> dict[str, Any]:
    state = CRAFT(width=1 / 32).state_dict()
    return {**state, "conv_cls.8.weight": torch.quantize_per_tensor(state["conv_cls.8.weight"], 0.1, 0, torch.qint8)}


FOREIGN: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "got an empty file"),
    "HTML": (lambda: b"\n<!DOCTYPE html><html>", "got an HTML page; .* download the file that the page links to"),
    "LFS": (
        lambda: b"version https://git-lfs.github.com/spec/v1\noid",
        "got a Git LFS pointer.*; fetch .* `git lfs pull`",
    ),
    "JSON": (lambda: b'{"weight_map": {}}', "got a JSON text"),
    "ONNX": (lambda: b"\x08\x08\x12\x07pytorch", "got an ONNX model; .* give the PyTorch weights"),
    "TorchScript": (script, "got a TorchScript archive, which is a program; .* save the state dict"),
    "artifact": (artifact, r"got an artifact that neuronkit compiled; .* load it with neuronkit\.load"),
    "whole model": (lambda: saved(nn.Linear(1, 1)), r"got a whole pickled object, torch\.nn\.modules\.linear\.Linear"),
    "whole model, legacy": (lambda: saved(nn.Linear(1, 1), **LEGACY), r"got a whole pickled object, .*linear\.Linear"),
    "model under a key": (lambda: saved({"model": nn.Linear(1, 1)}), r"got a whole pickled object, .*linear\.Linear"),
    "zip": (
        lambda: packed(**{"craft.pth": b"x"}),
        r"got a zip archive of other files \(with craft\.pth inside\); .* unpack",
    ),
    "npz": (lambda: packed(**{"x.npy": b"x"}), "got a NumPy archive"),
    "gzip": (lambda: b"\x1f\x8b\x08" + bytes(50), "got a gzip archive; .* unpack it"),
    "tar": (
        lambda: b"pickle\0" + bytes(250) + b"ustar" + bytes(250),
        r"got a tar file of torch before 0\.2; .* torch 1\.13",
    ),
    "big-endian": (lambda: packed(**{"a/data.pkl": b"N.", "a/byteorder": b"big"}), "got a checkpoint in big-endian"),
    "other pickle": (lambda: b"\x80\x02K\x01.", "got a pickle that torch.save did not write"),
    "something": (lambda: b"hello", "got a file of an unknown kind"),
    "quantised": (
        lambda: saved(quantised()),
        r"missing: conv_cls\.8\.weight \(torch\._utils\._rebuild_qtensor, which was sk",
    ),
    "nothing known": (
        lambda: saved({"x": Settings()}),
        r"got keys x; skipped objects of .*Settings, and no state dict",
    ),
    "integers": (
        lambda: saved({k: v.long() for k, v in CRAFT(width=1 / 32).state_dict().items()}),
        r"134 mis-typed: basenet\.slice1\.0\.weight torch\.int64, expected torch\.float32",
    ),
    "data elsewhere": (lambda: renamed(saved(CRAFT(width=1 / 32).state_dict()), ("archive/data/0", "x")), "is missing"),
}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize("kind", FOREIGN)
def test_other_files_are_named(kind: str, tmp_path: Path) -> None:
    make, message = FOREIGN[kind]
    (tmp_path / "x.pth").write_bytes(make())
    with pytest.raises(CheckpointError, match=r"x\.pth: .*" + message) as caught:
        load_checkpoint(CRAFT, tmp_path / "x.pth")
    assert str(caught.value).isprintable()


def test_flipped_bits_are_seen_or_do_not_matter(tmp_path: Path) -> None:
    model = CRAFT(width=1 / 64)
    expected = dict(model.state_dict())
    whole = saved(expected)
    refused = 0
    for i in range(300):
        place = random.Random(i).randrange(8 * len(whole))
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        (tmp_path / "x.pt").write_bytes(data)
        try:
            assert_equal(load_checkpoint(CRAFT, tmp_path / "x.pt").state_dict(), expected)
        except CheckpointError:
            refused += 1
    assert refused > 100


def test_expanded_tensors_do_not_fill_the_memory(tmp_path: Path) -> None:
    state = CRAFT(width=1 / 64).state_dict()
    state["basenet.slice5.1.weight"] = torch.zeros(1).expand(10_000, 10_000, 3, 3)
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"got tensors of 36000.* bytes that share .* bytes in the file"):
        load_checkpoint(CRAFT, tmp_path / "x.pt")


def test_a_path_that_the_locale_cannot_write(tmp_path: Path) -> None:
    torch.save(CRAFT(width=1 / 64).state_dict(), tmp_path / "веса.pt")
    code = (
        "from neuronkit.models import *; load_checkpoint(CRAFT, '{}/\\u0432\\u0435\\u0441\\u0430.pt'); print('loaded')"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code.format(tmp_path)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert (run.stdout.strip(), run.stderr) == ("loaded", "")


@pytest.mark.parametrize("path", [None, 5, "a\0b", "x" * 5000, b"x.pt", "/dev/null", "."])
def test_what_is_no_path(path: Any) -> None:
    with pytest.raises(CheckpointError, match="got path="):
        load_checkpoint(CRAFT, path)


def test_a_stand_in_of_an_unknown_class_keeps_its_name_alone(tmp_path: Path) -> None:
    torch.save({"x": Settings(), "y": argparse.Namespace(a=1)}, tmp_path / "x.pt")
    with open_checkpoint(tmp_path / "x.pt") as found:
        assert isinstance(found["x"], StandIn)
        assert found["x"].attributes is None
        assert found["x"].kind.endswith(".Settings")
        assert found["y"].attributes == {"a": 1}


def large(data: bytes) -> bytes:
    """The archive as those above 4 GB are written: places in 64 bits, in records of their own."""
    end = data.rfind(b"PK\x05\x06")
    count, size, begin = struct.unpack("<10xHII2x", data[end : end + 22])
    first = bytearray(data[begin : begin + size])
    header = struct.unpack("<I", first[42:46])[0]
    name, extra = struct.unpack("<HH", first[28:32])
    first[42:46] = b"\xff" * 4
    first[30:32] = struct.pack("<H", extra + 12)
    first[46 + name : 46 + name] = struct.pack("<HHQ", 1, 8, header)
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, len(first), begin)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, begin + len(first), 1)
    return data[:begin] + bytes(first) + record + locator + b"PK\x05\x06" + b"\0" * 4 + b"\xff" * 12 + b"\0\0"


def test_archives_with_places_in_64_bits(tmp_path: Path) -> None:
    model = CRAFT(width=1 / 64)
    (tmp_path / "x.pt").write_bytes(large(saved(model.state_dict())))
    assert_equal(load_checkpoint(CRAFT, tmp_path / "x.pt").state_dict(), dict(model.state_dict()))
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        assert archive.testzip() is None


def test_a_compressed_archive(tmp_path: Path) -> None:
    model = CRAFT(width=1 / 64)
    old = zipfile.ZipFile(io.BytesIO(saved(model.state_dict())))
    with old, zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert_equal(load_checkpoint(CRAFT, tmp_path / "x.pt").state_dict(), dict(model.state_dict()))


@pytest.mark.parametrize("more", range(20, 52, 8))
def test_a_compressed_archive_whose_last_bytes_unpack_behind_a_full_piece(more: int, tmp_path: Path) -> None:
    contents = {"noise": torch.rand(1 << 17), "zeros": torch.zeros((1 << 18) + more)}
    old = zipfile.ZipFile(io.BytesIO(saved(contents)))
    with old, zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with open_checkpoint(tmp_path / "x.pt") as found:
        assert_equal(read(found), contents)


@pytest.mark.torch2
def test_dtypes_of_newer_torch(tmp_path: Path) -> None:
    names = [name for name in ("uint16", "uint32", "float8_e4m3fn", "float8_e5m2") if hasattr(torch, name)]
    contents = {name: torch.arange(5, dtype=torch.float32).to(getattr(torch, name)) for name in names}
    torch.save(contents, tmp_path / "x.pt")
    with open_checkpoint(tmp_path / "x.pt") as found:
        for name, value in read(found).items():
            assert value.dtype == getattr(torch, name)
            assert torch.equal(value.view(torch.uint8), contents[name].view(torch.uint8))


def python2(state: dict[str, Tensor]) -> bytes:
    """A state dict as torch 0.3 wrote it under Python 2: byte strings for texts, tensors without hooks."""

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode()

    pairs, blobs = b"", b""
    for i, (name, value) in enumerate(state.items()):
        identity = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(str(i)) + text("cpu")
        identity += b"I%d\nNtQ" % value.numel()
        numbers = [b"(" + b"".join(b"K" + bytes([n]) for n in row) + b"t" for row in (value.shape, value.stride())]
        tensor = b"ctorch._utils\n_rebuild_tensor\n(" + identity + b"K\x00" + b"".join(numbers) + b"tR"
        pairs += b"](" + text(name) + tensor + b"e"
        blobs += struct.pack("<q", value.numel()) + value.numpy().tobytes()
    body = b"\x80\x02ccollections\nOrderedDict\n](" + pairs + b"e\x85R."
    keys = b"\x80\x02](" + b"".join(text(str(i)) for i in range(len(state))) + b"e."
    head = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}" + text("little_endian") + b"\x88s."
    return head + body + keys + blobs


def test_a_file_of_python_2(tmp_path: Path) -> None:
    model = CRAFT(width=1 / 64)
    state = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    (tmp_path / "x.pth").write_bytes(python2(state))
    assert_equal(torch.load(tmp_path / "x.pth", weights_only=False), state)
    assert_equal(load_checkpoint(CRAFT, tmp_path / "x.pth").state_dict(), dict(model.state_dict()))


@pytest.mark.parametrize("options", [{}, LEGACY])
def test_large_arrays_within_the_pickle(options: dict[str, Any], tmp_path: Path) -> None:
    array = np.zeros(30 << 20, dtype=np.uint8)
    torch.save(
        {"craft": CRAFT(width=1 / 64).state_dict(), "x": array, "text": "я" * (1 << 20)}, tmp_path / "x.pt", **options
    )
    with open_checkpoint(tmp_path / "x.pt") as found:
        assert found["x"].values.size == array.size
        assert found["text"] == "я" * (1 << 20)
