"""A target is added by one file and one line, from outside the package (docs/adding-a-target.md)."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import neuronkit
from neuronkit import CompileOptions, TensorSpec, analyze, compile_for_inferentia, describe_environment, estimate
from neuronkit import targets as package
from neuronkit.errors import OptionError, UnknownTargetError
from neuronkit.targets import find_target, register, target_names

SPEC = TensorSpec("x", (2, 4))
TOY = """
import torch

from neuronkit.capture.tracing import trace
from neuronkit.targets.base import CompiledGraphs, Target


class ToyTarget(Target):
    name = "toy"
    chip = "Inferentia2"

    def check_environment(self):
        return {"torch": torch.__version__}

    def compile(self, graphs, *, options, op_whitelist=(), progress):
        return CompiledGraphs({name: trace(*graph) for name, graph in graphs.items()}, dict.fromkeys(graphs, "toy"))
"""
TOY_SDK = """
import torch

from neuronkit.capture.serialize import save_script
from neuronkit.capture.tracing import trace
from neuronkit.targets.sdk.target import SdkTarget, save_result


class ToySdk(SdkTarget):
    name = "toy-sdk"
    sdk = "json"
    supported_options = frozenset({"timeout_s"})

    def check_environment(self):
        return {}

    def call_arguments(self, options, op_whitelist):
        return {"compiler_args": []}

    def capture(self, module, specs):
        return trace(module, specs)

    def write_graph(self, program, directory):
        save_script(program, directory / "graph.pt")

    def compile_in_child(self, job, directory):
        save_result(torch.jit.load(str(directory / "graph.pt")), "toy", directory)
"""


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A module of someone else's, with two targets."""
    (tmp_path / "toy_targets.py").write_text(TOY + TOY_SDK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(package, "_registered", {})
    import toy_targets

    yield toy_targets
    del sys.modules["toy_targets"]


def test_a_registered_target_is_like_any_other(toys, tmp_path: Path) -> None:
    register(toys.ToyTarget)
    model, x = nn.Linear(4, 3).eval(), SPEC.example(seed=1)
    compiled = compile_for_inferentia(model, SPEC, target="toy")
    loaded = neuronkit.load(compiled.save(tmp_path / "toy.pt"))
    torch.testing.assert_close(loaded(x), model(x))
    assert loaded.manifest["target"] == "toy"
    assert target_names()[-1] == "toy"
    assert describe_environment().targets["toy"] is None
    assert analyze(model, SPEC, target="toy").supported_fraction == 1
    assert estimate(model, SPEC, target="toy").chip.name == "Inferentia2"
    with pytest.raises(OptionError, match="optlevel"):
        compile_for_inferentia(model, SPEC, target="toy", options=CompileOptions(optlevel=1))


def test_a_registered_sdk_compiles_in_a_child_process(toys) -> None:
    register(toys.ToySdk)
    model = nn.Linear(4, 3).eval()
    compiled = compile_for_inferentia(model, SPEC, target="toy-sdk", options=CompileOptions(timeout_s=300))
    assert compiled.manifest["commands"] == {"main": "toy"}


def test_without_the_line_it_is_unknown_and_with_it_known_by_name(toys) -> None:
    with pytest.raises(UnknownTargetError, match="'toy'"):
        find_target("toy")
    register(toys.ToyTarget)
    with pytest.raises(UnknownTargetError, match="did you mean 'toy'"):
        find_target("toyy")


def test_what_is_no_target_and_what_is_taken_are_refused(toys) -> None:
    for wrong in (toys, toys.ToyTarget(), nn.Linear, None):
        with pytest.raises(OptionError, match="expected a subclass of Target"):
            register(wrong)
    toys.ToyTarget.name = "inf2"
    with pytest.raises(OptionError, match="a target of neuronkit itself"):
        register(toys.ToyTarget)
    toys.ToyTarget.name = ""
    with pytest.raises(OptionError, match="expected text"):
        register(toys.ToyTarget)
