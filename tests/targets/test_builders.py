"""Builder processes that share a cache."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from neuronkit.cache import CompileCache
from tests.processes import heed_interrupts, is_running, wait_for

pytestmark = pytest.mark.slow
BUILDER = Path(__file__).with_name("builder.py")


@pytest.fixture
def start(tmp_path: Path):
    """Start a builder in a directory of its own."""
    started: list[subprocess.Popen[Any]] = []

    def run(target: str = "inf1") -> subprocess.Popen:
        home = tmp_path / f"home-{len(started)}"
        home.mkdir()
        arguments = [str(BUILDER), str(tmp_path / "sdk"), str(tmp_path / "cache"), target]
        command = [sys.executable, "-W", "ignore", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=home, preexec_fn=heed_interrupts, **pipes))
        return started[-1]

    yield run
    for builder in started:
        builder.kill()
        builder.communicate()


def result(builder: subprocess.Popen) -> dict:
    printed, errors = builder.communicate(timeout=120)
    assert builder.returncode == 0, errors
    return json.loads(printed)


@pytest.mark.inf1
def test_eight_builders_of_one_key_compile_once(install_double, start, tmp_path: Path) -> None:
    double = install_double("torch_neuron")
    records = [result(builder) for builder in [start() for _ in range(8)]]
    assert len(double.calls) == 1
    assert sorted(record["status"] for record in records) == ["hit"] * 7 + ["miss"]
    assert len({record["key"] for record in records}) == 1
    assert len(CompileCache(tmp_path / "cache").entries()) == 1


@pytest.mark.inf1
def test_a_killed_builder_takes_its_compiler_along_and_does_not_block_the_next(install_double, start) -> None:
    double = install_double("torch_neuron", mode="hang")
    builder = start()
    wait_for(lambda: len(double.calls) == 2)
    builder.kill()
    trace, compiler = double.calls
    wait_for(lambda: not is_running(trace["pid"]) and not is_running(compiler["compiler"]))
    double.set_mode("")
    assert result(start())["status"] == "miss"
    assert result(start())["status"] == "hit"


@pytest.mark.inf1
def test_an_interrupted_builder_leaves_nothing(
    install_double, start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    double = install_double("torch_neuron", mode="hang")
    builder = start()
    wait_for(lambda: len(double.calls) == 2)
    builder.send_signal(signal.SIGINT)
    _, errors = builder.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert not any(is_running(pid) for pid in (double.calls[0]["pid"], double.calls[1]["compiler"]))
    assert [name for name in os.listdir(tmp_path / "temporary") if name.startswith("neuronkit")] == []
    assert os.listdir(tmp_path / "cache") == ["locks"]


@pytest.mark.inf2
def test_an_exported_graph_has_the_same_key_in_another_process(install_double, start) -> None:
    double = install_double("torch_neuronx")
    assert [result(start("inf2"))["status"] for _ in range(2)] == ["miss", "hit"]
    assert len([call for call in double.calls if "shapes" in call]) == 1
