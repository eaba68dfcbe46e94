"""estimate: FLOPs and bytes by formula, rooflines by hand."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from neuronkit import (
    PARSeqOptions,
    StaticCRAFT,
    StaticPARSeq,
    TensorSpec,
    estimate,
    make_static,
    static_greedy_decoder,
    tables,
)
from neuronkit.analysis import CostReport
from neuronkit.demo.weights import load_craft, load_parseq
from neuronkit.errors import OptionError, SpecError, UnknownModelError, UnknownTargetError, UnsupportedOperatorError
from neuronkit.models import CRAFT, PARSeq
from neuronkit.targets import find_target, target_names
from tests.static.cached import WIDTH, Cached


def torch_flops(model, *inputs):
    """What torch counts, where it counts."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # With gradients and the plain attention: torch does not count what the fused kernels of the CPU multiply.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(*inputs)
    return counter.get_total_flops()


# Rooflines by hand


def layer():
    """A layer of 1024 by 512, without bias."""
    return nn.Linear(1024, 512, bias=False)


FLOPS = 2 * 64 * 1024 * 512
WEIGHTS = 4 * 1024 * 512
INPUT_OUTPUT = 4 * 64 * (1024 + 512)


def test_counts_by_hand() -> None:
    report = estimate(layer(), TensorSpec("x", (64, 1024)), target="inf2")
    assert isinstance(report, CostReport)
    assert report.flops == FLOPS == 67_108_864
    assert report.weight_bytes == WEIGHTS == 2_097_152
    assert report.io_bytes == report.activation_bytes == INPUT_OUTPUT == 393_216
    assert report.batch_size == 64
    assert report.operators["aten::mm"].calls == 1
    assert report.operators["aten::mm"].flops == FLOPS


def test_roofline_of_inf2_by_hand() -> None:
    # Inferentia2: 47.5 TFLOPS in float32, 820 GiB/s, two cores.
    report = estimate(layer(), TensorSpec("x", (64, 1024)), target="inf2")
    compute = FLOPS / 23.75e12
    memory = (WEIGHTS + INPUT_OUTPUT) / (410 * 1024**3)
    assert memory > compute
    assert report.compute_ms == pytest.approx(1e3 * compute) == pytest.approx(0.0028256, rel=1e-4)
    assert report.memory_ms == pytest.approx(1e3 * memory) == pytest.approx(0.0056569, rel=1e-4)
    assert report.roofline_ms_lower_bound == report.memory_ms
    assert report.inferences_per_second_upper_bound == pytest.approx(64 / memory)
    # inf2.xlarge: two cores at 0.7582 dollars an hour, of which each does 3600 * 64 / memory inferences.
    cost = report.instances["inf2.xlarge"]
    assert cost.usd_per_million_lower_bound == pytest.approx(0.7582 / (2 * 3600 * 64 / memory) * 1e6)
    assert cost.reserved_usd_per_million_lower_bound == pytest.approx(0.328 / (2 * 3600 * 64 / memory) * 1e6)
    assert not cost.instance.official


def test_roofline_with_auto_cast_by_hand() -> None:
    # 190 TFLOPS in bf16; weights can be kept in half the bytes, inputs and outputs stay float32.
    report = estimate(layer(), TensorSpec("x", (64, 1024)), target="inf2", auto_cast="matmult")
    assert report.compute_ms == pytest.approx(1e3 * FLOPS / 95e12)
    assert report.memory_ms == pytest.approx(1e3 * (WEIGHTS / 2 + INPUT_OUTPUT) / (410 * 2**30))
    assert report.weight_bytes == WEIGHTS


def test_roofline_of_inf1_by_hand() -> None:
    # Inferentia: 64 TFLOPS in bf16, in which it multiplies in any case, 50 GiB/s, four cores.
    convolution = nn.Conv2d(64, 64, 3, padding=1, bias=False)
    report = estimate(convolution, TensorSpec("x", (1, 64, 256, 256)), target="inf1")
    flops = 2 * 256 * 256 * 64 * 64 * 9
    moved = 2 * 64 * 64 * 9 + 4 * 2 * 64 * 256 * 256
    assert report.flops == flops
    assert report.compute_ms == pytest.approx(1e3 * flops / 16e12)
    assert report.memory_ms == pytest.approx(1e3 * moved / (12.5 * 2**30))
    assert report.roofline_ms_lower_bound == max(report.compute_ms, report.memory_ms)
    seconds = report.roofline_ms_lower_bound / 1e3
    assert report.instances["inf1.6xlarge"].usd_per_million_lower_bound == pytest.approx(
        1.18 / 3600 / 16 * seconds * 1e6
    )
    assert report.instances["inf1.6xlarge"].instance.official


@pytest.mark.parametrize(
    ("target", "core_tflops", "core_bandwidth"),
    [
        ("trn1", 47.5 / 2, 410 * 2**30),
        # Logical cores, of two physical ones.
        ("trn2", 181 / 4, 2.9e12 / 4),
        ("trn2-native", 181 / 4, 2.9e12 / 4),
        ("trn3", 183 / 4, 4.9e12 / 4),
    ],
)
def test_other_chips_by_hand(target, core_tflops, core_bandwidth) -> None:
    report = estimate(layer(), TensorSpec("x", (64, 1024)), target=target)
    assert report.compute_ms == pytest.approx(FLOPS / core_tflops / 1e9)
    assert report.memory_ms == pytest.approx(1e3 * (WEIGHTS + INPUT_OUTPUT) / core_bandwidth)


def test_each_graph_has_its_own_bound() -> None:
    report = estimate(StaticPARSeq(load_parseq(), batch_size=8, method="fixed_point"), target="inf2", passes=5)
    assert report.executions == {"encode": 1, "decode": 5}
    encode, decode = report.graphs["encode"], report.graphs["decode"]
    assert report.flops == encode.count.flops + 5 * decode.count.flops
    for graph in (encode, decode):
        moved = graph.count.weight_bytes + graph.count.io_bytes
        assert graph.compute_ms == pytest.approx(1e3 * graph.count.flops / 23.75e12)
        assert graph.memory_ms == pytest.approx(1e3 * moved / (410 * 2**30))
    longest = max(encode.compute_ms, encode.memory_ms) + 5 * max(decode.compute_ms, decode.memory_ms)
    assert report.roofline_ms_lower_bound == pytest.approx(longest)
    assert report.weight_bytes == encode.count.weight_bytes + decode.count.weight_bytes


def test_narrow_models_count_in_their_own_type() -> None:
    report = estimate(layer().bfloat16(), TensorSpec("x", (64, 1024), "bfloat16"), target="inf2")
    assert report.weight_bytes == WEIGHTS // 2
    assert report.compute_ms == pytest.approx(1e3 * FLOPS / 95e12)


# FLOPs


@pytest.mark.torch2
@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (lambda: CRAFT(width=0.25), torch.zeros(2, 3, 96, 128)),
        (lambda: PARSeq(36), torch.zeros(2, 3, 32, 128)),
        (lambda: PARSeq(36, decode_ar=False, refine_iters=2), torch.zeros(1, 3, 32, 128)),
        (lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), torch.zeros(2, 7, 16)),
        (lambda: nn.GRU(8, 6, num_layers=2, bidirectional=True), torch.zeros(5, 2, 8)),
    ],
    ids=["CRAFT", "PARSeq", "PARSeq without context", "transformer", "GRU"],
)
def test_flops_are_those_that_torch_counts(model, inputs) -> None:
    torch.manual_seed(0)
    network = model().eval()
    report = estimate(network, inputs, target="inf2")
    assert report.flops == pytest.approx(torch_flops(network, inputs), rel=0.01)


def test_flops_are_the_same_on_every_torch() -> None:
    assert estimate(CRAFT(), torch.zeros(1, 3, 64, 64), target="inf1").flops == 2_914_058_240
    torch.manual_seed(0)
    assert estimate(PARSeq(94, decode_ar=False), torch.zeros(1, 3, 32, 128), target="inf1").flops == 6_113_286_144


@pytest.mark.torch2
@pytest.mark.parametrize("method", ["fixed_point", "stepwise", "unrolled"])
def test_flops_of_static_parseq_are_those_that_torch_counts(method) -> None:
    static = StaticPARSeq(load_parseq(), batch_size=2, method=method)
    folded = static.assemble({name: graph for name, (graph, _) in static.graphs().items()})
    report = estimate(static, target="inf2")
    assert report.flops == torch_flops(folded, *static.example_inputs())


def test_craft_in_parts() -> None:
    model = load_craft()
    plain = estimate(model, TensorSpec("images", (1, 3, 96, 128)), target="inf2")
    static = estimate(StaticCRAFT(model, height=96, width=128), target="inf2")
    # The static one resizes by matrix products, and convolves the same.
    assert static.operators["aten::convolution"].flops == plain.flops
    assert plain.flops < static.flops < 1.2 * plain.flops
    assert sum(count.flops for count in static.operators.values()) == static.flops


@settings(max_examples=40, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 4]),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padding=st.integers(0, 2),
    transposed=st.booleans(),
    batch=st.integers(1, 3),
)
def test_convolutions_by_formula(groups, kernel, stride, dilation, padding, transposed, batch) -> None:
    layer = nn.ConvTranspose2d if transposed else nn.Conv2d
    convolution = layer(4, 8, kernel, stride=stride, dilation=dilation, padding=padding, groups=groups)
    inputs = torch.zeros(batch, 4, 9, 11)
    outputs = convolution(inputs)
    taps = kernel[0] * kernel[1]
    # Every output takes all inputs of its group under the kernel; transposed, every input goes to all outputs of it.
    expected = 2 * inputs.numel() * taps * 8 // groups if transposed else 2 * outputs.numel() * taps * 4 // groups
    report = estimate(convolution, inputs, target="inf1")
    assert report.flops == expected
    assert report.weight_bytes == 4 * (convolution.weight.numel() + 8)
    assert report.io_bytes == 4 * (inputs.numel() + outputs.numel())


@settings(max_examples=20, deadline=None)
@given(batch=st.integers(2, 5), sizes=st.tuples(*[st.integers(1, 20)] * 3))
def test_flops_and_activations_scale_with_the_batch(batch, sizes) -> None:
    first, hidden, last = sizes
    model = nn.Sequential(nn.Linear(first, hidden), nn.ReLU(), nn.Linear(hidden, last))
    one, many = (estimate(model, TensorSpec("x", (rows, first)), target="inf2") for rows in (1, batch))
    assert many.flops == batch * one.flops == batch * 2 * (first * hidden + hidden * last)
    assert many.activation_bytes == batch * one.activation_bytes
    assert many.io_bytes == batch * one.io_bytes
    assert many.weight_bytes == one.weight_bytes
    assert many.roofline_ms_lower_bound <= batch * one.roofline_ms_lower_bound


@settings(max_examples=20, deadline=None)
@given(shape=st.lists(st.integers(1, 4), max_size=2), sizes=st.tuples(*[st.integers(1, 9)] * 3))
def test_matrix_products_by_formula(shape, sizes) -> None:
    rows, inner, columns = sizes

    class Product(nn.Module):
        def forward(self, a, b):
            return a @ b

    report = estimate(
        Product(), [TensorSpec("a", (*shape, rows, inner)), TensorSpec("b", (*shape, inner, columns))], target="inf2"
    )
    assert report.flops == 2 * math.prod(shape) * rows * inner * columns
    assert report.weight_bytes == 0


# Weights


def test_weights_that_are_not_read_do_not_count() -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(30, 10))
            self.unused = nn.Linear(100, 100)

        def forward(self, x):
            return F.linear(x, self.weight[:10]) + F.linear(x, self.weight[:10])

    assert estimate(Partly(), torch.zeros(1, 10), target="inf2").weight_bytes == 4 * 10 * 10


def test_shared_weights_count_once() -> None:
    linear = nn.Linear(10, 10)
    model = nn.Sequential(linear, nn.ReLU(), linear)
    assert estimate(model, torch.zeros(1, 10), target="inf2").weight_bytes == 4 * 110


def test_looking_at_memory_differently_moves_nothing() -> None:
    class Reshaped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4, 25))

        def forward(self, x):
            # No view by its schema, and none the less one.
            return torch.ops.aten._unsafe_view(x, [2, 10]) @ torch.ops.aten._unsafe_view(self.weight, [10, 10]).t()

    report = estimate(Reshaped(), torch.zeros(20), target="inf2")
    assert report.weight_bytes == 4 * 100
    assert report.activation_bytes == 4 * (20 + 20)
    assert set(report.operators) == {"aten::mm"}


def test_writing_in_place_moves_what_is_written() -> None:
    class InPlace(nn.Module):
        def forward(self, x):
            return (x + 1).relu_()

    report = estimate(InPlace(), torch.zeros(10), target="inf2")
    # Each reads ten numbers and writes ten.
    assert {kind: count.activation_bytes for kind, count in report.operators.items()} == {
        "aten::add": 80,
        "aten::relu_": 80,
    }


def test_folded_constants_count_as_weights() -> None:
    traced = torch.jit.freeze(torch.jit.trace(nn.Linear(10, 10).eval(), torch.zeros(1, 10)))
    assert estimate(traced, torch.zeros(1, 10), target="inf2").weight_bytes == 4 * 110


# Passes


@pytest.mark.parametrize(
    ("method", "executions"),
    [
        # The guess, a pass for each of 7 positions, and one refinement.
        ("fixed_point", {"encode": 1, "decode": 9}),
        ("stepwise", {"encode": 1, "step": 7, "decode": 1}),
        ("unrolled", {"read": 1}),
    ],
)
@pytest.mark.parametrize("outputs", ["logits", "tokens"])
def test_the_worst_case_runs_every_loop_to_its_end(method, executions, outputs) -> None:
    static = make_static(load_parseq(), options=PARSeqOptions(max_length=6, method=method, outputs=outputs))
    report = estimate(static, target="inf2", passes="worst")
    assert report.executions == executions
    assert report.case == "worst case"
    assert estimate(static, target="inf2").flops <= report.flops


# There are ten classes beside the end.
@pytest.mark.parametrize(("outputs", "steps"), [("logits", 10), ("tokens", 80)])
def test_in_the_worst_case_no_draft_of_a_window_is_right(outputs, steps) -> None:
    static = static_greedy_decoder(
        Cached(0), max_length=steps - 1, bos_id=1, eos_id=0, memory=TensorSpec("memory", (2, WIDTH)),
        method="windowed", window=8, outputs=outputs,
    )  # fmt: skip
    assert sum(estimate(static, target="inf2", passes="worst").executions.values()) == 1 + steps


def test_passes_are_those_of_the_example_inputs_by_default() -> None:
    static = StaticPARSeq(load_parseq(), batch_size=4, method="fixed_point")
    report = estimate(static, target="inf2")
    assert report.executions["decode"] == static.passes(*static.example_inputs())
    assert "example inputs" in report.case
    assert "example inputs" in str(report)


def test_passes_can_be_given() -> None:
    static = StaticPARSeq(load_parseq(), method="fixed_point")
    assert estimate(static, target="inf2", passes=3).executions == {"encode": 1, "decode": 3}
    assert estimate(static, target="inf2", passes={"encode": 2}).executions["encode"] == 2
    assert estimate(static, target="inf2", passes=3.5).executions == {"encode": 1, "decode": 3.5}
    for passes in (-1, 0, float("nan"), "typical", {"step": 3}, True, {"encode": 0, "decode": 0}):
        with pytest.raises(OptionError, match="passes="):
            estimate(static, target="inf2", passes=passes)


@pytest.mark.parametrize(
    "settings", [{"method": "unrolled"}, {"decoding": "nar", "refine_iters": 0}], ids=["unrolled", "without context"]
)
def test_a_number_of_passes_is_refused_where_no_graph_is_repeated(settings) -> None:
    static = StaticPARSeq(load_parseq(), max_length=6, **settings)
    with pytest.raises(OptionError, match=r"passes=3: the model runs every graph once"):
        estimate(static, target="inf2", passes=3)
    assert estimate(static, target="inf2", passes=1).flops == estimate(static, target="inf2").flops


def test_a_fused_graph_that_runs_again_is_not_said_to_run_once() -> None:
    several, _once = (
        estimate(StaticPARSeq(load_parseq(), batch_size=n, method="fused"), target="inf2") for n in (32, 1)
    )
    calls = several.executions["fused"]
    assert calls > 1
    assert several.case == "as on the example inputs"
    assert f"in {calls:g} device calls" in str(several)
    assert estimate(StaticCRAFT(load_craft(), height=64, width=64), target="inf2").case == "one graph, run once"


def test_passes_of_a_fused_graph_are_decoder_passes() -> None:
    static = StaticPARSeq(load_parseq(), batch_size=4, method="fused")
    images = static.example_inputs()
    calls = static.passes(*images) / 7  # A guess, five passes and a refinement.
    assert estimate(static, target="inf2", passes=static.passes(*images)).executions == {"fused": calls}
    assert estimate(static, target="inf2", passes={"fused": 1.25}).device_calls == 1.25


def test_what_crosses_the_host_link_by_hand() -> None:
    static = StaticPARSeq(load_parseq(), batch_size=4, method="fixed_point")
    report = estimate(static, target="inf2", passes=3)
    memory, images, logits = 4 * 128 * 128 * 4, 4 * 3 * 32 * 128 * 4, 4 * 26 * 37 * 4
    # Tokens and the kind of the pass go with the memory, which comes out of the first graph and into each pass.
    assert report.graphs["encode"].count.input_bytes == images
    assert report.graphs["encode"].count.output_bytes == memory
    assert report.input_bytes == images + 3 * (memory + 4 * 26 * 4 + 4)
    assert report.output_bytes == memory + 3 * logits
    assert report.io_bytes == report.input_bytes + report.output_bytes
    assert report.device_calls == 4
    assert report.link_ms is None
    assert "in 4 device calls" in str(report)


def test_a_link_bounds_the_time_where_its_bandwidth_is_given() -> None:
    report = estimate(layer(), TensorSpec("x", (64, 1024)), target="inf2")
    slow = report.on("inf2", link_gb_s=0.5)
    # Both directions at once: the inputs are more than the outputs.
    assert slow.link_ms == pytest.approx(1e3 * 4 * 64 * 1024 / 0.5e9)
    assert slow.roofline_ms_lower_bound == slow.link_ms
    assert "for the host link" in str(slow)
    fast = estimate(layer(), TensorSpec("x", (64, 1024)), target="inf2", link_gb_s=1e4)
    assert fast.roofline_ms_lower_bound == report.roofline_ms_lower_bound
    for wrong in (0, -1.0, float("inf"), "8", True):
        with pytest.raises(OptionError, match="link_gb_s"):
            report.on("inf2", link_gb_s=wrong)  # type: ignore[arg-type]


def test_methods_differ_in_cost() -> None:
    whole, steps = (
        estimate(StaticPARSeq(load_parseq(), method=method), target="inf2", passes="worst")
        for method in ("fixed_point", "stepwise")
    )
    assert whole.flops > 3 * steps.flops - whole.graphs["encode"].count.flops


# The report


def test_every_part_is_named_a_bound() -> None:
    report = estimate(layer(), TensorSpec("x", (64, 1024)), target="inf2")
    text = str(report)
    assert "Lower bound, not a prediction" in text
    assert "inf2.xlarge" in text
    assert "0.7582 (unofficial)" in text
    assert "lower_bound" in json.dumps(report.to_dict())
    assert "<table>" in report._repr_html_()
    assert "inf2.48xlarge" in report._repr_html_()


@pytest.mark.parametrize("target", ["trn2", "trn3"])
def test_without_a_public_price_there_is_none(target) -> None:
    report = estimate(layer(), TensorSpec("x", (64, 1024)), target=target)
    assert report.instances
    assert all(cost.usd_per_million_lower_bound is None for cost in report.instances.values())
    assert "no public price" in str(report)


def test_another_target_needs_no_other_run() -> None:
    static = StaticCRAFT(load_craft(), height=64, width=64)
    here = estimate(static, target="inf2")
    there = here.on("inf1")
    assert there.to_dict() == estimate(static, target="inf1").to_dict()
    assert here.on("inf2", auto_cast="all").roofline_ms_lower_bound < here.roofline_ms_lower_bound
    with pytest.raises(OptionError):
        here.on("cpu")


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    estimate(model, torch.zeros(1, 3, 8, 8), target="inf2")
    assert model.training
    assert model[1].training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("target", ["cpu", "xla"])
def test_targets_without_figures_are_named(target) -> None:
    with pytest.raises(OptionError, match=f"{target}.*'inf1', 'inf2', 'trn1', 'trn2'"):
        estimate(layer(), torch.zeros(1, 1024), target=target)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "gpu"}, UnknownTargetError, "'inf1'"),
        ({"target": "inf2", "auto_cast": "some"}, OptionError, "'matmult'"),
        ({"target": "inf2", "auto_cast_type": "bf16"}, OptionError, "casts nothing"),
        ({"target": "inf2", "auto_cast": "all", "auto_cast_type": "int8"}, OptionError, "int8"),
        ({"target": "inf1", "auto_cast": "all", "auto_cast_type": "tf32"}, OptionError, r"tf32.*Inferentia.*bf16"),
        ({"target": "trn3", "auto_cast": "all", "auto_cast_type": "fp8_e4m3"}, OptionError, "no published figure"),
    ],
)
def test_bad_arguments_are_named(options, error, message) -> None:
    with pytest.raises(error, match=message):
        estimate(layer(), torch.zeros(1, 1024), **options)


def test_inputs_must_fit() -> None:
    with pytest.raises(SpecError, match="example_inputs"):
        estimate(layer(), target="inf2")
    with pytest.raises(SpecError, match=r"Linear fails on input_0: float32\[1, 7\]"):
        estimate(layer(), torch.zeros(1, 7), target="inf2")
    with pytest.raises(SpecError, match="has its inputs"):
        estimate(StaticPARSeq(load_parseq()), torch.zeros(1), target="inf2")
    with pytest.raises(UnknownModelError, match="expected an nn"):
        estimate("resnet", torch.zeros(1), target="inf2")
    with pytest.raises(SpecError, match="no rows"):
        estimate(layer(), torch.zeros(0, 1024), target="inf2")
    listed = [torch.zeros(1, 1024), 3]
    for wrong, message in ((3, "example_inputs=3"), (listed, r"example_inputs\[1\]=3"), ("x", "inputs='x'")):
        with pytest.raises(SpecError, match=message):
            estimate(layer(), wrong, target="inf2")


def test_inputs_may_be_an_iterator_or_without_data() -> None:
    for inputs in (iter([torch.zeros(64, 1024)]), torch.zeros(64, 1024, device="meta")):
        assert estimate(layer(), inputs, target="inf2").flops == FLOPS


def test_products_that_cannot_be_counted_are_refused() -> None:
    with pytest.raises(UnsupportedOperatorError, match="_trilinear"):
        estimate(nn.Bilinear(3, 3, 3), [torch.zeros(1, 3), torch.zeros(1, 3)], target="inf2")


# The table of figures


def test_every_chip_instance_and_price_is_complete() -> None:
    table = tables.hardware()
    assert {find_target(name).chip for name in target_names()} - {None} == set(table["chips"])
    for name, fields in table["instances"].items():
        chip = table["chips"][fields["chip"]]
        cores = fields.get("cores", fields.get("physical_cores"))
        assert cores == fields["chips"] * chip["cores"], name
        if "logical_cores_lnc2" in fields:
            assert fields["logical_cores_lnc2"] == fields["chips"] * chip["logical_cores"]
    for chip in table["chips"].values():
        assert chip["file"]
        assert ("mem_bw_gib_s" in chip) != ("mem_bw_tb_s" in chip)
    assert {"inf1 on-demand", "ri_effective", "inf2/trn1 on-demand"} == set(table["price_sources"])
