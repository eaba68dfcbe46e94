import os
from pathlib import Path

import pytest
import torch

from neuronkit.errors import CompileError, MissingSDKError, OptionError
from neuronkit.options import CompileOptions
from neuronkit.specs import TensorSpec
from neuronkit.targets import find_target


def compile_graphs(graphs, options=None, op_whitelist=(), stages=None):
    target = find_target("inf1")
    options = options or CompileOptions()
    target.check_options(options)
    report = stages.append if stages is not None else lambda stage: None
    return target.compile(graphs, options=options, op_whitelist=op_whitelist, progress=report)


@pytest.mark.inf1
def test_every_graph_goes_through_trace_in_another_process(install_double, graphs) -> None:
    double = install_double("torch_neuron")
    stages: list[str] = []
    compiled = compile_graphs(graphs, stages=stages)
    assert [call["shapes"] for call in double.calls] == [[[2, 4]], [[2, 3]]]
    assert all(call["pid"] != os.getpid() for call in double.calls)
    assert stages == ["compiling head", "compiling tokens"]
    for name, (module, specs) in graphs.items():
        x = specs[0].example()
        torch.testing.assert_close(compiled.callables[name](x), module(x))
        assert isinstance(compiled.callables[name], torch.jit.ScriptModule)


@pytest.mark.inf1
def test_defaults_keep_everything_on_the_device_and_say_how_to_cast(install_double, in_process, graphs) -> None:
    double = install_double("torch_neuron")
    compiled = compile_graphs({"head": graphs["head"]})
    (call,) = double.calls
    assert call["compiler_args"] == ["--fast-math", "none"]
    assert call["fallback"] is False
    assert call["filtered"] is False
    assert call["kwargs"] == {}
    assert "fallback=False" in compiled.commands["head"]
    assert "neuronx-cc compile --framework XLA" in compiled.commands["head"]  # the compiler's own line, from the log


@pytest.mark.inf1
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"auto_cast": "matmult"}, {"compiler_args": ["--fast-math", "fp32-cast-matmult", "no-fast-relayout"]}),
        (
            {"auto_cast": "all", "auto_cast_type": "fp16"},
            {"compiler_args": ["--fast-math", "fp32-cast-all-fp16", "no-fast-relayout"]},
        ),
        ({"optlevel": 2}, {"compiler_args": ["--fast-math", "none", "-O2"]}),
        ({"neuroncores": 4}, {"compiler_args": ["--fast-math", "none", "--neuroncore-pipeline-cores", "4"]}),
        ({"extra_args": ("--fast-math", "all")}, {"compiler_args": ["--fast-math", "all"]}),
        ({"cpu_fallback": True}, {"fallback": True}),
        ({"dynamic_batch": True}, {"dynamic_batch_size": True}),
        ({"inline_weights": False}, {"separate_weights": True}),
        ({"timeout_s": 90.5}, {"compiler_timeout": 90}),
        ({"cpu_operators": ("aten::linear",)}, {"fallback": True, "filtered": True, "on_device": ["aten::relu"]}),
    ],
)
def test_options_reach_documented_arguments(install_double, in_process, graphs, options, expected) -> None:
    double = install_double("torch_neuron")
    compile_graphs({"head": graphs["head"]}, CompileOptions(**options))
    (call,) = double.calls
    assert {name: call[name] for name in expected} == expected


@pytest.mark.inf1
def test_workdir_keeps_graph_log_and_compiler_files(install_double, in_process, graphs, tmp_path: Path) -> None:
    double = install_double("torch_neuron")
    compile_graphs({"head": graphs["head"]}, CompileOptions(workdir=tmp_path / "work"))
    kept = {path.name for path in (tmp_path / "work" / "head").iterdir()}
    assert {"graph.pt", "compile.log", "compiled.pt", "job.json"} <= kept
    assert double.calls[0]["compiler_workdir"] == str(tmp_path / "work" / "head" / "compiler")


@pytest.mark.inf1
def test_whitelist_is_added_to_what_the_sdk_supports(install_double, in_process, graphs) -> None:
    double = install_double("torch_neuron", takes_op_whitelist=True)
    compile_graphs({"tokens": graphs["tokens"]}, op_whitelist=("aten::embedding",))
    (call,) = double.calls
    assert call["op_whitelist"] == ["aten::add", "aten::embedding", "aten::linear", "aten::relu", "aten::to"]
    assert call["filtered"] is False


@pytest.mark.inf1
def test_whitelist_becomes_a_node_filter_where_trace_does_not_know_it(install_double, in_process, graphs) -> None:
    double = install_double("torch_neuron", takes_op_whitelist=False)
    compiled = compile_graphs({"tokens": graphs["tokens"]}, op_whitelist=("aten::embedding",))
    (call,) = double.calls
    assert call["filtered"] is True
    assert call["on_device"] == ["aten::embedding", "aten::linear"]
    assert "subgraph_builder_function" in compiled.commands["tokens"]


@pytest.mark.inf1
def test_filter_leaves_out_what_is_neither_supported_nor_vouched_for(install_double, in_process, graphs) -> None:
    double = install_double("torch_neuron", takes_op_whitelist=False)
    compile_graphs({"tokens": graphs["tokens"]}, op_whitelist=("aten::roll",))
    assert double.calls[0]["on_device"] == ["aten::linear"]


@pytest.mark.inf1
def test_compiler_failure_carries_code_log_and_hint(install_double, graphs, tmp_path: Path) -> None:
    install_double("torch_neuron", mode="fail")
    with pytest.raises(CompileError) as caught:
        compile_graphs(graphs, CompileOptions(workdir=tmp_path))
    error = caught.value
    assert error.code == "NCC_EVRF001"
    assert "unsupported operator" in error.hint
    assert "NCC_EVRF001" in error.log_path.read_text()
    assert "graph 'head'" in str(error)
    assert "neuronx-cc failed with code 70" in str(error)


@pytest.mark.inf1
def test_log_survives_a_failure_without_workdir(install_double, graphs) -> None:
    install_double("torch_neuron", mode="fail")
    with pytest.raises(CompileError) as caught:
        compile_graphs(graphs)
    assert caught.value.log_path.exists()


@pytest.mark.inf1
def test_crash_names_the_signal(install_double, graphs, tmp_path: Path) -> None:
    install_double("torch_neuron", mode="crash")
    with pytest.raises(CompileError, match="killed by SIGSEGV"):
        compile_graphs(graphs, CompileOptions(workdir=tmp_path))


@pytest.mark.inf1
def test_silent_cpu_trace_is_an_error(install_double, in_process, graphs, tmp_path: Path) -> None:
    install_double("torch_neuron", mode="cpu trace")
    with pytest.raises(CompileError, match="CPU trace"):
        compile_graphs(graphs, CompileOptions(workdir=tmp_path))


@pytest.mark.inf1
def test_environment_names_versions(install_double, in_process) -> None:
    install_double("torch_neuron")
    versions = find_target("inf1").check_environment()
    assert versions["torch-neuron"] == "1.13.1.2.11.13.0"
    assert versions["torch"].startswith("1.13.1")


@pytest.mark.inf1
def test_sdk_of_another_torch_is_refused(install_double, in_process) -> None:
    install_double("torch_neuron", version="1.12.1.2.4.0")
    with pytest.raises(MissingSDKError, match=r"1\.12\.1.* does not fit torch 1\.13\.1"):
        find_target("inf1").check_environment()


@pytest.mark.inf1
def test_driver_that_dropped_inf1_is_refused(install_double, in_process, monkeypatch: pytest.MonkeyPatch) -> None:
    install_double("torch_neuron")
    monkeypatch.setattr("neuronkit.targets.inf1.driver_version", lambda: "2.31.7.0")
    with pytest.raises(MissingSDKError, match=r"aws-neuronx-dkms=2\.24\.\*"):
        find_target("inf1").check_environment()


def test_without_sdk_the_install_command_is_named() -> None:
    with pytest.raises(
        MissingSDKError, match=r"pip install --extra-index-url=https://pip\.repos\.neuron\.amazonaws\.com"
    ):
        find_target("inf1").check_environment()


def test_wrong_framework_is_named_before_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.13.0")
    monkeypatch.setattr("platform.python_version", lambda: "3.11.7")
    with pytest.raises(MissingSDKError, match=r"torch 2\.13\.0 \(needs 1\.13\) and Python 3\.11\.7 \(needs 3\.10\)"):
        find_target("inf1").check_environment()


@pytest.mark.parametrize(
    "options",
    [
        {"auto_cast": "matmult", "auto_cast_type": "tf32"},
        {"auto_cast_type": "bf16"},
        {"auto_cast": "none", "auto_cast_type": "fp16"},
        {"optlevel": 3},
        {"model_type": "transformer"},
        {"auto_cast": "all", "extra_args": ("--fast-math=none",)},
    ],
)
def test_what_neuron_cc_cannot_honour_is_refused(options) -> None:
    with pytest.raises(OptionError):
        find_target("inf1").check_options(CompileOptions(**options))


@pytest.mark.inf1
def test_dictionaries_come_through(install_double, in_process) -> None:
    class Named(torch.nn.Module):
        def forward(self, x):
            return {"twice": x * 2, "more": x + 1}

    double = install_double("torch_neuron")
    x = torch.ones(2, 4)
    compiled = compile_graphs({"named": (Named(), (TensorSpec.of("x", x),))})
    assert double.calls[0]["kwargs"] == {"strict": False}
    assert torch.equal(compiled.callables["named"](x)["twice"], x * 2)
