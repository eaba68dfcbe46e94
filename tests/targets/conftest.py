import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from neuronkit.specs import TensorSpec
from neuronkit.targets.sdk import child, job

_spec = importlib.util.spec_from_file_location("neuronkit_test_doubles", Path(__file__).with_name("doubles.py"))
assert _spec is not None
assert _spec.loader is not None
doubles = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(doubles)

VERSIONS = {"torch_neuron": "1.13.1.2.11.13.0", "torch_neuronx": "2.9.0.2.15.32035"}


def forget(package: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]


@pytest.fixture
def install_double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Write a fake SDK and put it on sys.path: ``install_double("torch_neuron", mode="fail")``."""

    def install(package: str, *, version: str | None = None, **settings):
        double = doubles.Double(tmp_path / "sdk", package, version or VERSIONS[package], **settings)
        monkeypatch.syspath_prepend(str(tmp_path / "sdk"))
        forget(package)
        return double

    yield install
    for package in VERSIONS:
        forget(package)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the child's side in this process: what the SDK is called with is the same, at a fraction of the time."""

    def run(compiler, directory: Path, log: Path) -> int:
        with log.open("w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
            child.main(directory)
        return 0

    monkeypatch.setattr(job.ChildCompiler, "_spawn", run)


@pytest.fixture
def graphs() -> dict:
    """Two small graphs, one with an embedding."""
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
    embedding = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2)).eval()
    return {
        "head": (model, (TensorSpec("x", (2, 4)),)),
        "tokens": (embedding, (TensorSpec("ids", (2, 3), "int32"),)),
    }
