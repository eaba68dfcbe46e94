import pytest
import torch
from torch import nn

import neuronkit
from neuronkit.capture.tracing import trace
from neuronkit.errors import OptionError, UnknownTargetError, UnsupportedOperatorError
from neuronkit.options import CompileOptions
from neuronkit.specs import TensorSpec
from neuronkit.targets import find_target, target_names

SPEC = TensorSpec("x", (2, 4))


class Reads(nn.Module):
    """Reads a value in one of many ways."""

    def __init__(self, how) -> None:
        super().__init__()
        self.how = how

    def forward(self, x):
        return x + self.how(x)


@pytest.mark.parametrize(
    "how",
    [
        lambda x: 1 if x.sum() > 0 else 2,
        lambda x: x.max().item(),
        lambda x: float(x[0, 0]),
        lambda x: int(x[0, 0]),
        lambda x: x[0].tolist()[1],
        lambda x: 1 if bool(x.any()) else 2,
        lambda x: 1 if torch.equal(x, x + 1) else 2,
    ],
)
def test_values_that_python_reads_are_refused_with_module_and_line(how) -> None:
    line = how.__code__.co_firstlineno
    model = nn.Sequential(nn.Identity(), Reads(how))
    with pytest.raises(UnsupportedOperatorError, match=rf"Tensor\.\w+ in 1, {__file__}:{line}"):
        trace(model, (SPEC,))


@pytest.mark.parametrize(
    "how",
    [
        lambda x: 1 if x.shape[0] == 2 else 2,
        lambda x: x.size(1) // 2,
        lambda x: sum(row.sum() for row in x),
        lambda x: torch.tensor([1.0, 2.0, 3.0, 4.0]),
        lambda x: x.shape[-1] ** -0.5,
        lambda x: len(x),
    ],
)
def test_shapes_are_no_values(how) -> None:
    model = Reads(how)
    x = SPEC.example()
    torch.testing.assert_close(trace(model, (SPEC,))(x), model(x))


def test_a_branch_on_a_weight_is_fixed_like_the_weight() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Parameter(torch.ones(()))

        def forward(self, x):
            return x if self.gate > 0 else -x

    x = SPEC.example()
    torch.testing.assert_close(trace(Gated(), (SPEC,))(x), x)


def test_attention_is_traced_as_matrix_products() -> None:
    attention = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval().requires_grad_(False)
    kinds = {node.kind() for node in trace(attention, (TensorSpec("x", (2, 3, 4)),)).inlined_graph.nodes()}
    assert "aten::linear" in kinds
    assert not {kind for kind in kinds if kind.startswith(("aten::_native", "aten::_transformer"))}


def test_cpu_target_refuses_a_read_value_and_takes_the_rest() -> None:
    def compile_on_cpu(model):
        graphs = {"model": (model.eval(), (SPEC,))}
        return find_target("cpu").compile(graphs, options=CompileOptions(), progress=lambda stage: None)

    with pytest.raises(UnsupportedOperatorError):
        compile_on_cpu(Reads(lambda x: x.max().item()))
    model = Reads(lambda x: torch.fft.fft(x).abs() + x.nonzero().sum())
    x = SPEC.example()
    torch.testing.assert_close(compile_on_cpu(model).callables["model"](x), model(x))


def test_unknown_target_lists_those_that_exist() -> None:
    with pytest.raises(
        UnknownTargetError, match=r"target='inf3'; expected one of 'cpu', 'onnx', .*'inf1'.*did you mean 'inf"
    ):
        find_target("inf3")
    assert all(find_target(name).name == name for name in target_names())


@pytest.mark.parametrize("target", ["cpu", "trn3"])
def test_targets_without_cores_of_their_own_place_nothing(target) -> None:
    with pytest.raises(OptionError, match="no cores to choose from"):
        find_target(target).place(lambda x: x, neuroncore=1)


@pytest.mark.parametrize(("target", "package"), [("inf1", "torch_neuron"), ("inf2", "torch_neuronx")])
def test_loaded_models_are_put_on_cores(install_double, target, package) -> None:
    double = install_double(package)
    find_target(target).place(lambda x: x, neuroncore=2, count=3)
    assert double.calls == [{"start_nc": 2, "nc_count": 3}]


def test_separate_weights_travel_to_the_core_once(install_double) -> None:
    double = install_double("torch_neuronx")
    find_target("inf2").place(lambda x: x, neuroncore=1, inline_weights=False)
    assert double.calls == [{"start_nc": 1, "nc_count": 1}, {"device_id": 1}]


class LightningModule(nn.Module):
    """As Lightning's: what belongs to the training raises without a Trainer."""

    @property
    def trainer(self) -> None:
        raise RuntimeError(f"{type(self).__qualname__} is not attached to a `Trainer`.")


class L(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        self.scale = nn.Parameter(torch.ones(3))

    def look(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.look(x) * self.scale


def test_a_lightning_module_without_a_trainer_is_traced() -> None:
    model = L().eval()
    with pytest.raises(RuntimeError, match="is not attached to a `Trainer`"):
        torch.jit.trace(model, torch.zeros(2, 4))
    report = neuronkit.analyze(model, torch.zeros(2, 4), target="inf1")
    assert report.counts == {"aten::linear": 1, "aten::relu": 1, "aten::mul": 1}
    x = torch.randn(2, 4)
    compiled = neuronkit.compile_for_inferentia(model, x, target="cpu")
    torch.testing.assert_close(compiled(x), model(x).detach())
