"""Saving replaces nothing but artifacts, and loading believes nothing that it has not checked."""

import hashlib
import json
import os
import random
import socket
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import neuronkit
from neuronkit import CompiledModel, TensorSpec, compile_for_inferentia
from neuronkit.artifact import read_manifest
from neuronkit.artifact.consistency import is_for_neuron
from neuronkit.errors import ArtifactError, NeuronKitError, OptionError
from neuronkit.models import CRAFT
from neuronkit.ocr import ParseqProcessor
from neuronkit.storage.atomic import replacing_directory, replacing_file, sweep, temporary_directory
from neuronkit.storage.sealed import save_directory, seal_file

X = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model() -> CompiledModel:
    torch.manual_seed(0)
    return compile_for_inferentia(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), TensorSpec("x", (2, 4)), target="cpu")


@pytest.fixture(scope="module")
def saved(model: CompiledModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model.save(tmp_path_factory.mktemp("saved") / "model.pt")


# What is at the path before.


def test_an_earlier_artifact_is_replaced(model: CompiledModel, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    content = saved.read_bytes()
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    for before in (content, bytes(changed), content[: len(content) * 9 // 10], b""):
        path.write_bytes(before)
        model.save(path)
        assert torch.equal(neuronkit.load(path)(X), model(X))
    assert os.listdir(tmp_path) == ["m.pt"]


@pytest.mark.parametrize("content", [b"my notes", b"PK\3\4", bytes(1000)])
def test_a_file_that_is_no_artifact_stays(model: CompiledModel, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"notes.txt', a file that save\(\) did not write; expected a new path"):
        model.save(path)
    assert path.read_bytes() == content


def test_a_checkpoint_stays(model: CompiledModel, tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ArtifactError, match="a file that save"):
        model.save(tmp_path / "weights.pt")
    assert set(torch.load(tmp_path / "weights.pt")) == {"weight", "bias"}


def test_folders_pipes_and_sockets_stay(model: CompiledModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # Names of sockets are short.
    (tmp_path / "folder").mkdir()
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for name, what in (("folder", "a folder"), ("pipe", "a named pipe"), ("socket", "a socket")):
            before = os.lstat(name)
            with pytest.raises(ArtifactError, match=f"{name}', {what}; expected a new path"):
                model.save(name)
            assert os.lstat(name) == before


def test_devices_stay(model: CompiledModel, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/null")
    for path in (Path("/dev/null"), tmp_path / "link"):
        with pytest.raises(ArtifactError, match="a device; expected a new path"):
            model.save(path)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_symbolic_links_are_followed(model: CompiledModel, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "link.pt").symlink_to(tmp_path / "store" / "m.pt")
    for _ in range(2):  # To nothing at first, to an artifact then.
        assert model.save(tmp_path / "link.pt") == tmp_path / "link.pt"
        assert (tmp_path / "link.pt").is_symlink()
        assert torch.equal(neuronkit.load(tmp_path / "store" / "m.pt")(X), model(X))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ArtifactError, match="a symbolic link that leads to itself"):
        model.save(tmp_path / "loop")


@pytest.mark.parametrize("path", [None, 3, "", "a\0b", "x" * 300, "\ud800", b"bytes", "no/such/folder/m.pt"])
def test_what_is_no_path_is_refused(model: CompiledModel, path: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for call in (model.save, neuronkit.load, read_manifest):
        with pytest.raises(ArtifactError, match="got path="):
            call(path)
    assert os.listdir(tmp_path) == []


def test_a_name_of_255_bytes_is_written(model: CompiledModel, tmp_path: Path) -> None:
    path = model.save(tmp_path / ("x" * 252 + ".pt"))
    assert torch.equal(neuronkit.load(path)(X), model(X))


def directory_artifact(path: Path) -> None:
    from neuronkit.artifact.saving import destination

    save_directory(destination(path, directory=True), {"format": 2}, lambda work: (work / "graph").touch())


def test_a_directory_artifact_replaces_an_earlier_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    for _ in range(2):  # An empty folder at first, an artifact then.
        directory_artifact(path)
    (path / "graph").unlink()
    directory_artifact(path)  # A damaged one.
    (path / "mine.txt").write_text("keep me")
    with pytest.raises(ArtifactError, match=r"a folder with other files in it; expected .* remove it first"):
        directory_artifact(path)
    assert (path / "mine.txt").read_text() == "keep me"


# What killed writers left.


def test_litter_is_swept_and_running_writers_are_left_alone(model: CompiledModel, tmp_path: Path) -> None:
    path, other = tmp_path / "m.pt", tmp_path / ".n.pt.0123456789abcdef0123456789abcdef"
    litter = tmp_path / ".m.pt.0123456789abcdef0123456789abcdef"
    for left in (litter, other):
        left.write_bytes(b"half")
    with replacing_file(path) as running:
        assert not litter.exists()
        model.save(path)
        assert running.exists()
        running.write_bytes(b"the last one counts")
    assert path.read_bytes() == b"the last one counts"
    assert sorted(os.listdir(tmp_path)) == [other.name, "m.pt"]


def test_a_directory_is_replaced_in_one_step_or_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d"
    for text in ("old", "new"):
        with replacing_directory(path) as work:
            (work / "file").write_text(text)
    assert (path / "file").read_text() == "new"
    # Killed between two renames, where the file system cannot exchange.
    litter = tmp_path / ".d.0123456789abcdef0123456789abcdef"
    litter.mkdir()
    os.replace(path, litter / "old")
    sweep([path])
    assert (path / "file").read_text() == "new"
    assert os.listdir(tmp_path) == ["d"]
    # Where the system has no exchange.
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: object())
    with replacing_directory(path) as work:
        (work / "file").write_text("newest")
    assert (path / "file").read_text() == "newest"
    assert os.listdir(tmp_path) == ["d"]


def test_temporary_directories_of_killed_processes_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / ".neuronkit-trial.0123456789abcdef0123456789abcdef").mkdir()
    with temporary_directory("trial") as first, temporary_directory("trial") as second:
        assert sorted(tmp_path.iterdir()) == sorted([first, second])
    assert os.listdir(tmp_path) == []


def test_a_directory_that_is_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that begins to write at that moment takes it for abandoned."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    plain, opened = os.open, []

    def swept(path: Any, *args: Any, **named: Any) -> int:
        opened.append(path)
        if len(opened) == 1:
            sweep([tmp_path / "neuronkit-trial"])
        return plain(path, *args, **named)

    monkeypatch.setattr("os.open", swept)
    with temporary_directory("trial") as work:
        assert list(tmp_path.iterdir()) == [work]
    assert opened[0] != work


# Digests.


def test_a_digest_from_elsewhere_is_checked(saved: Path, model: CompiledModel, tmp_path: Path) -> None:
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    for given in (digest, digest.upper(), f" {digest}\n"):
        assert torch.equal(neuronkit.load(saved, sha256=given)(X), model(X))
    resealed = tmp_path / "resealed.pt"
    change_manifest(saved, resealed, lambda manifest: manifest.update(neuronkit="9"))
    neuronkit.load(resealed)
    with pytest.raises(ArtifactError, match=f"has SHA-256 .*; expected {digest}; do not load it"):
        neuronkit.load(resealed, sha256=digest)
    for bad in ("", "abc", digest[:-1], digest + "0", 3, b"0" * 64, "z" * 64):
        with pytest.raises(OptionError, match=r"got sha256=[^;]*; expected (64 hexadecimal digits|text)"):
            neuronkit.load(saved, sha256=bad)  # type: ignore[arg-type]


# Files that somebody sealed.


def change_manifest(source: Path, path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Copy an artifact with a changed manifest, and seal it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename.endswith("/extra/neuronkit.json"):
                manifest = json.loads(content)
                replaced = change(manifest)
                content = replaced if isinstance(replaced, bytes) else json.dumps(manifest).encode()
            new.writestr(entry.filename, content)
    seal_file(path)


def shape(entry: str, index: int, value: Any) -> Callable[[dict[str, Any]], Any]:
    def change(manifest: dict[str, Any]) -> None:
        manifest[entry][index]["shape"] = value
        if entry == "inputs":
            manifest["graphs"]["main"][index]["shape"] = value

    return change


def dtype(entry: str, value: str) -> Callable[[dict[str, Any]], Any]:
    def change(manifest: dict[str, Any]) -> None:
        manifest[entry][0]["dtype"] = value
        if entry == "inputs":
            manifest["graphs"]["main"][0]["dtype"] = value

    return change


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        (
            shape("outputs", 0, [2, 4]),
            r"its graph gives float32\[2, 3\], and its manifest says output_0: float32\[2, 4",
        ),
        (shape("inputs", 0, [2, 5]), r"the graph takes x: float32\[2, 5\], with which it fails"),
        (shape("inputs", 0, [3, 4]), r"its graph gives float32\[3, 3\], and its manifest says"),
        (shape("inputs", 0, [2, 1 << 40]), r"the graph takes x: float32\[2, \d+\], with which it fails \('too large"),
        (dtype("outputs", "float16"), r"its graph gives float32\[2, 3\], and its manifest says output_0: float16"),
        (
            lambda m: m["graphs"].update(other=m["graphs"]["main"]),
            "its manifest names 2 graphs, and it has 1",
        ),
        (lambda m: m["inputs"].append(m["inputs"][0]), "gives model and graph different inputs"),
        (lambda m: m["outputs"].append(m["outputs"][0]), r"its graph gives float32\[2, 3\], and its manifest says"),
        (lambda m: m.update(target="inf2"), "its manifest says that it is for 'inf2', and its graphs are for the CPU"),
        (lambda m: m.update(target="xla"), "for 'xla', which makes no such artifact"),
        (lambda m: m.update(target="trn3"), "is a file, and its manifest says that it is for 'trn3'"),
        (lambda m: m.update(target="tpu"), "its manifest is damaged .*target 'tpu'|got target='tpu'"),
        (lambda m: m.update(role="reader"), "its manifest is damaged .*got role='reader'"),
        (lambda m: m.update(processor={"kind": "nobody"}), "the processor in its manifest is none"),
        (lambda m: m["options"].pop("neuroncores"), "its manifest is damaged .*neuroncores"),
        (lambda m: m["options"].update(auto_cast_type="x"), "its manifest is damaged .*auto_cast_type"),
        (lambda m: m.update(source={"a": 1}), "its manifest is damaged .*class"),
        (lambda m: m["source"].update(weight_hash=[1]), r"its manifest is damaged .*source\.weight_hash"),
        (lambda m: m.update(parity={"static": None}), "its manifest is damaged"),
        (lambda m: m["parity"]["static"].update(outputs=[]), "its manifest is damaged"),
        (lambda m: m["parity"]["static"]["outputs"][0].update(max_abs="x"), "its manifest is damaged .*to float"),
        (lambda m: m.update(inputs=[]), "it names no inputs"),
        (lambda m: b"[" * 100_000, "its manifest cannot be read"),
        (lambda m: b'{"format": 2}', "its manifest is damaged"),
        (lambda m: b"[1]", "its manifest is damaged .*format is None"),
        (lambda m: b"\xff", "its manifest cannot be read"),
        (lambda m: b"", "its manifest cannot be read"),
    ],
)
def test_a_manifest_that_lies_is_found_out(
    saved: Path, tmp_path: Path, lie: Callable[[dict[str, Any]], Any], message: str
) -> None:
    change_manifest(saved, tmp_path / "lie.pt", lie)
    with pytest.raises(ArtifactError, match=message):
        neuronkit.load(tmp_path / "lie.pt")


def test_a_lie_about_the_dtype_of_an_input_is_found_by_the_first_call_at_the_latest(
    saved: Path, tmp_path: Path
) -> None:
    change_manifest(saved, tmp_path / "lie.pt", dtype("inputs", "int32"))
    with pytest.raises(ArtifactError, match=r"fails on .*\(x: int32\[2, 4\]\)|takes x: int32.* it fails"):
        neuronkit.load(tmp_path / "lie.pt")(X.int())


def test_a_lie_about_one_of_several_graphs_is_found_out(tmp_path: Path) -> None:
    from neuronkit import make_static
    from neuronkit.models import PARSeq

    sizes: dict[str, Any] = {"embed_dim": 16, "enc_depth": 1, "enc_num_heads": 2, "dec_num_heads": 2}
    parseq = PARSeq("xyz", max_label_length=1, patch_size=(16, 32), **sizes)
    compiled = compile_for_inferentia(
        make_static(parseq), target="cpu", processor=ParseqProcessor(charset="xyz"), verify=False
    )
    path = compiled.save(tmp_path / "m.pt")
    neuronkit.load(path)

    def wider(manifest: dict[str, Any]) -> None:
        manifest["graphs"]["encode"][0]["shape"] = [1, 3, 32, 256]

    change_manifest(path, tmp_path / "lie.pt", wider)
    with pytest.raises(ArtifactError, match=r"that graph 'encode' takes images: .*, with which it fails"):
        neuronkit.load(tmp_path / "lie.pt")
    change_manifest(path, tmp_path / "longer.pt", shape("outputs", 0, [1, 3, 4]))
    with pytest.raises(ArtifactError, match="joins its graphs to 2 steps, and its output has 3"):
        neuronkit.load(tmp_path / "longer.pt")
    # The loop that joins graphs has no rule for tensors without data; its first call tells.
    change_manifest(path, tmp_path / "outputs.pt", dtype("outputs", "float16"))
    lying = neuronkit.load(tmp_path / "outputs.pt")
    with pytest.raises(ArtifactError, match=r"its graph gives float32\[1, 2, 4\], and its manifest says logits"):
        lying(lying.specs[0].example())


def test_what_the_code_calls_decides_whether_it_is_for_neuron(tmp_path: Path) -> None:
    for code, expected in (
        ("_0 = ops.neuron.forward_v2([x], model)", True),
        ("model : __torch__.torch.classes.neuron.Model", True),
        ("part : __torch__.torch_neuron.convert.NeuronModule", True),
        ("part : __torch__.my.neuron.models.Network", False),
        ("part : __torch__.neuronkit.adapters.craft.Network", False),
    ):
        with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
            archive.writestr("a/code/__torch__/model.py", code)
        assert is_for_neuron(tmp_path / "a.pt") is expected, code


def test_other_files_are_named(tmp_path: Path) -> None:
    torch.save(CRAFT(width=0.1).state_dict(), tmp_path / "checkpoint.pth")
    with pytest.raises(ArtifactError, match=r"it is a checkpoint\. Build the model and fill it"):
        neuronkit.load(tmp_path / "checkpoint.pth")
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(tmp_path / "plain.pt"))
    with pytest.raises(ArtifactError, match=r"it is plain TorchScript. Load it with torch\.jit\.load"):
        neuronkit.load(tmp_path / "plain.pt")


def reseal(content: bytearray, path: Path) -> None:
    """Write content with the seal that belongs to it."""
    body = bytes(content[: -len(b"neuronkit:sha256:") - 64])
    path.write_bytes(body + b"neuronkit:sha256:" + hashlib.sha256(body).hexdigest().encode())


def test_sealed_files_of_any_content_give_our_errors(saved: Path, tmp_path: Path) -> None:
    whole, path, rng, refused = saved.read_bytes(), tmp_path / "hostile.pt", random.Random(0), 0
    directory = whole.rindex(b"PK\1\2", 0, whole.rindex(b"PK\1\2"))
    for _trial in range(300):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            # Mostly in the archive's directory, whose fields lead readers astray.
            start = rng.choice([0, directory, directory, len(whole) - 400])
            place = rng.randrange(start, len(whole) - 81)
            kind = rng.randrange(4)
            if kind == 0:
                content[place] ^= 1 << rng.randrange(8)
            elif kind == 1:
                content[place : place + 4] = struct.pack("<I", rng.choice([0, 1, 0xFFFF, 0xFFFFFFFF, 0x7FFFFFFF]))
            elif kind == 2:
                del content[place : place + rng.randint(1, 60)]
            else:
                content[place:place] = rng.randbytes(rng.randint(1, 60))
        reseal(content, path)
        for call in (read_manifest, neuronkit.load):
            try:
                call(path)
            except NeuronKitError:
                refused += 1
    assert refused > 300
