import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from neuronkit.errors import CompileError, MissingSDKError, OptionError
from neuronkit.options import CompileOptions
from neuronkit.specs import TensorSpec
from neuronkit.targets import find_target


def compile_graphs(graphs, options=None, op_whitelist=(), target="inf2"):
    chosen = find_target(target)
    options = options or CompileOptions()
    chosen.check_options(options)
    return chosen.compile(graphs, options=options, op_whitelist=op_whitelist, progress=lambda stage: None)


@pytest.fixture
def head(graphs) -> dict:
    return {"head": graphs["head"]}


@pytest.mark.inf2
def test_every_graph_goes_through_trace_in_another_process(install_double, graphs) -> None:
    double = install_double("torch_neuronx")
    compiled = compile_graphs(graphs)
    traces = [call for call in double.calls if "shapes" in call]
    assert [call["shapes"] for call in traces] == [[[2, 4]], [[2, 3]]]
    assert all(call["pid"] != os.getpid() for call in traces)
    for name, (module, specs) in graphs.items():
        x = specs[0].example()
        torch.testing.assert_close(compiled.callables[name](x), module(x))
        assert isinstance(compiled.callables[name], torch.jit.ScriptModule)


@pytest.mark.inf2
def test_default_call_without_a_device(install_double, in_process, head) -> None:
    double = install_double("torch_neuronx")
    compiled = compile_graphs(head)
    trace, loading = double.calls
    assert trace["compiler_args"] == ["--target", "inf2", "--auto-cast", "none", "--model-type", "generic"]
    assert trace["cpu_backend"] is True
    assert trace["inline_weights_to_neff"] is True
    assert trace["partitioned"] is False
    assert loading == {"lazy_load": True}
    assert "cpu_backend=True" in compiled.commands["head"]


@pytest.mark.inf2
def test_with_a_device_the_trace_uses_it(install_double, in_process, head, monkeypatch: pytest.MonkeyPatch) -> None:
    double = install_double("torch_neuronx")
    monkeypatch.setattr("neuronkit.targets.sdk.target.visible_devices", lambda: ["/dev/neuron0"])
    compile_graphs(head)
    assert double.calls[0]["cpu_backend"] is False


@pytest.mark.inf2
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"auto_cast": "matmult"},
            {"compiler_args": "--target inf2 --auto-cast matmult --auto-cast-type bf16 --model-type generic"},
        ),
        (
            {"auto_cast": "all", "auto_cast_type": "tf32", "optlevel": 1, "model_type": "transformer"},
            {"compiler_args": "--target inf2 --auto-cast all --auto-cast-type tf32 --model-type transformer -O1"},
        ),
        (
            {"extra_args": ("--auto-cast=all",)},
            {"compiler_args": "--target inf2 --model-type generic --auto-cast=all"},
        ),
        (
            {"extra_args": ("--verbose", "info")},
            {"compiler_args": "--target inf2 --auto-cast none --model-type generic --verbose info"},
        ),
        ({"inline_weights": False}, {"inline_weights_to_neff": False}),
        ({"cpu_operators": ("aten::linear",)}, {"partitioned": True, "ops_to_partition": ["aten::linear"]}),
        ({"cpu_fallback": True}, {"partitioned": True, "ops_to_partition": None}),
    ],
)
def test_options_reach_documented_arguments(install_double, in_process, head, options, expected) -> None:
    double = install_double("torch_neuronx")
    compile_graphs(head, CompileOptions(**options))
    call = {**double.calls[0], "compiler_args": " ".join(double.calls[0]["compiler_args"])}
    assert {name: call[name] for name in expected} == expected


@pytest.mark.inf2
def test_dynamic_batch_and_workdir(install_double, in_process, head, tmp_path: Path) -> None:
    double = install_double("torch_neuronx")
    compile_graphs(head, CompileOptions(dynamic_batch=True, workdir=tmp_path))
    assert double.calls[1] == {"dynamic_batch": True}
    assert double.calls[0]["compiler_workdir"] == str(tmp_path / "head" / "compiler")
    assert {"graph.pt2", "compile.log", "compiled.pt"} <= {path.name for path in (tmp_path / "head").iterdir()}


@pytest.mark.inf2
@pytest.mark.parametrize(
    ("target", "cores", "expected"),
    [
        ("trn1", None, "--target trn1 --auto-cast none --model-type generic"),
        ("trn2", 1, "--target trn2 --auto-cast none --model-type generic --logical-nc-config 1"),
        ("trn2", 2, "--target trn2 --auto-cast none --model-type generic --logical-nc-config 2"),
    ],
)
def test_chips_by_name(install_double, in_process, head, target, cores, expected) -> None:
    double = install_double("torch_neuronx")
    compile_graphs(head, CompileOptions(neuroncores=cores), target=target)
    assert double.calls[0]["compiler_args"] == expected.split()


@pytest.mark.parametrize(
    ("target", "compiler", "pinned"),
    [("trn2", "2.27.5334.0", True), ("trn2", "2.26.6360.0", False), ("trn2", None, False), ("inf2", "2.28.0.0", False)],
)
def test_integers_are_pinned_where_the_compiler_knows_them(
    monkeypatch: pytest.MonkeyPatch, target, compiler, pinned
) -> None:
    monkeypatch.setattr("neuronkit.targets.sdk.flags.distribution_version", lambda name: compiler)
    chosen: Any = find_target(target)
    pins = ["--native-int64=disabled", "--implicit-integer-downcast=all"]
    assert [flag for flag in chosen.compiler_args(CompileOptions()) if flag in pins] == (pins if pinned else [])
    own = CompileOptions(extra_args=("--implicit-integer-downcast", "dot"))
    assert ("--implicit-integer-downcast=all" in chosen.compiler_args(own)) is False


@pytest.mark.parametrize(
    ("target", "compiler"), [("inf2", "2.26"), ("trn1", "2.26"), ("trn2-native", "2.28"), ("trn3", "2.28")]
)
def test_the_install_command_pins_a_line_of_the_compiler(target, compiler) -> None:
    with pytest.raises(MissingSDKError, match=rf"neuronx-cc=={re.escape(compiler)}\.\*"):
        find_target(target).check_environment()


@pytest.mark.inf2
def test_graph_that_cannot_be_exported_is_named(install_double, in_process, tmp_path: Path) -> None:
    install_double("torch_neuronx")

    class Branch(nn.Module):
        def forward(self, x):
            return x + 1 if x.sum() > 0 else x

    graphs = {"branch": (Branch(), (TensorSpec("x", (2, 3)),))}
    with pytest.raises(CompileError, match="cannot export Branch"):
        compile_graphs(graphs, CompileOptions(workdir=tmp_path))


@pytest.mark.inf2
@pytest.mark.parametrize(
    ("mode", "code", "message"),
    [("fail", "NCC_EVRF001", "ended with status 1"), ("crash", None, "killed by SIGSEGV")],
)
def test_compiler_failure_is_told(install_double, head, tmp_path: Path, mode, code, message) -> None:
    install_double("torch_neuronx", mode=mode)
    with pytest.raises(CompileError, match=message) as caught:
        compile_graphs(head, CompileOptions(workdir=tmp_path))
    assert caught.value.code == code
    assert caught.value.log_path == tmp_path / "head" / "compile.log"


@pytest.mark.inf2
@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("ignores target", "asked for --target inf2, the compiler was called with --target trn1"),
        ("drops target", "asked for --target inf2, the compiler was called with no --target"),
    ],
)
def test_a_compiler_that_ignores_the_target_is_found_out(
    install_double, in_process, head, tmp_path: Path, mode, message
) -> None:
    install_double("torch_neuronx", mode=mode)
    with pytest.raises(CompileError, match=message) as caught:
        compile_graphs(head, CompileOptions(workdir=tmp_path / "work", cache_dir=tmp_path / "cache"))
    assert "this release of the SDK ignores --target" in caught.value.hint
    assert caught.value.log_path.exists()
    assert not list(tmp_path.rglob("compiled.pt"))


@pytest.mark.inf2
def test_the_compilers_own_log_shows_the_target_too(
    install_double, in_process, head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = install_double("torch_neuronx", mode="logs target")
    with pytest.raises(CompileError, match="called with --target trn1"):
        compile_graphs(head, CompileOptions(workdir=tmp_path))
    double.set_mode("")
    monkeypatch.delitem(sys.modules, "torch_neuronx")
    compile_graphs(head, CompileOptions(workdir=tmp_path))


@pytest.mark.inf2
def test_a_target_of_the_callers_own_is_what_was_asked_for(install_double, in_process, head) -> None:
    install_double("torch_neuronx", mode="ignores target")
    compile_graphs(head, CompileOptions(extra_args=("--target", "trn1")))


@pytest.mark.inf2
def test_environment_names_versions(install_double, in_process) -> None:
    install_double("torch_neuronx")
    versions = find_target("inf2").check_environment()
    assert versions["torch-neuronx"] == "2.9.0.2.15.32035"
    assert versions["torch"].startswith("2.9")


@pytest.mark.inf2
@pytest.mark.parametrize(
    ("version", "message"), [("2.8.0.2.10.1", r"does not fit torch 2\.9"), ("2.14.3.0", "is TorchNeuron")]
)
def test_sdk_that_does_not_fit_is_refused(install_double, in_process, version, message) -> None:
    install_double("torch_neuronx", version=version)
    with pytest.raises(MissingSDKError, match=message):
        find_target("inf2").check_environment()


def test_without_sdk_the_install_command_is_named() -> None:
    with pytest.raises(
        MissingSDKError, match=r"pip install --extra-index-url=https://pip\.repos\.neuron\.amazonaws\.com"
    ):
        find_target("inf2").check_environment()


@pytest.mark.parametrize(("target", "version"), [("inf2", "1.13.1"), ("trn1", "2.13.0"), ("xla", "2.4.1")])
def test_wrong_torch_is_named(monkeypatch: pytest.MonkeyPatch, target, version) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    with pytest.raises(MissingSDKError, match=rf"torch {version} \(needs 2\.5-2\.9\)"):
        find_target(target).check_environment()


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("inf2", {"auto_cast_type": "bf16"}),
        ("inf2", {"auto_cast": "none", "auto_cast_type": "fp16"}),
        ("inf2", {"neuroncores": 2}),
        ("trn2", {"neuroncores": 4}),
        ("inf2", {"auto_cast": "all", "extra_args": ("--auto-cast", "none")}),
        ("xla", {"auto_cast": "all"}),
        ("cpu", {"optlevel": 2}),
    ],
)
def test_what_cannot_be_honoured_is_refused(target, options) -> None:
    with pytest.raises(OptionError):
        find_target(target).check_options(CompileOptions(**options))
