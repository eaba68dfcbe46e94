import os

import pytest
import torch
from torch import nn

from neuronkit.errors import ArtifactError, CompileError, MissingSDKError, OptionError
from neuronkit.options import CompileOptions
from neuronkit.specs import TensorSpec
from neuronkit.targets import find_target, native

SPEC = TensorSpec("x", (2, 4))

# torch.compile with a backend that a package registers: the newest torch, in the development environment.
pytestmark = pytest.mark.tooling


@pytest.fixture
def torch_neuron_native(install_double, monkeypatch):
    """A TorchNeuron whose device is the CPU."""
    monkeypatch.setattr(native, "device", lambda: torch.device("cpu"))
    monkeypatch.setattr("platform.python_version", lambda: "3.12.1")
    version = ".".join(torch.__version__.split(".")[:2]) + ".3.0"
    return lambda **settings: install_double("torch_neuronx", version=version, native=True, **settings)


def compile_graph(options=None, target="trn2-native"):
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
    chosen = find_target(target)
    options = options or CompileOptions()
    chosen.check_options(options)
    graphs = {"head": (module, (SPEC,))}
    return module, chosen.compile(graphs, options=options, progress=lambda stage: None)


def test_compiles_at_once_and_computes_the_same(torch_neuron_native):
    double = torch_neuron_native()
    module, compiled = compile_graph()
    (call,) = double.calls
    x = SPEC.example(seed=3)
    torch.testing.assert_close(compiled.callables["head"](x), module(x))
    assert len(double.calls) == 1
    environment = call["environment"]
    assert environment["NEURON_CC_FLAGS"] == "--auto-cast none"
    assert environment["TORCH_NEURONX_DISABLE_FALLBACK_EXECUTION"] == "1"
    assert environment["TORCH_NEURONX_COMPILE_ONLY"] == "1"  # this machine has no device
    assert 'backend="neuron", fullgraph=True, dynamic=False' in compiled.commands["head"]


def test_the_environment_is_given_back(torch_neuron_native, monkeypatch):
    torch_neuron_native()
    monkeypatch.setenv("NEURON_CC_FLAGS", "--mine")
    compile_graph()
    assert os.environ["NEURON_CC_FLAGS"] == "--mine"
    assert "TORCH_NEURONX_COMPILE_ONLY" not in os.environ


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"auto_cast": "all", "auto_cast_type": "fp8_e4m3", "model_type": "transformer", "extra_args": ("-v",)},
            {"NEURON_CC_FLAGS": "--auto-cast all --auto-cast-type fp8_e4m3 --model-type transformer -v"},
        ),
        ({"optlevel": 1}, {"NEURON_COMPILER_OPT_LEVEL": "1"}),
        ({"neuroncores": 2}, {"NEURON_LOGICAL_NC_CONFIG": "2"}),
        ({"cpu_fallback": True}, {"TORCH_NEURONX_DISABLE_FALLBACK_EXECUTION": "0"}),
        (
            {"workdir": "work"},
            {"TORCH_NEURONX_DEBUG_DIR": "work", "TORCH_NEURONX_PRESERVE_COMPILATION_ARTIFACTS": "1"},
        ),
    ],
)
def test_options_become_environment_variables(torch_neuron_native, options, expected):
    double = torch_neuron_native()
    compile_graph(CompileOptions(**options))
    environment = double.calls[0]["environment"]
    assert {name: environment.get(name) for name in expected} == expected


def test_cache_dir_is_used(torch_neuron_native, tmp_path):
    torch_neuron_native()
    compile_graph(CompileOptions(cache_dir=tmp_path / "cache"))
    assert (tmp_path / "cache" / "program.neff").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"timeout_s": 5},
        {"cpu_operators": ("aten::relu",)},
        {"dynamic_batch": True},
        {"inline_weights": False},
        {"neuroncores": 4},
        {"auto_cast_type": "bf16"},
    ],
)
def test_what_cannot_be_honoured_is_refused(options):
    with pytest.raises(OptionError):
        find_target("trn2-native").check_options(CompileOptions(**options))


def test_artifact_is_a_directory_with_graph_settings_and_cache(torch_neuron_native, tmp_path):
    double = torch_neuron_native()
    module, compiled = compile_graph(CompileOptions(optlevel=1), target="trn3")
    target = find_target("trn3")
    target.save_directory(compiled.callables["head"], tmp_path)
    assert (tmp_path / "cache" / "program.neff").read_text() == "compiled"
    loaded = target.load_directory(tmp_path)
    x = SPEC.example(seed=5)
    torch.testing.assert_close(loaded(x), module(x))
    environment = double.calls[-1]["environment"]
    assert environment["TORCH_NEURONX_NEFF_CACHE_DIR"] == str(tmp_path / "cache")
    assert environment["NEURON_COMPILER_OPT_LEVEL"] == "1"


def test_a_python_loop_around_graphs_cannot_be_saved(tmp_path):
    with pytest.raises(ArtifactError, match="models of one graph"):
        find_target("trn3").save_directory(lambda x: x, tmp_path)


def test_compiler_failure_carries_code_and_hint(torch_neuron_native):
    double = torch_neuron_native(mode="fail")
    with pytest.raises(CompileError) as caught:
        compile_graph()
    assert "neuronx-cc failed with code 70" in str(caught.value)
    assert double.calls


def test_xla_based_sdk_is_refused(install_double, monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: "3.12.1")
    monkeypatch.setattr(torch, "__version__", "2.13.0")
    install_double("torch_neuronx", version="2.9.0.2.15.32035")
    with pytest.raises(MissingSDKError, match="is the XLA-based SDK"):
        find_target("trn2-native").check_environment()


def test_versions_are_named(torch_neuron_native, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.13.0")
    torch_neuron_native()
    assert find_target("trn3").check_environment()["torch-neuronx"].endswith(".3.0")


def test_wrong_torch_and_python_are_named(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.9.0")
    monkeypatch.setattr("platform.python_version", lambda: "3.11.7")
    with pytest.raises(MissingSDKError, match=r"torch 2\.9\.0 \(needs 2\.13-2\.14\) and Python 3\.11\.7"):
        find_target("trn3").check_environment()
