import json
import os
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from neuronkit import StaticPARSeq, compile_for_inferentia, load
from neuronkit.errors import ArtifactError, CompileError, MissingSDKError, OptionError
from neuronkit.models import PARSeq
from neuronkit.options import CompileOptions
from neuronkit.specs import TensorSpec
from neuronkit.targets import find_target, native

SPEC = TensorSpec("x", (2, 4))
TIERS = ("TORCH_NEURONX_NEFF_CACHE_DIR", "TORCH_NEURONX_NEFF_LOCAL_CACHE_DIR")
SIZES = {"embed_dim": 16, "enc_depth": 1, "enc_num_heads": 2, "dec_num_heads": 2}

# torch.compile with a backend that a package registers: the newest torch, in the development environment.
pytestmark = pytest.mark.tooling


@pytest.fixture
def torch_neuron_native(install_double, monkeypatch: pytest.MonkeyPatch):
    """A TorchNeuron whose device is the CPU."""
    monkeypatch.setattr(native, "device", lambda: torch.device("cpu"))
    monkeypatch.setattr("platform.python_version", lambda: "3.12.1")
    version = ".".join(torch.__version__.split(".")[:2]) + ".3.0"
    return lambda **settings: install_double("torch_neuronx", version=version, native=True, **settings)


def compile_graph(options=None, target="trn2-native"):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
    chosen = find_target(target)
    options = options or CompileOptions()
    chosen.check_options(options)
    graphs = {"head": (module, (SPEC,))}
    return module, chosen.compile(graphs, options=options, progress=lambda stage: None)


def test_compiles_at_once_and_computes_the_same(torch_neuron_native) -> None:
    double = torch_neuron_native()
    module, compiled = compile_graph()
    (call,) = double.calls
    x = SPEC.example(seed=3)
    torch.testing.assert_close(compiled.callables["head"](x), module(x))
    assert len(double.calls) == 1
    environment = call["environment"]
    assert environment["NEURON_CC_FLAGS"] == "--auto-cast none --model-type generic"
    assert environment["TORCH_NEURONX_DISABLE_FALLBACK_EXECUTION"] == "1"
    assert environment["TORCH_NEURONX_COMPILE_ONLY"] == "1"  # this machine has no device
    assert 'backend="neuron", fullgraph=True, dynamic=False' in compiled.commands["head"]


def test_the_environment_is_given_back(torch_neuron_native, monkeypatch: pytest.MonkeyPatch) -> None:
    torch_neuron_native()
    monkeypatch.setenv("NEURON_CC_FLAGS", "--mine")
    compile_graph()
    assert os.environ["NEURON_CC_FLAGS"] == "--mine"
    assert "TORCH_NEURONX_COMPILE_ONLY" not in os.environ


def test_graphs_of_several_threads_take_turns_at_the_environment(torch_neuron_native, monkeypatch) -> None:
    torch_neuron_native()
    _, compiled = compile_graph()
    graph, taken, ended = compiled.callables["head"], native._TELLING.taken, []
    arrived = threading.Event()

    def call() -> None:
        try:
            graph(SPEC.example())
        finally:
            ended.append(os.environ.get("NEURON_CC_FLAGS"))
            arrived.set()

    def noted():
        if threading.current_thread() is other:
            arrived.set()
        return taken()

    monkeypatch.setattr(native._TELLING, "taken", noted)
    other = threading.Thread(target=call)
    with graph._told():
        other.start()
        assert arrived.wait(60)
        assert not ended
    other.join()
    assert ended == [None]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"auto_cast": "all", "auto_cast_type": "fp8_e4m3", "model_type": "transformer", "extra_args": ("-v",)},
            {"NEURON_CC_FLAGS": "--auto-cast all --auto-cast-type fp8_e4m3 --model-type transformer -v"},
        ),
        ({"optlevel": 1}, {"NEURON_COMPILER_OPT_LEVEL": "-O1"}),
        ({"neuroncores": 2}, {"NEURON_LOGICAL_NC_CONFIG": "2"}),
        ({"cpu_fallback": True}, {"TORCH_NEURONX_DISABLE_FALLBACK_EXECUTION": "0"}),
        (
            {"workdir": "work"},
            {"TORCH_NEURONX_DEBUG_DIR": "work", "TORCH_NEURONX_PRESERVE_COMPILATION_ARTIFACTS": "1"},
        ),
    ],
)
def test_options_become_environment_variables(torch_neuron_native, options, expected) -> None:
    double = torch_neuron_native()
    compile_graph(CompileOptions(**options))
    environment = double.calls[0]["environment"]
    assert {name: environment.get(name) for name in expected} == expected


def test_a_cached_graph_is_not_compiled_again(torch_neuron_native, tmp_path: Path) -> None:
    double = torch_neuron_native()
    options = CompileOptions(cache_dir=tmp_path / "cache")
    compile_graph(options)
    torch._dynamo.reset()
    module, compiled = compile_graph(options)
    assert compiled.cache["head"]["status"] == "hit"
    assert len(double.calls) == 1
    x = SPEC.example(seed=3)
    torch.testing.assert_close(compiled.callables["head"](x), module(x))
    # The program that TorchNeuron finds there is a copy: an entry of the cache never changes.
    environment = double.calls[-1]["environment"]
    assert all(Path(environment[tier], "program.neff").is_file() for tier in TIERS)
    assert not any(Path(environment[tier]).is_relative_to(tmp_path / "cache") for tier in TIERS)


def test_other_settings_are_another_entry_of_the_cache(torch_neuron_native, tmp_path: Path) -> None:
    torch_neuron_native()
    for options in ({}, {"optlevel": 1}):
        _, compiled = compile_graph(CompileOptions(cache_dir=tmp_path / "cache", **options))
        assert compiled.cache["head"]["status"] == "miss"
    _, compiled = compile_graph(CompileOptions(cache_dir=tmp_path / "cache"), target="trn3")
    assert compiled.cache["head"]["status"] == "miss"


@pytest.mark.parametrize(("target", "platform"), [("trn2-native", "trn2"), ("trn3", "trn3"), ("inf2-native", "inf2")])
def test_the_platform_is_named_where_there_is_no_device(
    torch_neuron_native, monkeypatch: pytest.MonkeyPatch, target, platform
) -> None:
    double = torch_neuron_native()
    compile_graph(target=target)
    environment = double.calls[-1]["environment"]
    assert environment["NEURON_PLATFORM_TARGET_OVERRIDE"] == platform
    assert environment["TORCH_NEURONX_COMPILE_ONLY"] == "1"
    monkeypatch.setattr(native, "visible_devices", lambda: ["/dev/neuron0"])
    torch._dynamo.reset()
    compile_graph(target=target)
    environment = double.calls[-1]["environment"]
    assert "TORCH_NEURONX_COMPILE_ONLY" not in environment
    # Inferentia2 is not TorchNeuron's own choice, on a machine that has one either.
    assert environment.get("NEURON_PLATFORM_TARGET_OVERRIDE") == (platform if target == "inf2-native" else None)


@pytest.mark.parametrize(("compiler", "pinned"), [("2.26.6360.0", False), ("2.27.5334.0", True), ("2.28.7631.0", True)])
@pytest.mark.parametrize("target", ["trn2-native", "trn3", "inf2-native"])
def test_integers_are_pinned_where_the_compiler_knows_them(
    torch_neuron_native, monkeypatch: pytest.MonkeyPatch, target, compiler, pinned
) -> None:
    double = torch_neuron_native()
    monkeypatch.setattr("neuronkit.targets.sdk.flags.distribution_version", lambda name: compiler)
    compile_graph(target=target)
    flags = double.calls[-1]["environment"]["NEURON_CC_FLAGS"]
    expected = pinned and target != "inf2-native"
    assert ("--native-int64=disabled --implicit-integer-downcast=all" in flags) is expected
    torch._dynamo.reset()
    compile_graph(CompileOptions(extra_args=("--native-int64=enabled",)), target=target)
    flags = double.calls[-1]["environment"]["NEURON_CC_FLAGS"]
    assert "--native-int64=disabled" not in flags
    assert ("--implicit-integer-downcast=all" in flags) is expected


def test_what_the_process_was_told_is_recorded_or_has_no_effect(
    torch_neuron_native, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    double = torch_neuron_native()
    told = {"NEURON_COMPILER_OPT_LEVEL": "-O3", "NEURON_LOGICAL_NC_CONFIG": "1"}
    harmful = {"TORCH_NEURONX_NEFF_DISABLE_CACHE": "1", "NEURON_PLATFORM_TARGET_OVERRIDE": "trn1"}
    for name, value in {**told, **harmful}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(native, "visible_devices", lambda: ["/dev/neuron0"])
    _, compiled = compile_graph()
    environment = double.calls[-1]["environment"]
    assert told.items() <= environment.items()
    assert not set(harmful) & set(environment)
    assert "NEURON_COMPILER_OPT_LEVEL=-O3" in compiled.commands["head"]
    assert all(os.environ[name] == value for name, value in harmful.items())
    native.Trn2NativeTarget().save_directory(compiled.callables["head"], tmp_path)
    assert told.items() <= json.loads((tmp_path / "graph.json").read_text())["environment"].items()
    assert (tmp_path / "cache" / "program.neff").is_file()
    torch._dynamo.reset()
    compile_graph(CompileOptions(optlevel=1, neuroncores=2))
    environment = double.calls[-1]["environment"]
    assert (environment["NEURON_COMPILER_OPT_LEVEL"], environment["NEURON_LOGICAL_NC_CONFIG"]) == ("-O1", "2")


def test_a_model_type_is_set_once(torch_neuron_native) -> None:
    double = torch_neuron_native()
    compile_graph(CompileOptions(extra_args=("--model-type", "unet-inference")))
    assert double.calls[-1]["environment"]["NEURON_CC_FLAGS"] == "--auto-cast none --model-type unet-inference"
    with pytest.raises(OptionError, match="both set the model type"):
        compile_graph(CompileOptions(model_type="generic", extra_args=("--model-type=transformer",)))


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
def test_what_cannot_be_honoured_is_refused(options) -> None:
    with pytest.raises(OptionError):
        find_target("trn2-native").check_options(CompileOptions(**options))


def test_artifact_is_a_directory_with_graph_settings_and_both_caches(torch_neuron_native, tmp_path: Path) -> None:
    double = torch_neuron_native()
    module, compiled = compile_graph(CompileOptions(optlevel=1, workdir=tmp_path / "work"), target="trn3")
    artifact = tmp_path / "artifact"
    artifact.mkdir()
    find_target("trn3").save_directory(compiled.callables["head"], artifact)
    assert [*map(str, sorted(artifact.rglob("*.neff")))] == [
        str(artifact / name / "program.neff") for name in ("cache", "cache-local")
    ]
    # Of what is told to TorchNeuron, what decides about the program; the rest is of the machine.
    assert json.loads((artifact / "graph.json").read_text())["environment"] == {
        "NEURON_CC_FLAGS": "--auto-cast none --model-type generic",
        "NEURON_COMPILER_OPT_LEVEL": "-O1",
        "TORCH_NEURONX_DISABLE_FALLBACK_EXECUTION": "1",
    }
    before = {path: path.read_bytes() for path in artifact.rglob("*") if path.is_file()}
    loaded = find_target("trn3").load_directory(artifact)
    x = SPEC.example(seed=5)
    torch.testing.assert_close(loaded(x), module(x))
    environment = double.calls[-1]["environment"]
    assert environment["NEURON_COMPILER_OPT_LEVEL"] == "-O1"
    assert "TORCH_NEURONX_DEBUG_DIR" not in environment
    assert all(Path(environment[tier], "program.neff").read_text() == "compiled" for tier in TIERS)
    # TorchNeuron writes to its caches; the artifact, whose hashes are checked when it is loaded, stays as it is.
    assert {path: path.read_bytes() for path in artifact.rglob("*") if path.is_file()} == before


def test_an_artifact_sets_no_other_variables(torch_neuron_native, tmp_path: Path) -> None:
    double = torch_neuron_native()
    _, compiled = compile_graph(target="trn3")
    find_target("trn3").save_directory(compiled.callables["head"], tmp_path)
    file = tmp_path / "graph.json"
    fields = json.loads(file.read_text())
    # An artifact of format 1, and one that someone has changed.
    fields["environment"].update(NEURON_COMPILER_OPT_LEVEL="2", TORCH_NEURONX_COMPILE_ONLY="1", NEURON_EVIL="1")
    file.write_text(json.dumps(fields))
    native_graph = find_target("trn3").load_directory(tmp_path)
    native_graph(SPEC.example())
    environment = double.calls[-1]["environment"]
    assert "NEURON_EVIL" not in environment
    assert environment["NEURON_COMPILER_OPT_LEVEL"] == "-O2"


def test_what_is_no_graph_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="got function; expected a graph that target 'trn3' compiled"):
        find_target("trn3").save_directory(lambda x: x, tmp_path)


@pytest.mark.parametrize(
    ("method", "graphs"), [("fixed_point", {"encode", "decode"}), ("stepwise", {"encode", "step", "decode"})]
)
def test_a_model_of_several_graphs_is_saved_with_how_they_are_joined(
    torch_neuron_native, tmp_path: Path, method, graphs
) -> None:
    torch_neuron_native()
    torch.manual_seed(0)
    model = PARSeq(
        "xyz", max_label_length=3, patch_size=(16, 32), embed_dim=16, enc_depth=1, enc_num_heads=2, dec_num_heads=2
    )
    static = StaticPARSeq(model.eval(), batch_size=2, method=method)
    compiled = compile_for_inferentia(static, target="trn2-native", verify=False, progress=False)
    path = compiled.save(tmp_path / "model")
    assert {folder.name for folder in (path / "graphs").iterdir()} == set(compiled.manifest["graphs"]) == graphs
    loaded = load(path)
    images = torch.randn(2, 3, 32, 128)
    torch.testing.assert_close(loaded(images), static(images))
    assert loaded.manifest == compiled.manifest
    # Saved again by what was loaded, without the model.
    torch.testing.assert_close(load(loaded.save(tmp_path / "again"))(images), static(images))


def test_graphs_that_only_python_joins_cannot_be_saved(torch_neuron_native, tmp_path: Path) -> None:
    class Joined(StaticPARSeq):
        joining = None

    torch_neuron_native()
    model = PARSeq(
        "xyz", max_label_length=3, patch_size=(16, 32), embed_dim=16, enc_depth=1, enc_num_heads=2, dec_num_heads=2
    )
    compiled = compile_for_inferentia(
        Joined(model.eval(), method="fixed_point"), target="trn2-native", verify=False, progress=False
    )
    with pytest.raises(ArtifactError, match=r"got 2 graphs \(encode, decode\) that Python code of 'parseq' joins"):
        compiled.save(tmp_path / "model")


def test_compiler_failure_carries_code_and_hint(torch_neuron_native) -> None:
    double = torch_neuron_native(mode="fail")
    with pytest.raises(CompileError) as caught:
        compile_graph()
    assert "neuronx-cc failed with code 70" in str(caught.value)
    assert double.calls


def test_xla_based_sdk_is_refused(install_double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.12.1")
    monkeypatch.setattr(torch, "__version__", "2.13.0")
    install_double("torch_neuronx", version="2.9.0.2.15.32035")
    with pytest.raises(MissingSDKError, match="is the XLA-based SDK"):
        find_target("trn2-native").check_environment()


def test_versions_are_named(torch_neuron_native, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.13.0")
    torch_neuron_native()
    assert find_target("trn3").check_environment()["torch-neuronx"].endswith(".3.0")


def test_wrong_torch_and_python_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.9.0")
    monkeypatch.setattr("platform.python_version", lambda: "3.11.7")
    with pytest.raises(MissingSDKError, match=r"torch 2\.9\.0 \(needs 2\.13-2\.14\) and Python 3\.11\.7"):
        find_target("trn3").check_environment()
