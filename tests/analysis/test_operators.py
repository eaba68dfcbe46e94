import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neuronkit.adapters.craft import StaticCRAFT
from neuronkit.analysis import analyze, check_operators
from neuronkit.compile import compile_for_inferentia
from neuronkit.errors import OptionError, SpecError, UnknownModelError, UnknownTargetError, UnsupportedOperatorError
from neuronkit.models import CRAFT
from neuronkit.specs import TensorSpec
from neuronkit.static.model import Foldable, StaticModel
from neuronkit.targets import target_names

SPEC = TensorSpec("x", (2, 4))


class Reader(nn.Module):
    """A line of torch per line, so that tests can name it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8, 4)
        self.head = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x):
        ids = x.argmax(-1)
        y = self.embedding(ids)
        y = self.head(y) + self.head(x)
        return torch.where(x > 0, y, x)


def line_of(text: str) -> int:
    """Number of the first line of this file that holds the text."""
    with open(__file__, encoding="utf-8") as file:
        return next(i for i, line in enumerate(file, 1) if text in line)


def test_counts_are_those_of_the_inlined_graph() -> None:
    report = analyze(Reader(), SPEC, target="inf1")
    expected = {"add": 1, "argmax": 1, "embedding": 1, "gt": 1, "linear": 2, "relu": 2, "where": 1}
    assert report.counts == {f"aten::{kind}": count for kind, count in expected.items()}
    assert report.total == 9
    assert report.unsupported == {"aten::embedding": 1}
    assert report.supported_fraction == pytest.approx(8 / 9)


def test_problem_names_module_line_reason_and_rewrite() -> None:
    report = analyze(Reader(), SPEC, target="inf1")
    (problem,) = report.problems
    assert problem.kind == "aten::embedding"
    assert problem.module == "embedding"
    assert problem.location == f"{__file__}:{line_of('y = self.embedding(ids)')}"
    assert "performance" in problem.reason
    assert "one-hot" in problem.rewrite
    with pytest.raises(UnsupportedOperatorError) as caught:
        check_operators(report)
    for part in ("aten::embedding × 1", "in embedding of graph 'main'", problem.location, "op_whitelist=", "inf1"):
        assert part in str(caught.value)


def test_same_place_is_told_once_with_its_count() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(8, 4)

        def forward(self, ids):
            for _ in range(3):
                ids = self.embedding(ids).argmax(-1)
            return self.embedding(ids)

    report = analyze(Twice(), TensorSpec("ids", (2,), "int32"), target="inf1")
    assert report.unsupported == {"aten::embedding": 4}
    assert [problem.count for problem in report.problems] == [3, 1]


def test_limited_operators_are_checked_against_the_call() -> None:
    class Chooses(nn.Module):
        def forward(self, x):
            return torch.where(x > 0, x, -x), torch.ops.aten.norm(x, 2, [1]), torch.ops.aten.norm(x, 3, [1])

    report = analyze(Chooses(), SPEC, target="inf1")
    assert report.statuses["aten::where"] == "limited"
    assert "3-argument" in report.conditions["aten::where"]
    assert report.counts["aten::norm"] == 2
    assert report.unsupported == {"aten::norm": 1}  # the one of order 3
    assert report.supported_fraction == pytest.approx(1 - 1 / report.total)


@pytest.mark.parametrize("num_classes", [5, -1])
def test_one_hot_needs_its_size(num_classes) -> None:
    class Hot(nn.Module):
        def forward(self, x):
            return nn.functional.one_hot(x.argmax(-1), num_classes).int()

    report = analyze(Hot(), SPEC, target="inf1")
    assert ("aten::one_hot" in report.unsupported) == (num_classes == -1)


def test_whitelist_and_cpu_operators_change_the_verdict() -> None:
    whitelisted = analyze(Reader(), SPEC, target="inf1", op_whitelist=["aten::embedding", "aten::relu"])
    assert whitelisted.problems == ()
    assert whitelisted.having("whitelisted") == {"aten::embedding": 1}  # relu was supported anyway
    assert whitelisted.supported_fraction == 1.0
    on_cpu = analyze(Reader(), SPEC, target="inf1", cpu_operators=["aten::embedding", "aten::relu"])
    assert on_cpu.having("cpu") == {"aten::embedding": 1, "aten::relu": 2}
    assert on_cpu.supported_fraction == pytest.approx(6 / 9)
    check_operators(whitelisted)
    check_operators(on_cpu)
    plain = analyze(Reader(), SPEC, target="inf1")
    check_operators(plain, op_whitelist=["aten::embedding"])
    check_operators(plain, cpu_operators=["aten::embedding"])
    with pytest.raises(UnsupportedOperatorError):
        check_operators(plain, op_whitelist=["aten::linear"])


class TwoGraphs(StaticModel):
    family = "test"

    def modules_by_name(self, source):
        return {"first": source.head, "second": Doubled()}

    def graph_specs(self):
        return {"first": (SPEC,), "second": (SPEC,)}

    def run_original(self, source, *inputs):
        return source(*inputs)


class Doubled(Foldable):
    def compute_constants(self):
        return (torch.full((4,), 2.0).cumsum(0),)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(x) * self.constants[0]


def test_static_model_is_summed_over_its_folded_graphs() -> None:
    report = analyze(TwoGraphs(Reader(), [SPEC]), target="inf1")
    assert report.counts == {"aten::linear": 1, "aten::mul": 1, "aten::relu": 2}


def test_nested_blocks_are_counted_and_control_flow_is_refused() -> None:
    class Loops(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            for _ in range(int(x.sum())):
                x = torch.relu(x) if bool(x.mean() > 0) else torch.sigmoid(x)
            return x

    report = analyze(torch.jit.script(Loops()), SPEC, target="inf1")
    assert report.counts["aten::relu"] == 1
    assert report.counts["aten::sigmoid"] == 1
    assert {"prim::Loop", "prim::If"} <= set(report.unsupported)


def test_the_model_is_left_as_it_was() -> None:
    model = Reader().train()
    model.head[1].eval()
    model.register_buffer("seen", torch.zeros(1))
    forward, state = model.forward, {name: value.clone() for name, value in model.state_dict().items()}
    analyze(model, SPEC, target="inf2")
    assert model.training
    assert not model.head[1].training
    assert model.forward == forward
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_inputs_may_be_tensors_or_specs() -> None:
    by_spec = analyze(Reader(), [SPEC], target="inf1")
    by_tensor = analyze(Reader(), torch.zeros(2, 4), target="inf1")
    assert by_spec.counts == by_tensor.counts


def test_report_goes_through_json_and_prints_as_text_and_html() -> None:
    import json

    report = analyze(Reader(), SPEC, target="inf1")
    fields = json.loads(json.dumps(report.to_dict()))
    assert fields["unsupported"] == {"aten::embedding": 1}
    assert fields["problems"][0]["module"] == "embedding"
    text, html = str(report), report._repr_html_()
    for part in ("9 operators of 7 kinds, 88.89 % supported", "torch-neuron's list page", "aten::where", "limited"):
        assert part in text
        assert part.replace("'", "&#x27;") in html
    assert html.count("<tr") == 1 + len(report.counts)


def test_a_report_on_a_model_that_a_family_knows_says_so_first() -> None:
    craft, image = CRAFT(width=0.02), TensorSpec("images", (1, 3, 64, 64))
    report = analyze(craft, image, target="inf2")
    assert report.advice.startswith("neuronkit.make_static(model, options=CRAFTOptions(...)) makes a CRAFT static")
    assert str(report).startswith("neuronkit.make_static(model, options=CRAFTOptions")
    assert report.to_dict()["advice"] == report.advice
    for static in (
        analyze(StaticCRAFT(craft, height=64, width=64), target="inf2"),
        analyze(Reader(), SPEC, target="inf2"),
    ):
        assert static.advice == ""
        assert str(static).startswith(f"{static.total} operators")


def test_what_gives_text_says_how_it_gives_tensors() -> None:
    class Texts(CRAFT):
        exportable = False

        def forward(self, images: Tensor) -> dict[str, list[str]]:  # type: ignore[override]
            return {"preds": ["text"]}

    image = TensorSpec("images", (1, 3, 64, 64))
    message = "neuronkit.make_static.* makes a Texts static, .*; or, made with exportable=True, it gives tensors alone"
    with pytest.raises(SpecError, match=f"cannot be traced on images.* Instead: {message}"):
        analyze(Texts(width=0.02), image, target="inf2")
    with pytest.raises(SpecError, match=f"got an output of type str from the model; expected tensors.*; {message}"):
        compile_for_inferentia(Texts(width=0.02), image, target="cpu")


def test_sdk_list_comes_before_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    sdk = types.SimpleNamespace(get_supported_operations=lambda: ["aten::linear", "aten::embedding"])
    monkeypatch.setitem(sys.modules, "torch_neuron", sdk)
    report = analyze(Reader(), SPEC, target="inf1")
    assert report.basis == "torch_neuron.get_supported_operations()"
    assert set(report.unsupported) == {"aten::add", "aten::argmax", "aten::gt", "aten::relu"}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target": "inf1"}, SpecError, "got example_inputs=None"),
        ({"example_inputs": SPEC, "target": "inf9"}, UnknownTargetError, "target='inf9'; expected one of"),
        (
            {"example_inputs": TensorSpec("x", (2, 5)), "target": "inf1"},
            SpecError,
            r"cannot be traced on x: float32\[2, 5\]",
        ),
        ({"example_inputs": SPEC, "target": "inf1", "op_whitelist": ["embedding"]}, OptionError, "'embedding' is not"),
        ({"example_inputs": np.zeros((2, 4)), "target": "inf1"}, SpecError, r"example_inputs.*torch.from_numpy"),
        ({"example_inputs": 4, "target": "inf1"}, SpecError, "got example_inputs=4; expected tensors"),
        ({"example_inputs": SPEC, "target": "inf1", "op_whitelist": "aten::relu"}, OptionError, "expected a sequence"),
        (
            {"example_inputs": SPEC, "target": "inf1", "cpu_operators": None},
            OptionError,
            "cpu_operators=None; expected",
        ),
    ],
)
def test_bad_arguments_are_told(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        analyze(Reader(), **arguments)


def test_kinds_to_let_through_are_checked() -> None:
    report = analyze(nn.ReLU(), SPEC, target="inf1")
    with pytest.raises(OptionError, match="got op_whitelist='aten::relu'; expected a sequence"):
        check_operators(report, "aten::relu")


def test_only_modules_are_taken() -> None:
    with pytest.raises(UnknownModelError, match=r"built-in method relu.*; expected an nn\.Module"):
        analyze(torch.relu, SPEC, target="inf1")


def test_every_target_can_be_asked() -> None:
    for target in target_names():
        assert analyze(nn.ReLU(), SPEC, target=target).counts == {"aten::relu": 1}


def test_package_is_lazy() -> None:
    code = "import sys, neuronkit.analysis; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_operator_that_computes_nothing_still_has_its_line() -> None:
    class Drops(nn.Module):
        def forward(self, x):
            x = x + 1
            x = nn.functional.dropout(x, 0.5, self.training, inplace=True)  # dropped here
            return x * 2

    (problem,) = analyze(Drops(), SPEC, target="inf1").problems
    assert problem.kind == "aten::dropout_"
    assert problem.location == f"{__file__}:{line_of('# dropped here')}"
    assert "aten::dropout" in problem.reason


def test_a_long_list_of_places_is_cut_in_the_error_and_whole_in_the_report() -> None:
    model = nn.Sequential(*(nn.Hardswish(inplace=True) for _ in range(30)))
    report = analyze(model, SPEC, target="inf1")
    assert len(report.problems) == 30
    with pytest.raises(UnsupportedOperatorError, match=r"in 30 place\(s\)(.|\n)*and 10 more places") as caught:
        check_operators(report)
    assert str(caught.value).count("aten::hardswish_ ×") == 20
