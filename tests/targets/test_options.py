"""Every field of CompileOptions either reaches the SDK or raises, on every target."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from neuronkit.errors import OptionError
from neuronkit.options import CompileOptions
from neuronkit.specs import TensorSpec
from neuronkit.targets import find_target, native, target_names

# For each field, a value that differs from the default.
SAMPLES = {
    "auto_cast": {"auto_cast": "matmult"},
    "auto_cast_type": {"auto_cast": "all", "auto_cast_type": "fp16"},
    "optlevel": {"optlevel": 2},
    "model_type": {"model_type": "transformer"},
    "cpu_operators": {"cpu_operators": ("aten::relu",)},
    "cpu_fallback": {"cpu_fallback": True},
    "dynamic_batch": {"dynamic_batch": True},
    "inline_weights": {"inline_weights": False},
    "neuroncores": {"neuroncores": 2},
    "threads": {"threads": 3},
    "opset": {"opset": 16},
    "timeout_s": {"timeout_s": 77.0},
    "workdir": {"workdir": "work"},
    "cache_dir": {"cache_dir": "cache"},
    "extra_args": {"extra_args": ("--verbose", "info")},
}
RUNTIME = {"threads", "opset"}
REFUSED = {
    "cpu": set(SAMPLES) - {"cache_dir"},
    "onnx": set(SAMPLES) - {"cache_dir", *RUNTIME},
    "openvino": set(SAMPLES) - {"cache_dir", *RUNTIME, "auto_cast_type"},
    "xla": set(SAMPLES),
    "inf1": {"model_type", *RUNTIME},
    "inf2": {"neuroncores", *RUNTIME},
    "trn1": {"neuroncores", *RUNTIME},
    "trn2": {*RUNTIME},
    "trn2-native": {"cpu_operators", "dynamic_batch", "inline_weights", "timeout_s", *RUNTIME},
    "inf2-native": {"cpu_operators", "dynamic_batch", "inline_weights", "neuroncores", "timeout_s", *RUNTIME},
    "trn3": {"cpu_operators", "dynamic_batch", "inline_weights", "timeout_s", *RUNTIME},
}


def test_every_field_and_target_has_its_case() -> None:
    assert set(SAMPLES) == {field.name for field in fields(CompileOptions)}
    assert set(REFUSED) == set(target_names())


@pytest.mark.parametrize("field", SAMPLES)
@pytest.mark.parametrize("target", REFUSED)
def test_what_a_target_cannot_honour_raises_and_names_the_field(target, field) -> None:
    options = CompileOptions(**SAMPLES[field])
    if field in REFUSED[target]:
        with pytest.raises(OptionError, match=rf"{field}=.*'{target}' cannot honour"):
            find_target(target).check_options(options)
    else:
        find_target(target).check_options(options)


TWICE = {
    "auto_cast": ("all", "--auto-cast=none", "--auto-cast-type", "--fast-math"),
    "model_type": ("transformer", "--model-type=generic"),
    "optlevel": (2, "-O1", "--optlevel=1", "--optlevel"),
    "neuroncores": (1, "-lnc", "--logical-nc-config=2", "--neuroncore-pipeline-cores", "--num-neuroncores=4"),
}


@pytest.mark.parametrize("field", TWICE)
@pytest.mark.parametrize("target", ["inf1", "inf2", "trn1", "trn2", "trn2-native", "trn3", "inf2-native"])
def test_an_option_that_extra_args_set_too_is_refused(target, field) -> None:
    if (target, field) == ("inf1", "model_type"):
        return
    value, *arguments = TWICE[field]
    for argument in arguments:
        with pytest.raises(OptionError, match=rf"got {field}={value!r} and extra_args=.*{argument}.*both set"):
            find_target(target).check_options(CompileOptions(**{field: value}, extra_args=(argument,)))


def calls_with(install, target, sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, op_whitelist=()):
    """What the SDK and the child process are given, as text, with paths that change left out."""
    monkeypatch.chdir(tmp_path)
    spawned: list[Any] = []
    double = install()
    chosen, options = find_target(target), CompileOptions(**sample)
    chosen.check_options(options)
    before = len(double.calls)
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
    graphs = {"head": (module, (TensorSpec("x", (2, 4)),))}
    chosen.compile(graphs, options=options, op_whitelist=op_whitelist, progress=spawned.append)
    calls = double.calls[before:]
    for call in calls:
        call.pop("pid", None)
        if "workdir" not in sample:
            call.pop("compiler_workdir", None)
        environment = call.get("environment", {})
        for name in ("TORCH_NEURONX_NEFF_CACHE_DIR", "TORCH_NEURONX_NEFF_LOCAL_CACHE_DIR"):
            environment.pop(name, None)
    return json.dumps(calls, sort_keys=True), "cache_dir" in sample and (tmp_path / sample["cache_dir"]).exists()


def assert_every_field_is_seen(
    install, target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deadlines, op_whitelist=()
) -> None:
    def seen(sample):
        calls = calls_with(install, target, sample, tmp_path, monkeypatch, op_whitelist)
        return calls, deadlines[-1] if deadlines else None

    default = seen({})
    for field, sample in SAMPLES.items():
        if field not in REFUSED[target]:
            assert seen(sample) != default, f"{target} ignores {field}"


@pytest.fixture
def deadlines(in_process, monkeypatch: pytest.MonkeyPatch) -> list:
    """The time that each child is given."""
    from neuronkit.targets.sdk import job

    given, run = [], job.ChildCompiler._spawn

    def spawn(compiler, directory, log):
        given.append(compiler.timeout_s)
        return run(compiler, directory, log)

    monkeypatch.setattr(job.ChildCompiler, "_spawn", spawn)
    return given


@pytest.mark.inf1
@pytest.mark.parametrize("takes_op_whitelist", [True, False])
def test_every_option_reaches_torch_neuron(
    install_double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deadlines, takes_op_whitelist
) -> None:
    double = install_double("torch_neuron", takes_op_whitelist=takes_op_whitelist)
    # As a node filter the whitelist needs the partitioner, which is all that cpu_fallback asks for.
    whitelist = ("aten::embedding",) if takes_op_whitelist else ()
    assert_every_field_is_seen(lambda: double, "inf1", tmp_path, monkeypatch, deadlines, whitelist)


@pytest.mark.inf2
@pytest.mark.parametrize("target", ["inf2", "trn1", "trn2"])
def test_every_option_reaches_torch_neuronx(
    install_double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deadlines, target
) -> None:
    double = install_double("torch_neuronx")
    assert_every_field_is_seen(lambda: double, target, tmp_path, monkeypatch, deadlines)


@pytest.mark.tooling
@pytest.mark.parametrize("target", ["trn2-native", "trn3", "inf2-native"])
def test_every_option_reaches_torchneuron(
    install_double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target
) -> None:
    monkeypatch.setattr(native, "device", lambda: torch.device("cpu"))
    monkeypatch.setattr("platform.python_version", lambda: "3.12.1")
    version = ".".join(torch.__version__.split(".")[:2]) + ".3.0"
    double = install_double("torch_neuronx", version=version, native=True)

    def fresh():
        torch._dynamo.reset()
        return double

    assert_every_field_is_seen(fresh, target, tmp_path, monkeypatch, [])
