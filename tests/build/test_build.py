import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import neuronkit
from neuronkit.build import BuildReport, Recipe, build
from neuronkit.build.recipe import read_build_file
from neuronkit.errors import OptionError, UnknownTargetError
from tests.processes import heed_interrupts, is_running, wait_for

BUILD_FILE = """
import os
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from neuronkit import TensorSpec
from neuronkit.build import Recipe

HERE = Path(__file__).parent


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(int((HERE / "seed").read_text()))
        self.linear, self.factor = nn.Linear(4, 3), float((HERE / "factor").read_text())

    def forward(self, x):
        return self.linear(x) * self.factor


def network(rows=3):
    return Network().eval(), TensorSpec("x", (rows, 4))


def broken():
    raise ValueError("no weights")


def killed():
    os.kill(os.getpid(), 9)


def leaves():
    raise SystemExit("enough")


def endless():
    with tempfile.TemporaryDirectory(dir=HERE, prefix="half-written-"):
        (HERE / f"started-{os.getpid()}").touch()
        time.sleep(600)
    raise AssertionError


recipes = [
    Recipe("network", network, shapes=[{"rows": 2}, {"rows": 5}], targets=["cpu"]),
    Recipe("default", network, targets=["cpu"]),
]
BROKEN = [Recipe(model.__name__, model, targets=["cpu"]) for model in (broken, killed, leaves)]
FICKLE = [Recipe(f"fickle{os.getpid()}", network, targets=["cpu"]), Recipe("no-log", network, targets=["cpu"])]
ENDLESS = [Recipe("endless", endless, targets=["cpu"])]
"""
NAMES = ["network-rows=2-cpu", "network-rows=5-cpu", "default-cpu"]


@pytest.fixture
def build_file(tmp_path: Path) -> Path:
    (tmp_path / "seed").write_text("0")
    (tmp_path / "factor").write_text("1")
    path = tmp_path / "build_file.py"
    path.write_text(BUILD_FILE)
    return path


def states(report: BuildReport) -> dict[str, str]:
    return {artifact.name: artifact.state for artifact in report.artifacts}


@pytest.mark.slow
def test_every_shape_is_built_once_and_only_what_changed_again(build_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "artifacts"
    report = build(build_file, output, jobs=2)
    assert states(report) == dict.fromkeys(NAMES, "built")
    assert [line.split()[0] for line in str(report).splitlines()[2:]] == NAMES
    assert json.loads((output / "build.json").read_text()) == report.to_dict()
    for name, rows in zip(NAMES, (2, 5, 3)):
        assert neuronkit.load(output / f"{name}.pt")(torch.zeros(rows, 4)).shape == (rows, 3)

    before = {name: (output / f"{name}.pt").stat().st_mtime_ns for name in NAMES}
    (output / "default-cpu.pt").unlink()
    (output / "network-rows=5-cpu.pt").write_bytes(b"half an artif")
    again = states(build(build_file, output, jobs=2))
    assert again == {NAMES[0]: "unchanged", NAMES[1]: "from cache", NAMES[2]: "from cache"}
    assert (output / f"{NAMES[0]}.pt").stat().st_mtime_ns == before[NAMES[0]]

    (tmp_path / "seed").write_text("1")
    assert states(build(build_file, output, only=["network-*"])) == dict.fromkeys(NAMES[:2], "built")
    assert list((output / "logs").iterdir()) == []


@pytest.mark.slow
def test_code_that_changed_shows_and_another_directory_does_not(build_file: Path, tmp_path: Path) -> None:
    def built(output: str) -> tuple[str, float]:
        (artifact,) = build(build_file, tmp_path / output, only=NAMES[2:]).artifacts
        assert artifact.path is not None
        return artifact.state, neuronkit.load(artifact.path)(torch.ones(3, 4)).sum().item()

    state, before = built("first")
    assert state == "built"
    (tmp_path / "factor").write_text("2")
    state, after = built("first")
    assert (state, after) == ("built", pytest.approx(2 * before))
    (tmp_path / "first").rename(tmp_path / "moved")
    assert built("moved") == ("unchanged", after)


@pytest.mark.slow
def test_what_fails_leaves_the_others_alone(build_file: Path, tmp_path: Path) -> None:
    build_file.write_text(BUILD_FILE + "\nrecipes = BROKEN + FICKLE + recipes[1:]\n")
    (tmp_path / "out" / "logs" / "no-log-cpu.log").mkdir(parents=True)
    command = [sys.executable, "-m", "neuronkit.build", str(build_file), str(tmp_path / "out"), "--jobs", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    summary, _, rows = done.stdout.partition("\n")
    # Each row with what is wrapped below it.
    found = re.split(r"\n(?=. \S)", rows.rstrip())[1:]
    broken, killed, leaves, fickle, no_log, default = (" ".join(row.split()) for row in found)
    assert "failed" in broken
    assert "ValueError: no weights" in broken
    assert "failed" in killed
    assert "ended with status -9 and no result: SIGKILL (the usual cause is too little host memory)" in killed
    assert "SystemExit: enough" in leaves
    assert "give recipes that are the same every time" in fickle
    assert "IsADirectoryError" in no_log
    assert "built" in default
    assert summary == "1 of 6 artifacts are done"
    log = (tmp_path / "out" / "logs" / "broken-cpu.log").read_text()
    assert 'raise ValueError("no weights")' in log


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_no_process_outlives_the_build(build_file: Path, tmp_path: Path, how: signal.Signals) -> None:
    build_file.write_text(BUILD_FILE + "\nrecipes = ENDLESS\n")
    command = [sys.executable, "-m", "neuronkit.build", str(build_file), str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_interrupts)
    deadline = time.monotonic() + 120
    while not (started := list(tmp_path.glob("started-*"))):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(how)
    process.communicate(timeout=60)
    worker = int(started[0].name.partition("-")[2])
    wait_for(lambda: not is_running(worker))
    assert list(tmp_path.glob("half-written-*")) == []


def test_names_are_listed_without_building(build_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "neuronkit.build", str(build_file), "--list"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == NAMES
    assert list(read_build_file(build_file)) == NAMES


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "defines no recipes"),
        ("recipes = []", "defines no recipes"),
        ("recipes = [1]", "defines no recipes"),
        ("1 / 0", "fails with ZeroDivisionError"),
        ("recipes = (", "fails with SyntaxError"),
        (BUILD_FILE + "recipes = recipes * 2", "two artifacts are called"),
        (BUILD_FILE + "Recipe('n', network, shapes=[{'columns': 3}])", "columns"),
        (BUILD_FILE + "Recipe('n', 3)", "give a function"),
        (BUILD_FILE + "Recipe('a/b', network)", "file's name"),
        (BUILD_FILE + "Recipe('a' * 300, network)", "at most 200 letters"),
        (BUILD_FILE + "Recipe('..', network)", "file's name"),
        (BUILD_FILE + "Recipe('', network)", "expected a text that the artifacts' names begin with"),
        (BUILD_FILE + "Recipe(3, network)", "recipe 3: expected a text"),
        (BUILD_FILE + "Recipe('n', network, targets=[])", r"targets=\[\]; give names"),
        (BUILD_FILE + "Recipe('n', network, targets=None)", "targets=None; give names"),
        (BUILD_FILE + "Recipe('n', network, shapes=[])", r"shapes=\[\]; give the arguments"),
        (BUILD_FILE + "Recipe('n', network, shapes={'rows': 3})", r"shapes={'rows': 3}; give the arguments"),
        (BUILD_FILE + "Recipe('n', network, shapes={1: {'rows': 3}})", "labels and names of arguments are texts"),
        (BUILD_FILE + "Recipe('n', network, targets='cpu', options={'inf2': None})", "not among its targets"),
        (
            BUILD_FILE + "Recipe('n', network, targets='cpu', options={'cpu': {}})",
            r"options {}; expected CompileOptions",
        ),
        (BUILD_FILE + "Recipe('n', network, op_whitelist='aten::add')", "expected a sequence of operator kinds"),
        ("raise SystemExit('no weights')", "fails with SystemExit: no weights"),
    ],
)
def test_build_files_that_cannot_be_read(build_file: Path, source: str, message: str) -> None:
    build_file.write_text(source)
    with pytest.raises(OptionError, match=message):
        build(build_file, build_file.parent / "out")
    assert not (build_file.parent / "out").exists()


def test_bad_arguments(build_file: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no such build file"):
        build(tmp_path / "missing.py", tmp_path / "out")
    with pytest.raises(OptionError, match="jobs=0"):
        build(build_file, tmp_path / "out", jobs=0)
    with pytest.raises(OptionError, match="there are network"):
        build(build_file, tmp_path / "out", only=["detector-*"])
    with pytest.raises(UnknownTargetError, match="cpuu"):
        Recipe("n", list, targets="cpuu")
