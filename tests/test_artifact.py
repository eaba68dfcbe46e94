"""An artifact is whole, or it is an ArtifactError that says what to do."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import neuronkit
from neuronkit import CompiledModel, TensorSpec, compile_for_inferentia
from neuronkit.errors import ArtifactError, OptionError, SpecError
from neuronkit.ocr import CraftProcessor, ParseqProcessor


def compiled() -> CompiledModel:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    return compile_for_inferentia(model, TensorSpec("x", (2, 4)), target="cpu")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled().save(tmp_path_factory.mktemp("artifact") / "model.pt")


def test_reloaded_equals_what_was_saved(saved: Path) -> None:
    x = torch.randn(2, 4)
    model, loaded = compiled(), neuronkit.load(saved)
    assert torch.equal(loaded(x), model(x))
    assert loaded.manifest == model.manifest
    assert loaded.specs == (TensorSpec("x", (2, 4)),)


def test_plain_torch_jit_load_opens_it(saved: Path) -> None:
    x = torch.randn(2, 4)
    with torch.no_grad():
        assert torch.equal(torch.jit.load(str(saved))(x), compiled()(x))


def test_manifest_says_what_a_server_needs(saved: Path) -> None:
    manifest = neuronkit.load(saved).manifest
    assert manifest["format"] == 2
    assert manifest["target"] == "cpu"
    assert manifest["versions"]["torch"] == torch.__version__
    assert manifest["inputs"] == [{"name": "x", "shape": [2, 4], "dtype": "float32"}]
    assert manifest["outputs"] == [{"name": "output_0", "shape": [2, 3], "dtype": "float32", "valid": None}]
    assert manifest["parity"]["compiled"]["passed"] is True
    assert len(manifest["weight_hash"]) == 64


def test_weight_hash_tells_weights_apart() -> None:
    model = nn.Linear(4, 3)
    first = compile_for_inferentia(model, TensorSpec("x", (2, 4)), target="cpu")
    again = compile_for_inferentia(model, TensorSpec("x", (2, 4)), target="cpu")
    with torch.no_grad():
        model.weight[0, 0] += 1e-6
    changed = compile_for_inferentia(model, TensorSpec("x", (2, 4)), target="cpu")
    assert first.manifest["weight_hash"] == again.manifest["weight_hash"] != changed.manifest["weight_hash"]


class Scores(nn.Module):
    """Images to what a processor takes: score maps, or logits of 63 classes."""

    def __init__(self, maps: bool) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :2].permute(0, 2, 3, 1) if self.maps else images.mean(1)[:, :26, :63]


@pytest.mark.parametrize("processor", [CraftProcessor(canvas_size=640, low_text=0.3), ParseqProcessor(charset=62)])
def test_processor_comes_back(processor: CraftProcessor | ParseqProcessor, tmp_path: Path) -> None:
    model, spec = Scores(isinstance(processor, CraftProcessor)), TensorSpec("images", (1, 3, 32, 128))
    artifact = compile_for_inferentia(model, spec, target="cpu", processor=processor)
    loaded = neuronkit.load(artifact.save(tmp_path / "m.pt"))
    assert type(loaded.processor) is type(processor)
    assert loaded.processor.to_dict() == processor.to_dict()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_any_changed_byte_is_noticed(saved: Path, tmp_path: Path, place: float, flip: int) -> None:
    check_changed(saved, tmp_path, int(place * len(saved.read_bytes())), flip)


def test_a_changed_name_of_a_member_makes_no_other_file_of_it(saved: Path, tmp_path: Path) -> None:
    contents = saved.read_bytes()
    for place in (contents.find(b"/extra/"), contents.rfind(b"/extra/"), contents.rfind(b"constants.pkl")):
        check_changed(saved, tmp_path, place, 1)


def check_changed(saved: Path, tmp_path: Path, place: int, flip: int) -> None:
    contents = bytearray(saved.read_bytes())
    contents[place] ^= flip
    (tmp_path / "changed.pt").write_bytes(contents)
    with pytest.raises(ArtifactError, match=r"changed.pt.: is not a whole artifact .* compile again"):
        neuronkit.load(tmp_path / "changed.pt")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_cut_file_is_noticed(saved: Path, tmp_path: Path, share: float) -> None:
    contents = saved.read_bytes()
    (tmp_path / "cut.pt").write_bytes(contents[: int(share * len(contents))])
    with pytest.raises(ArtifactError, match=r"cut.pt.: is not a whole artifact"):
        neuronkit.load(tmp_path / "cut.pt")


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(tmp_path / "plain.pt"))
    with pytest.raises(ArtifactError, match="is not a whole artifact of neuronkit"):
        neuronkit.load(tmp_path / "plain.pt")
    with pytest.raises(ArtifactError, match=r"none.pt', which cannot be read \(No such file"):
        neuronkit.load(tmp_path / "none.pt")
    with pytest.raises(ArtifactError, match="is not a whole artifact of neuronkit: a file is missing"):
        neuronkit.load(tmp_path)


def test_others_may_read_it(saved: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    assert saved.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_core_is_refused_where_there_are_none(saved: Path) -> None:
    with pytest.raises(OptionError, match="target 'cpu' has no cores to choose from"):
        neuronkit.load(saved, neuroncore=0)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    model = compiled()
    model.manifest["format"] = 99
    with pytest.raises(ArtifactError, match="is of format 99, this neuronkit reads up to 2; update neuronkit"):
        neuronkit.load(model.save(tmp_path / "new.pt"))


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = compiled().save(tmp_path / "m.pt")
    before = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ArtifactError, match=r"m.pt.: was not written \(.*No space left"):
        compiled().save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.pt"]


def test_a_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot write there"):
        compiled().save(tmp_path / "no" / "m.pt")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((), r"got 0 inputs; expected 1: x: float32\[2, 4\]"),
        (
            (torch.zeros(3, 4),),
            r"x: got \(3, 4\) float32, the compiled graph takes exactly \(2, 4\) float32.*FixedShape",
        ),
        ((torch.zeros(2, 4).numpy(),), r"got x=an ndarray .*; expected a tensor; convert it: torch.from_numpy"),
    ],
)
def test_wrong_inputs_are_named(inputs: tuple[object, ...], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        compiled()(*inputs)  # type: ignore[arg-type]
