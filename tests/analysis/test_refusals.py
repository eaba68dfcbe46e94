"""One bad operator in an otherwise good model is refused for every Neuron target, by name, module and line."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import neuronkit
from neuronkit.analysis import analyze, check_operators
from neuronkit.errors import UnsupportedOperatorError
from neuronkit.options import CompileOptions
from neuronkit.specs import TensorSpec

NEURON_TARGETS = ("inf1", "inf2", "trn1", "trn2", "trn2-native", "trn3")
SPEC = TensorSpec("x", (2, 4))


class Net(nn.Module):
    """Good but for one step, the submodule "step"."""

    def __init__(self, step) -> None:
        super().__init__()
        self.before = nn.Linear(4, 4)
        self.step = step()

    def forward(self, x):
        return self.step(self.before(x))


class Fft(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x).abs()  # bad: Fft


class Nonzero(nn.Module):
    def forward(self, x):
        return x.nonzero().to(torch.int32)  # bad: Nonzero


class BooleanMask(nn.Module):
    def forward(self, x):
        x = x + 1
        x[x > 0] = 0.0  # bad: BooleanMask
        return x


class Item(nn.Module):
    def forward(self, x):
        if x.sum().item() > 0:  # bad: Item
            return x + 1
        return x


class Complex(nn.Module):
    def forward(self, x):
        return x.to(torch.complex64).abs()  # bad: Complex


class Int64Output(nn.Module):
    def forward(self, x):
        return x.argmax(-1)  # bad: Int64Output


class Good(nn.Module):
    def forward(self, x):
        return torch.where(x > 0, x, x * 2).softmax(-1)


# Step → what the message names, and the operator kind that can be let through, if any.
BAD = {
    Fft: ("aten::fft_rfft", "aten::fft_rfft"),
    Nonzero: ("aten::nonzero", "aten::nonzero"),
    BooleanMask: ("aten::index_put_", "aten::index_put_"),
    Item: ("Tensor.item", None),
    Complex: ("complex64", None),
    Int64Output: ("int64", None),
}
CASES = [pytest.param(step, *named, id=step.__name__) for step, named in BAD.items()]


def line_of(step: type) -> int:
    with open(__file__, encoding="utf-8") as file:
        return next(i for i, line in enumerate(file, 1) if line.rstrip().endswith(f"# bad: {step.__name__}"))


@pytest.mark.parametrize("target", NEURON_TARGETS)
@pytest.mark.parametrize(("step", "named", "kind"), CASES)
def test_refused_by_name_module_and_line(target, step, named, kind) -> None:
    report = analyze(Net(step), SPEC, target=target)
    with pytest.raises(UnsupportedOperatorError) as caught:
        check_operators(report)
    message = str(caught.value)
    assert f"{named} × 1 in step of graph 'main', {__file__}:{line_of(step)}" in message
    assert len(report.problems) == 1


@pytest.mark.parametrize("target", NEURON_TARGETS)
@pytest.mark.parametrize("argument", ["op_whitelist", "cpu_operators"])
@pytest.mark.parametrize(("step", "named", "kind"), CASES)
def test_exactly_that_operator_can_be_let_through_but_no_dtype_and_no_value(
    target, argument, step, named, kind
) -> None:
    report = analyze(Net(step), SPEC, target=target)
    everything = [*report.counts, "aten::item", "aten::_local_scalar_dense", "Tensor::item"]
    if kind is None:
        with pytest.raises(UnsupportedOperatorError, match=named):
            check_operators(report, **{argument: everything})
        return
    check_operators(report, **{argument: [kind]})
    with pytest.raises(UnsupportedOperatorError, match=named):
        check_operators(report, **{argument: [k for k in everything if k != kind]})


@pytest.mark.parametrize("target", NEURON_TARGETS)
def test_cpu_fallback_lets_operators_through_but_no_dtype_and_no_value(target) -> None:
    for step, (named, kind) in BAD.items():
        report = analyze(Net(step), SPEC, target=target)
        if kind is None:
            with pytest.raises(UnsupportedOperatorError, match=named):
                check_operators(report, cpu_fallback=True)
        else:
            check_operators(report, cpu_fallback=True)


@pytest.mark.parametrize("target", NEURON_TARGETS)
def test_a_good_model_passes(target) -> None:
    report = analyze(Net(Good), SPEC, target=target)
    check_operators(report)
    assert report.supported_fraction == 1.0


def test_the_cpu_refuses_the_read_value_alone() -> None:
    for step in BAD:
        net = Net(step).eval()
        if step is Item:
            with pytest.raises(UnsupportedOperatorError, match=rf"Tensor\.item in step, {__file__}:{line_of(Item)}"):
                neuronkit.compile_for_inferentia(net, SPEC, target="cpu")
        else:
            compiled = neuronkit.compile_for_inferentia(net, SPEC, target="cpu")
            x = torch.rand(2, 4)
            torch.testing.assert_close(compiled(x), net(x))


def load_doubles():
    path = Path(__file__).parents[1] / "targets" / "doubles.py"
    spec = importlib.util.spec_from_file_location("neuronkit_refusal_doubles", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install a double that fits, by package; gives its record."""

    def install(package, version, **settings):
        double = load_doubles().Double(tmp_path / "sdk", package, version, **settings)
        monkeypatch.syspath_prepend(str(tmp_path / "sdk"))
        monkeypatch.delitem(sys.modules, package, raising=False)
        return double

    yield install
    sys.modules.pop("torch_neuron", None)
    sys.modules.pop("torch_neuronx", None)


def assert_refused_before_the_compiler(double, target) -> None:
    for step, (named, _) in BAD.items():
        with pytest.raises(UnsupportedOperatorError, match=named) as caught:
            neuronkit.compile_for_inferentia(Net(step), SPEC, target=target)
        assert f"{__file__}:{line_of(step)}" in str(caught.value)
    assert double.calls == []


@pytest.mark.inf1
def test_compile_refuses_for_inf1_before_the_compiler_starts(sdk) -> None:
    assert_refused_before_the_compiler(sdk("torch_neuron", "1.13.1.2.11.13.0"), "inf1")


@pytest.mark.inf1
def test_compile_for_inf1_hands_the_whitelist_on(sdk) -> None:
    double = sdk("torch_neuron", "1.13.1.2.11.13.0", takes_op_whitelist=True)
    compiled = neuronkit.compile_for_inferentia(Net(Nonzero), SPEC, target="inf1", op_whitelist=["aten::nonzero"])
    assert "aten::nonzero" in double.calls[0]["op_whitelist"]
    assert compiled.manifest["op_whitelist"] == ["aten::nonzero"]
    options = CompileOptions(cpu_operators=("aten::nonzero",))
    neuronkit.compile_for_inferentia(Net(Nonzero), SPEC, target="inf1", options=options)
    assert "aten::nonzero" not in double.calls[1]["on_device"]


@pytest.mark.inf2
@pytest.mark.parametrize("target", ["inf2", "trn1", "trn2"])
def test_compile_refuses_for_neuronx_before_the_compiler_starts(sdk, target) -> None:
    assert_refused_before_the_compiler(sdk("torch_neuronx", "2.9.0.2.15.32035"), target)


@pytest.mark.tooling
@pytest.mark.parametrize("target", ["trn2-native", "trn3"])
def test_compile_refuses_for_torchneuron_before_the_compiler_starts(
    sdk, monkeypatch: pytest.MonkeyPatch, target
) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.12.1")
    version = ".".join(torch.__version__.split(".")[:2]) + ".3.0"
    assert_refused_before_the_compiler(sdk("torch_neuronx", version, native=True), target)
