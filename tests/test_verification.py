"""What verification finds: on several inputs, in every float type, with quantised modules."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuronkit import PARSeqOptions, StaticCRAFT, StaticModel, TensorSpec, assert_parity, compile_for_inferentia
from neuronkit import make_static as rewrite
from neuronkit.errors import OptionError, ParityError, SpecError
from neuronkit.models import CRAFT, PARSeq
from neuronkit.static.original import quantised_modules

SIZES: dict[str, Any] = {"embed_dim": 32, "enc_depth": 1, "enc_num_heads": 2, "dec_num_heads": 2, "patch_size": (8, 16)}
X = torch.ones(2, 3)


def parseq() -> PARSeq:
    torch.manual_seed(0)
    return PARSeq(36, max_label_length=4, **SIZES).eval()


class RightOnTheFirst(StaticModel):
    """A rewrite that is right on one input only."""

    family = "partly right"

    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        return {"main": nn.Sequential(source, nn.Hardtanh(self.low, self.high))}

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        return {"main": self.specs}

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Any:
        return source(*inputs)


def test_a_rewrite_that_is_right_on_the_first_input_alone_is_found() -> None:
    static = RightOnTheFirst(nn.Sequential(nn.Identity()), [TensorSpec("x", (1, 1))])
    first, *others = (float(static.specs[0].example(seed)) for seed in range(3))
    assert min(others) < first
    static.low, static.high = first, 10.0
    with pytest.raises(ParityError, match=r"3 inputs, .* DISAGREE") as caught:
        compile_for_inferentia(static, target="cpu")
    assert caught.value.report.outputs[0].worst_input > 0


def test_inputs_that_the_caller_gave_are_compared_once() -> None:
    compiled = compile_for_inferentia(nn.Linear(3, 2), X, target="cpu")
    assert compiled.manifest["parity"]["compiled"]["num_inputs"] == 1


@pytest.mark.torch2
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("method", ["fixed_point", "stepwise"])
def test_recognizers_in_narrow_types_compile(dtype: torch.dtype, method: str) -> None:
    static = rewrite(parseq().to(dtype), batch_size=2, options=PARSeqOptions(method=method))
    compiled = compile_for_inferentia(static, target="cpu")
    assert compiled.manifest["outputs"][0]["dtype"] == str(dtype).removeprefix("torch.")
    assert compiled.manifest["parity"]["compiled"]["passed"]


@pytest.mark.torch2
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_detectors_in_narrow_types_compile(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    static = StaticCRAFT(CRAFT(width=0.1).to(dtype), height=32, width=64)
    assert compile_for_inferentia(static, target="cpu").manifest["parity"]["compiled"]["passed"]


@pytest.mark.torch2
def test_a_wrong_rewrite_in_a_narrow_type_is_compared_as_float32() -> None:
    static = RightOnTheFirst(nn.Sequential(nn.Identity()), [TensorSpec("x", (1, 8), "bfloat16")])
    static.original.register_parameter("weight", nn.Parameter(torch.ones(1, dtype=torch.bfloat16)))
    static.low, static.high = -10.0, float(max(static.specs[0].example(seed).max() for seed in range(3))) - 0.02
    with pytest.raises(ParityError, match=r"rtol 0\.0001"):
        compile_for_inferentia(static, target="cpu")


@pytest.mark.torch2
def test_quantised_modules_are_named() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(parseq(), {nn.Linear})
        named = quantised_modules(quantised)
        assert any(name.startswith("encoder.blocks.0.attn.qkv (") for name in named)
        assert quantised_modules(parseq()) == []
        with pytest.raises(SpecError, match=r"quantised modules \(encoder\..* more\), .*before it was quantised"):
            rewrite(quantised, batch_size=2)


def test_parity_refuses_what_compares_nothing() -> None:
    for tolerance in (float("inf"), float("nan"), -1.0, "1", None, True):
        for name in ("rtol", "atol"):
            with pytest.raises(OptionError, match=f"got {name}="):
                assert_parity(lambda x: x, lambda x: x + 100, [(X,)], **{name: tolerance})  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="got no inputs"):
        assert_parity(lambda x: x, lambda x: x, [])
    with pytest.raises(SpecError, match=r"output of shape \(0, 3\); expected one with entries"):
        assert_parity(lambda x: x[:0], lambda x: x[:0], [(X,)])
    with pytest.raises(SpecError):
        assert_parity(lambda x: (), lambda x: (), [(X,)])
    with pytest.raises(SpecError, match="outputs for different inputs"):
        assert_parity(lambda x: [x] * len(x), lambda x: [x] * len(x), [(X,), (X[:1],)])


def test_imaginary_parts_count() -> None:
    with pytest.raises(ParityError):
        assert_parity(lambda x: torch.complex(x, x), lambda x: torch.complex(x, x + 1), [(X,)])


def test_a_ratio_of_signal_to_noise_lets_single_errors_pass_and_no_infinite_ones() -> None:
    noise = torch.zeros(2, 3)
    noise[0, 0] = 0.1
    report = assert_parity(lambda x: x + noise, lambda x: x, [(X,)], min_sqnr_db=20)
    assert report.passed
    assert report.outputs[0].sqnr_db == pytest.approx(27.8, abs=0.1)
    for bad in (0.5, float("nan")):
        noise[0, 0] = bad
        with pytest.raises(ParityError):
            assert_parity(lambda x: x + noise, lambda x: x, [(X,)], min_sqnr_db=20)


@pytest.mark.parametrize("verify", [None, 1, "yes", 0.5])
def test_verify_is_true_or_false(verify: Any) -> None:
    with pytest.raises(OptionError, match=r"got verify=.*expected True or False"):
        compile_for_inferentia(nn.Linear(3, 2), X, target="cpu", verify=verify)


def test_a_large_canvas_is_compared_once_and_a_small_one_often(capfd: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    static = StaticCRAFT(CRAFT(width=0.02), height=544, width=512)
    compiled = compile_for_inferentia(static, target="cpu", progress=True)
    sizes = "valid_size: int32[1, 2]"
    assert {stage: found["compared"] for stage, found in compiled.manifest["parity"].items()} == {
        "static": [f"3 × images: float32[1, 3, 288, 256], {sizes}"],
        "compiled": [f"1 × images: float32[1, 3, 544, 512], {sizes}"],
    }
    told = capfd.readouterr().err
    assert "comparing the static model with the original, 50 %" in told
    assert "comparing the compiled model with the original, 100 %" in told


def test_what_is_wrong_on_a_large_canvas_alone_is_found() -> None:
    class WrongWhereLarge(StaticCRAFT):
        def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
            return {name: Shifted(module) for name, module in super().modules_by_name(source).items()}

    static = WrongWhereLarge(CRAFT(width=0.02), height=544, width=512)
    with pytest.raises(ParityError, match="1 input"):
        compile_for_inferentia(static, target="cpu")


class Shifted(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor, valid_size: Tensor) -> Any:
        scores, features = self.module(images, valid_size)
        return scores + 0.01 * (images.shape[2] > 288), features
