import pytest
import torch
from torch import nn

from neuronkit.errors import CompileError, MissingSDKError
from neuronkit.options import CompileOptions
from neuronkit.specs import TensorSpec
from neuronkit.targets import find_target


class Awkward(nn.Module):
    """What ties an exported graph to the CPU: created tensors, constants, buffers, moves, and in-place writes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.register_buffer("scale", torch.full((3,), 0.5))
        self.offset = torch.arange(3.0)
        self.inner = nn.Module()
        self.inner.table = torch.arange(6.0).reshape(2, 3)
        self.inner.mix = torch.eye(3) + 0.1

    def forward(self, x):
        keep = torch.arange(3) < 2
        y = torch.where(keep, self.linear(x), torch.zeros(3)) * self.scale + self.offset
        y = y + torch.tensor([1.0, 2.0, 3.0]) + torch.full_like(y, 2.0) + y.new_ones(3)
        y = y.to("cpu") @ self.inner.mix + self.inner.table[:1].to(torch.float32)
        y[:, 0] = 1.0
        return {"y": y, "ids": (y.argmax(-1).int(), [y > 1])}


SPEC = TensorSpec("x", (2, 4))


def lower(module, *specs):
    graphs = {"graph": (module.eval(), specs)}
    target = find_target("xla")
    compiled = target.compile(graphs, options=CompileOptions(), progress=lambda stage: None)
    return compiled.callables["graph"]


@pytest.mark.xla
def test_takes_and_gives_cpu_tensors_and_keeps_the_structure() -> None:
    module, x = Awkward(), SPEC.example(seed=2)
    graph = lower(module, SPEC)
    actual, expected = graph(x), module(x)
    assert actual.keys() == expected.keys()
    torch.testing.assert_close(actual["y"], expected["y"])
    assert torch.equal(actual["ids"][0], expected["ids"][0])
    assert torch.equal(actual["ids"][1][0], expected["ids"][1][0])
    assert actual["y"].device.type == "cpu"


@pytest.mark.xla
def test_keeps_the_hlo_and_no_fallback() -> None:
    graph = lower(Awkward(), SPEC)
    assert graph.hlo.startswith("HloModule")
    assert " dot(" in graph.hlo
    assert graph.fallbacks == {}


@pytest.mark.xla
def test_operators_that_xla_leaves_to_the_cpu_are_named() -> None:
    class Samples(nn.Module):
        def forward(self, x):
            return nn.functional.grid_sample(x, torch.zeros(1, 2, 2, 2), align_corners=False)

    assert lower(Samples(), TensorSpec("x", (1, 1, 4, 4))).fallbacks == {"aten::grid_sampler_2d": 1}


@pytest.mark.xla
def test_the_module_stays_on_the_cpu() -> None:
    module = Awkward()
    lower(module, SPEC)
    assert {t.device.type for t in (*module.parameters(), *module.buffers(), module.offset)} == {"cpu"}


@pytest.mark.xla
def test_a_branch_on_data_is_a_compile_error() -> None:
    class Branch(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(CompileError, match="Branch cannot be lowered"):
        lower(Branch(), SPEC)


@pytest.mark.xla
def test_environment_names_torch_xla() -> None:
    assert find_target("xla").check_environment()["torch-xla"].startswith("2.9")


def test_nothing_is_saved() -> None:
    assert find_target("xla").saves is False


def test_missing_torch_xla_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.9.0")
    monkeypatch.setattr("platform.python_version", lambda: "3.11.7")
    monkeypatch.setattr("neuronkit.targets.xla.distribution_version", lambda name: None)
    with pytest.raises(MissingSDKError, match=r"pip install torch==2\.9\.0 torch-xla==2\.9\.0"):
        find_target("xla").check_environment()
