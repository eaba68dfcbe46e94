"""compile_for_inferentia checks everything it can before a compiler starts."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neuronkit
from neuronkit import CompileOptions, TensorSpec, compile_for_inferentia, make_static
from neuronkit.errors import (
    CompileError,
    MissingSDKError,
    OptionError,
    ParityError,
    SpecError,
    UnknownModelError,
    UnknownTargetError,
    UnsupportedOperatorError,
)
from neuronkit.models import PARSeq
from neuronkit.ocr import CraftProcessor
from neuronkit.static.model import StaticModel

X = TensorSpec("x", (1, 4))
LINEAR = nn.Linear(4, 2)


def test_tensors_and_specs_both_serve_as_examples() -> None:
    x = torch.randn(1, 4)
    for example in (x, [x], X, (X,)):
        compiled = compile_for_inferentia(LINEAR, example, target="cpu")
        assert torch.allclose(compiled(x), LINEAR(x))


def test_the_callers_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4)).train()
    model[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    compile_for_inferentia(model, torch.randn(3, 4), target="cpu")
    assert (model.training, model[1].training, model[2].training) == (True, True, False)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": lambda x: x}, UnknownModelError, "got model=.*; expected an nn.Module"),
        ({"target": "gpu"}, UnknownTargetError, "got target='gpu'; expected one of 'cpu'"),
        (
            {"op_whitelist": "aten::add"},
            OptionError,
            r"expected a sequence of operator kinds; give one such as \('aten::add',\)",
        ),
        ({"op_whitelist": ["add"]}, OptionError, "op_whitelist: 'add' is not an operator kind"),
        ({"op_whitelist": None}, OptionError, "op_whitelist=None; expected a sequence of operator kinds"),
        ({"op_whitelist": [3]}, OptionError, r"op_whitelist=\[3\]; expected a sequence of operator kinds"),
        ({"target": ["cpu"]}, UnknownTargetError, r"got target=\['cpu'\]; expected one of"),
        (
            {"processor": CraftProcessor},
            OptionError,
            "got processor=the class CraftProcessor; expected .* make an instance",
        ),
        ({"example_inputs": 3}, SpecError, "got example_inputs=3; expected tensors"),
        ({"example_inputs": []}, SpecError, r"Linear fails on no inputs: TypeError: .*'input'.*Give inputs"),
        (
            {"example_inputs": TensorSpec("x", (1, 5))},
            SpecError,
            r"(?s)Linear fails on x: float32\[1, 5\]: .*1x5 and 4x2",
        ),
        ({"options": {"optlevel": 1}}, OptionError, "expected CompileOptions"),
        (
            {"processor": 3},
            OptionError,
            "got processor=3; expected a CraftProcessor, ParseqProcessor, CtcProcessor or DoctrProcessor",
        ),
        ({"options": CompileOptions(optlevel=1)}, OptionError, "got optlevel=1, which target 'cpu' cannot honour"),
        ({"example_inputs": None}, SpecError, "got example_inputs=None.*make_static"),
        ({"example_inputs": [1]}, SpecError, r"got example_inputs=\[1\], a shape; expected tensors"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    given = {"model": LINEAR, "example_inputs": X, "target": "cpu", **arguments}
    model, example = given.pop("model"), given.pop("example_inputs")
    with pytest.raises(error, match=message):
        compile_for_inferentia(model, example, **given)  # type: ignore[arg-type]


class Returns(nn.Module):
    def __init__(self, outputs: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, x: Tensor) -> Any:
        return self.outputs(x)


def test_outputs_may_be_nested() -> None:
    compiled = compile_for_inferentia(Returns(lambda x: (x, (x + 1, x.sum()))), X, target="cpu")
    assert [output["shape"] for output in compiled.manifest["outputs"]] == [[1, 4], [1, 4], []]


def test_what_is_no_tensor_cannot_be_returned() -> None:
    with pytest.raises(CompileError, match=r"torch\.jit cannot trace Returns"):
        compile_for_inferentia(Returns(lambda x: {"a": [x]}), X, target="cpu")
    for verify in (True, False):
        with pytest.raises(SpecError, match="got an output of type int from the model"):
            compile_for_inferentia(Returns(lambda x: 3), X, target="cpu", verify=verify)


def test_operator_kinds_may_come_one_by_one() -> None:
    compiled = compile_for_inferentia(LINEAR, X, target="cpu", op_whitelist=(kind for kind in ["aten::linear"]))  # type: ignore[arg-type]
    assert compiled.manifest["op_whitelist"] == ["aten::linear"]


def test_a_static_model_knows_its_inputs() -> None:
    static = make_static(PARSeq(36, embed_dim=32, enc_depth=1, enc_num_heads=2, dec_num_heads=2, patch_size=(8, 16)))
    with pytest.raises(SpecError, match=r"StaticPARSeq has its inputs \(images: float32\[1, 3, 32, 128\]\)"):
        compile_for_inferentia(static, X, target="cpu")


@pytest.mark.parametrize("target", ["inf1", "inf2", "trn1", "trn2"])
def test_a_missing_sdk_comes_with_its_install_command(target: str) -> None:
    with pytest.raises(MissingSDKError, match="pip install"):
        compile_for_inferentia(LINEAR, X, target=target)


def test_a_branch_on_values_is_refused_with_its_line() -> None:
    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum().item() > 0 else -x

    with pytest.raises(UnsupportedOperatorError, match=r"Tensor.item in the top module, .*test_compile.py:\d+"):
        compile_for_inferentia(Branch(), X, target="cpu")


class Wrong(StaticModel):
    """A rewrite that is off by a little."""

    family = "wrong"

    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        return {"main": nn.Sequential(source, nn.Hardtanh(-0.3, 0.3))}

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        return {"main": self.specs}

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Tensor:
        return source(*inputs)  # type: ignore[no-any-return]


def test_a_wrong_rewrite_never_reaches_the_compiler() -> None:
    torch.manual_seed(0)
    with pytest.raises(ParityError, match="out of tolerance"):
        compile_for_inferentia(Wrong(nn.Linear(4, 8), [X]), target="cpu")


def test_parity_can_be_left_out() -> None:
    torch.manual_seed(0)
    compiled = compile_for_inferentia(Wrong(nn.Linear(4, 8), [X]), target="cpu", verify=False)
    assert compiled.manifest["parity"] == {}


def test_several_outputs_and_several_graphs() -> None:
    model = PARSeq(36, embed_dim=32, enc_depth=1, enc_num_heads=2, dec_num_heads=2, patch_size=(8, 16))
    compiled = compile_for_inferentia(make_static(model, batch_size=2), target="cpu")
    assert set(compiled.manifest["graphs"]) == {"encode", "decode"}
    assert compiled.manifest["outputs"] == [{"name": "logits", "shape": [2, 26, 37], "dtype": "float32", "valid": None}]


def test_progress_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    compile_for_inferentia(LINEAR, X, target="cpu", progress=True)
    assert "comparing the compiled model" in capsys.readouterr().err
    compile_for_inferentia(LINEAR, X, target="cpu")
    assert capsys.readouterr().err == ""


def test_no_warning_escapes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="`torch.jit", category=DeprecationWarning)
        compile_for_inferentia(LINEAR, X, target="cpu")


def test_is_importable_from_the_top() -> None:
    assert neuronkit.compile_for_inferentia is compile_for_inferentia
