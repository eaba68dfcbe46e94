import pytest
import torch
from torch import nn
from torch.nn import functional as F

from neuronkit.analysis import analyze
from neuronkit.analysis.operators.hlo import parse, rejected
from neuronkit.specs import TensorSpec

MODULE = """HloModule IrToHlo.30, entry_computation_layout={(f32[2,4]{1,0})->(f32[2]{0})}

%sum.1 (a.2: f32[], b.3: f32[]) -> f32[] {
  %a.2 = f32[] parameter(0)
  %b.3 = f32[] parameter(1)
  ROOT %add.4 = f32[] add(f32[] %a.2, f32[] %b.3)
}

%unused.5 (a.6: f32[]) -> f32[] {
  %a.6 = f32[] parameter(0)
  ROOT %negate.7 = f32[] negate(f32[] %a.6)
}

ENTRY %IrToHlo.30 (p0.10: f32[2,4]) -> (f32[2]) {
  %p0.10 = f32[2,4]{1,0} parameter(0)
  %constant.11 = f32[] constant(0)
  %sort.12 = (f32[2,4]{1,0}, s32[2,4]{1,0}) sort(f32[2,4]{1,0} %p0.10), dimensions={1}
  %scatter.13 = f32[2,4]{1,0} scatter(f32[2,4]{1,0} %p0.10, f32[2,4]{1,0} %p0.10), to_apply=%unused.5
  %custom-call.14 = f32[2,4]{1,0} custom-call(f32[2,4]{1,0} %p0.10), custom_call_target="ResizeBilinear"
  %custom-call.15 = f32[2,4]{1,0} custom-call(f32[2,4]{1,0} %custom-call.14), custom_call_target="Homemade"
  %reduce.16 = f32[2]{0} reduce(f32[2,4]{1,0} %custom-call.15, f32[] %constant.11), dimensions={1}, to_apply=%sum.1
  ROOT %tuple.17 = (f32[2]{0}) tuple(f32[2]{0} %reduce.16)
}
"""


def test_only_what_the_result_depends_on_is_counted() -> None:
    hlo = parse(MODULE)
    assert hlo.counts == {"custom-call": 2, "reduce": 1, "add": 1}
    assert hlo.custom_calls == {"ResizeBilinear": 1, "Homemade": 1}
    assert hlo.dtypes == {"f32"}


def test_unknown_custom_calls_are_rejected() -> None:
    assert list(rejected(parse(MODULE))) == [("custom-call Homemade", "neuronx-cc does not recognise it (NCC_EHCA005)")]


@pytest.mark.parametrize(
    ("instruction", "code"),
    [
        ("s64[3,3]{1,0} dot(s64[3,1]{1,0} %p0.10, s64[1,3]{0,1} %p0.10), lhs_contracting_dims={1}", "NCC_EVRF035"),
        ("f32[3,3]{1,0} dot(f32[3,1]{1,0} %p0.10, f32[1,3]{0,1} %p0.10), lhs_contracting_dims={1}", None),
        ("f32[4]{0} convolution(f32[4]{0} %p0.10), window={size=3 lhs_dilate=2 rhs_dilate=2}", "NCC_EVRF010"),
        ("f32[4]{0} convolution(f32[4]{0} %p0.10), window={size=3 stride=2 lhs_dilate=2}", "NCC_EVRF011"),
        ("f32[4]{0} convolution(f32[4]{0} %p0.10), window={size=3 rhs_dilate=6}", None),
        ("f32[4]{0} reduce-window(f32[4]{0} %p0.10), window={size=2 rhs_dilate=2}", "NCC_EVRF018"),
        ("f32[<=4]{0} slice(f32[4]{0} %p0.10)", "NCC_EMOD025"),
    ],
)
def test_documented_rejections_are_found(instruction, code) -> None:
    body = f"  %p0.10 = f32[4]{{0}} parameter(0)\n  ROOT %x.2 = {instruction}\n"
    found = list(rejected(parse(f"ENTRY %main.1 (p0.10: f32[4]) -> f32[4] {{\n{body}}}\n")))
    assert len(found) == (code is not None)
    assert all(f"({code})" in why for _, why in found)


class Calls(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


IMAGE = TensorSpec("x", (1, 1, 8, 8))


@pytest.mark.xla
def test_analysis_lowers_where_it_can_and_says_so() -> None:
    report = analyze(Calls(lambda x: F.max_pool2d(torch.relu(x), 2)), IMAGE, target="inf2")
    assert report.basis.startswith("lowering to HLO through torch-xla 2.9")
    assert report.instructions["reduce-window"] == 1
    # The indices that nobody asked for are not counted.
    assert "select-and-scatter" not in report.instructions
    assert report.problems == ()


@pytest.mark.xla
@pytest.mark.parametrize(
    ("function", "kind", "reason"),
    [
        (lambda x: F.grid_sample(x, torch.zeros(1, 2, 2, 2), align_corners=False), "grid_sampler", "grid_sampler_2d"),
        (lambda x: F.unfold(x, 2), "im2col", "im2col"),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), "upsample_bicubic2d", "upsample_bicubic2d"),
        (lambda x: F.max_pool2d(x, 2, dilation=2), "max_pool2d", "max_pool2d_with_indices"),
        (lambda x: x[x > 0].sum(), "index", "boolean mask"),
        (
            lambda x: F.conv_transpose2d(x, torch.ones(1, 1, 3, 3), stride=2, dilation=2),
            "_convolution",
            "NCC_EVRF010",
        ),
        (
            lambda x: (x.flatten(1).argmax(-1, keepdim=True) @ torch.ones(1, 1, dtype=torch.int64)).int(),
            "matmul",
            "NCC_EVRF035",
        ),
    ],
)
def test_what_does_not_lower_is_named_with_kind_and_line(function, kind, reason) -> None:
    report = analyze(Calls(function), IMAGE, target="inf2")
    (problem,) = report.problems
    assert problem.kind == f"aten::{kind}"
    assert reason in problem.reason
    assert problem.location.startswith(f"{__file__}:")


@pytest.mark.xla
def test_scatter_and_float64_are_noted() -> None:
    report = analyze(Calls(lambda x: F.one_hot(x.flatten(1).argmax(-1), 70).int()), IMAGE, target="inf2")
    assert any("scatter" in note for note in report.notes)
    report = analyze(Calls(lambda x: (x.double() + 1).float()), IMAGE, target="inf2")
    assert any("float64" in note for note in report.notes)


@pytest.mark.xla
def test_table_and_lowering_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    functions = [
        lambda x: F.gelu(F.layer_norm(x, (8,))),
        lambda x: F.scaled_dot_product_attention(x, x, x),
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        lambda x: F.adaptive_avg_pool2d(x, 4),
        lambda x: F.hardtanh(F.leaky_relu(F.silu(F.hardswish(x)))),
        lambda x: torch.einsum("bchw,bcwk->bchk", x, x).cumsum(-1).flip(-1).roll(1, -1),
        lambda x: torch.topk(x, 2)[0] + torch.sort(x)[0][..., :2],
        lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
        lambda x: F.pixel_unshuffle(x, 2),
        lambda x: F.grid_sample(x, torch.zeros(1, 2, 2, 2), align_corners=False),
        lambda x: F.unfold(x, 2),
        lambda x: torch.fft.rfft(x).abs(),
        lambda x: F.instance_norm(F.group_norm(x, 1)),
        lambda x: torch.linalg.vector_norm(x, dim=-1),
    ]
    lowered = [analyze(Calls(f), IMAGE, target="inf2").unsupported for f in functions]
    monkeypatch.setattr("neuronkit.analysis.operators.xla_rules._xla_versions", lambda: None)
    by_table = [analyze(Calls(f), IMAGE, target="inf2") for f in functions]
    assert by_table[0].basis.startswith("the table")
    assert [report.unsupported for report in by_table] == lowered


def test_without_torch_xla_the_table_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuronkit.analysis.operators.xla_rules._xla_versions", lambda: None)
    report = analyze(
        Calls(lambda x: F.grid_sample(x, torch.zeros(1, 2, 2, 2), align_corners=False)), IMAGE, target="trn1"
    )
    assert report.basis == "the table of what torch-xla lowers (torch-xla is not installed)"
    assert report.unsupported == {"aten::grid_sampler": 1}
    assert report.instructions == {}
