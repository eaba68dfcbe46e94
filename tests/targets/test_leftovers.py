"""Temporary files: none outlives a compile, its result or a killed process, but for the logs of failures."""

import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from neuronkit.errors import CompileError
from neuronkit.options import CompileOptions
from neuronkit.specs import TensorSpec
from neuronkit.targets import find_target, native

SPEC = TensorSpec("x", (2, 4))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process's temporary directory, and that of its children."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(path))
    monkeypatch.setenv("TMPDIR", str(path))
    return path


def left_in(directory: Path) -> list[str]:
    # The first torch.compile of a process makes one empty directory for all processes of a user.
    return [name for name in os.listdir(directory) if not name.startswith("torchinductor_")]


def compile_head(target, options=None):
    graphs = {"head": (nn.Linear(4, 3).eval(), (SPEC,))}
    return find_target(target).compile(graphs, options=options or CompileOptions(), progress=lambda stage: None)


@pytest.mark.inf1
def test_compiles_in_a_child_leave_nothing(install_double, in_process, temporary) -> None:
    install_double("torch_neuron")
    for _ in range(10):
        compile_head("inf1")
        assert left_in(temporary) == []


@pytest.mark.tooling
def test_a_native_graph_keeps_one_directory_for_as_long_as_it_lives(
    install_double, temporary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "device", lambda: torch.device("cpu"))
    install_double("torch_neuronx", version=".".join(torch.__version__.split(".")[:2]) + ".3.0", native=True)
    for _ in range(4):
        compiled = compile_head("trn3")
        gc.collect()
        assert len(left_in(temporary)) == 1
    artifact = tmp_path / "artifact"
    artifact.mkdir()
    find_target("trn3").save_directory(compiled.callables["head"], artifact)
    del compiled
    loaded = find_target("trn3").load_directory(artifact)
    gc.collect()
    assert len(left_in(temporary)) == 1
    del loaded
    gc.collect()
    assert left_in(temporary) == []


@pytest.mark.tooling
def test_what_torchneuron_leaves_goes_with_the_graph(
    install_double, temporary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a killed process leaves nothing else: the next writer removes that directory."""
    monkeypatch.setattr(native, "device", lambda: torch.device("cpu"))
    version = ".".join(torch.__version__.split(".")[:2]) + ".3.0"
    install_double("torch_neuronx", version=version, native=True, mode="litter")
    torch._dynamo.reset()
    compiled = compile_head("trn3")
    (folder,) = os.listdir(temporary)
    assert len(list((temporary / folder / "scratch").iterdir())) >= 2
    find_target("trn3").save_directory(compiled.callables["head"], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"graph.pt2", "cache"}
    assert not (tmp_path / "scratch").exists()
    assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(temporary)
    del compiled
    gc.collect()
    assert os.listdir(temporary) == []


@pytest.mark.tooling
def test_a_native_compile_that_fails_leaves_nothing(install_double, temporary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "device", lambda: torch.device("cpu"))
    version = ".".join(torch.__version__.split(".")[:2]) + ".3.0"
    install_double("torch_neuronx", version=version, native=True, mode="fail")
    with pytest.raises(CompileError):
        compile_head("trn3")
    gc.collect()
    assert left_in(temporary) == []


@pytest.mark.inf1
def test_what_killed_compiles_left_goes_with_the_next(install_double, temporary, tmp_path: Path) -> None:
    double = install_double("torch_neuron", mode="hang")
    builder = str(Path(__file__).with_name("builder.py"))
    for index in range(3):
        command = [sys.executable, builder, str(tmp_path / "sdk"), str(tmp_path / "cache"), "inf1"]
        process = subprocess.Popen(command, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len([call for call in double.calls if "compiler" in call]) <= index:
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert left_in(temporary) != []
    double.set_mode("")
    compile_head("inf1")
    assert left_in(temporary) == []


@pytest.mark.runtimes
def test_what_a_killed_export_left_goes_with_the_next(temporary) -> None:
    litter = temporary / ".neuronkit-onnx.0123456789abcdef0123456789abcdef"
    litter.mkdir()
    compile_head("onnx")
    assert [name for name in left_in(temporary) if "neuronkit" in name] == []


@pytest.mark.inf1
def test_logs_of_failures_stay_for_a_week(install_double, temporary) -> None:
    double = install_double("torch_neuron", mode="fail")
    with pytest.raises(CompileError) as caught:
        compile_head("inf1")
    assert "NCC_EVRF001" in caught.value.log_path.read_text()
    folder = caught.value.log_path.parent
    assert left_in(temporary) == [folder.name]
    double.set_mode("")
    compile_head("inf1")
    assert caught.value.log_path.exists()
    old = time.time() - 8 * 24 * 3600
    os.utime(folder, (old, old))
    compile_head("inf1")
    assert left_in(temporary) == []
