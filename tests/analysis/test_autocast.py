"""emulate_autocast: products equal their definition bit for bit, and none escapes."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from neuronkit import emulate_autocast, estimate
from neuronkit.analysis.autocast import emulator, rounding
from neuronkit.capture import products
from neuronkit.errors import OptionError, UnknownModelError, UnsupportedOperatorError

ROUNDINGS = rounding.ROUNDINGS
TYPES = sorted(ROUNDINGS)
MANTISSA = {"bf16": 7, "fp16": 10, "tf32": 10}


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def assert_equal(actual, expected) -> None:
    """Bit for bit."""
    assert torch.equal(actual, expected), f"differs by up to {(actual - expected).abs().max()}"


# The roundings


def by_hand(values: np.ndarray, bits: int) -> np.ndarray:
    """Rounding to so many bits behind the leading one, to nearest, ties to even, in float64."""
    mantissa, exponent = np.frexp(values.astype(np.float64))
    return np.ldexp(np.rint(np.ldexp(mantissa, bits + 1)), exponent - bits - 1)


# Numbers that float16 holds as normal ones, too.
normal = st.floats(2**-14, 32768, width=32) | st.floats(-32768, -(2**-14), width=32)


@pytest.mark.parametrize("kind", TYPES)
@settings(deadline=None)
@given(values=st.lists(normal, min_size=1, max_size=20))
def test_rounding_is_to_nearest_ties_to_even(kind, values) -> None:
    array = np.array(values, dtype=np.float32)
    got = ROUNDINGS[kind](torch.from_numpy(array)).numpy()
    np.testing.assert_array_equal(got, by_hand(array, MANTISSA[kind]).astype(np.float32))


@pytest.mark.parametrize("kind", TYPES)
def test_ties_and_special_values(kind) -> None:
    step = 2.0 ** -MANTISSA[kind]
    ties = torch.tensor([1 + step / 2, 1 + 3 * step / 2, -1 - step / 2, 0.0, -0.0, float("inf"), -float("inf")])
    expected = torch.tensor([1.0, 1 + 2 * step, -1.0, 0.0, -0.0, float("inf"), -float("inf")])
    rounded = ROUNDINGS[kind](ties)
    assert_equal(rounded, expected)
    assert torch.signbit(rounded[4])
    # Every NaN stays one, whatever bits it carries.
    nans = torch.tensor([0x7FC00000, 0x7F800001, 0x7FFFFFFF], dtype=torch.int32).view(torch.float32)
    assert ROUNDINGS[kind](nans).isnan().all()
    assert ROUNDINGS[kind](-nans).isnan().all()


def test_fp16_overflows_and_the_others_do_not() -> None:
    large = torch.tensor([65519.0, 65520.0, -1e9])
    assert_equal(ROUNDINGS["fp16"](large), torch.tensor([65504.0, float("inf"), -float("inf")]))
    assert ROUNDINGS["bf16"](large).isfinite().all()
    assert ROUNDINGS["tf32"](large).isfinite().all()


@pytest.mark.parametrize("kind", TYPES)
def test_rounding_keeps_the_layout(kind) -> None:
    # Convolutions choose their kernel, and so the order of their sums, by it.
    for x in (random(2, 3, 4, 5).permute(0, 3, 1, 2), random(2, 3, 4, 5).to(memory_format=torch.channels_last)):
        assert ROUNDINGS[kind](x).stride() == x.stride()


# Products, bit for bit


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("grad_mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_convolution_equals_the_definition(kind, dims, transposed, grad_mode) -> None:
    torch.manual_seed(0)
    layer = getattr(nn, f"Conv{'Transpose' if transposed else ''}{dims}d")
    conv = layer(6, 4, 3, stride=2, padding=1, dilation=2, groups=2)
    images = random(2, 6, *[9] * dims)
    convolve = getattr(F, f"conv{'_transpose' if transposed else ''}{dims}d")
    settings = {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}
    rounded = ROUNDINGS[kind]
    with grad_mode():
        expected = convolve(rounded(images), rounded(conv.weight), conv.bias, **settings)
        assert_equal(emulate_autocast(conv, auto_cast_type=kind)(images), expected)
    assert not torch.equal(expected, conv(images))


SHAPES = [
    ((4, 5), (5, 6)),
    ((2, 4, 5), (5, 6)),
    ((3, 4, 5), (3, 5, 6)),
    ((5,), (5,)),
    ((4, 5), (5,)),
    ((5,), (5, 4)),
    ((2, 1, 4, 5), (3, 5, 6)),
    ((64, 96), (96, 80)),
]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_matmul_equals_the_definition(kind, shapes) -> None:
    a, b = (random(*shape) for shape in shapes)
    for inference in (False, True):
        with torch.inference_mode(inference):
            product = emulate_autocast(Function(torch.matmul), auto_cast_type=kind)(a, b)
            assert_equal(product, ROUNDINGS[kind](a) @ ROUNDINGS[kind](b))
    assert product.dtype == torch.float32


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(TYPES),
    sizes=st.tuples(*[st.integers(1, 40)] * 3),
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([1e-3, 1.0, 100.0]),
)
def test_any_matmul_equals_the_definition(kind, sizes, seed, scale) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows, inner, columns = sizes
    a, b = (scale * torch.randn(shape, generator=generator) for shape in ((rows, inner), (columns, inner)))
    product = emulate_autocast(Function(lambda a, b: a @ b.t()), auto_cast_type=kind)(a, b)
    assert_equal(product, ROUNDINGS[kind](a) @ ROUNDINGS[kind](b).t())


ROUND = ROUNDINGS["bf16"]
PRODUCTS: dict[str, tuple[Any, ...]] = {
    "mm": (torch.mm, [(3, 4), (4, 5)], (0, 1)),
    "bmm": (torch.bmm, [(2, 3, 4), (2, 4, 5)], (0, 1)),
    "mv": (torch.mv, [(3, 4), (4,)], (0, 1)),
    "dot": (torch.dot, [(4,), (4,)], (0, 1)),
    "addmm": (torch.addmm, [(5,), (3, 4), (4, 5)], (1, 2)),
    "addmv": (torch.addmv, [(3,), (3, 4), (4,)], (1, 2)),
    "baddbmm": (torch.baddbmm, [(2, 3, 5), (2, 3, 4), (2, 4, 5)], (1, 2)),
    "addbmm": (torch.addbmm, [(3, 5), (2, 3, 4), (2, 4, 5)], (1, 2)),
    "in place": (lambda a, b, c: a.clone().addmm_(b, c), [(3, 5), (3, 4), (4, 5)], (1, 2)),
    "out": (lambda a, b: torch.mm(a, b, out=torch.empty(3, 5)), [(3, 4), (4, 5)], (0, 1)),
    "einsum": (lambda a, b: torch.einsum("bij,kj->bik", a, b), [(2, 3, 4), (5, 4)], (0, 1)),
    "tensordot": (lambda a, b: torch.tensordot(a, b, dims=([2], [1])), [(2, 3, 4), (5, 4)], (0, 1)),
    "inner": (torch.inner, [(3, 4), (5, 4)], (0, 1)),
    "linear": (F.linear, [(2, 3, 4), (5, 4), (5,)], (0, 1)),
    "linear without bias": (F.linear, [(2, 3, 4), (5, 4)], (0, 1)),
    "conv_tbc": (torch.conv_tbc, [(6, 2, 4), (3, 4, 5), (5,)], (0, 1)),
}


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("name", PRODUCTS)
def test_every_product_rounds_its_factors_and_nothing_else(name, inference) -> None:
    function, shapes, factors = PRODUCTS[name]
    inputs = [random(*shape) for shape in shapes]
    rounded = [ROUND(x) if i in factors else x for i, x in enumerate(inputs)]
    with torch.inference_mode(inference):
        assert_equal(emulate_autocast(Function(function))(*inputs), function(*rounded))
        assert not torch.equal(function(*rounded), function(*inputs))


# Nothing escapes: with factors rounded to zero, nothing of the input is left


def without_products(monkeypatch: pytest.MonkeyPatch, model, *inputs):
    """What a model computes when every product is zero."""
    monkeypatch.setattr(emulator, "ROUNDINGS", {"bf16": torch.zeros_like})
    return emulate_autocast(model)(*inputs)


def attention(**settings):
    return nn.MultiheadAttention(16, 4, batch_first=True, **settings).eval()


class Attend(nn.Module):
    """Self-attention alone, without the weights."""

    def __init__(self, **settings) -> None:
        super().__init__()
        self.attn = attention()
        self.settings = settings

    def forward(self, x):
        return self.attn(x, x, x, **self.settings)[0]


ONLY_PRODUCTS = {
    "self-attention": lambda: Attend(),
    "self-attention without weights": lambda: Attend(need_weights=False),
    "LSTM": lambda: nn.LSTM(16, 5, num_layers=2, bidirectional=True, batch_first=True).eval(),
    "LSTM without bias": lambda: nn.LSTM(16, 5, bias=False),
    "LSTM with projection": lambda: nn.LSTM(16, 5, proj_size=3),
    "GRU": lambda: nn.GRU(16, 5, num_layers=2, bidirectional=True).eval(),
    "RNN": lambda: nn.RNN(16, 5).eval(),
    "convolution": lambda: nn.Conv1d(3, 4, 3, padding="same"),
    "MLP": lambda: nn.Sequential(nn.Linear(16, 8), nn.GELU(), nn.Linear(8, 3)),
    "traced MLP": lambda: torch.jit.trace(nn.Sequential(nn.Linear(16, 8), nn.GELU()), torch.randn(2, 3, 16)),
    "frozen": lambda: torch.jit.freeze(torch.jit.trace(nn.Conv1d(3, 4, 3).eval(), torch.randn(2, 3, 16))),
    "scripted LSTM": lambda: torch.jit.script(Scripted()),
}


class Scripted(nn.Module):
    """An LSTM that TorchScript takes."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lstm(x)[0]


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("name", ONLY_PRODUCTS)
def test_no_product_escapes(name, inference, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = ONLY_PRODUCTS[name]()

    def first(output):
        return output[0] if isinstance(output, tuple) else output

    with torch.inference_mode(inference):
        one, other = (first(without_products(monkeypatch, model, random(2, 3, 16) + i)) for i in range(2))
        assert_equal(one, other)
        assert not torch.equal(first(model(random(2, 3, 16))), first(model(random(2, 3, 16) + 1)))


@pytest.mark.parametrize("mask", [None, torch.tensor([[False, False, True], [False, False, False]])])
def test_no_product_escapes_from_a_transformer(mask, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    x = random(2, 3, 16)
    got = without_products(monkeypatch, Function(lambda x: layer(x, src_key_padding_mask=mask)), x)
    # The residuals and biases alone.
    expected = layer.norm2(layer.norm1(x + layer.self_attn.out_proj.bias) + layer.linear2.bias)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("settings", [{}, {"bias": False}, {"batch_first": True, "bidirectional": True}])
def test_an_lstm_taken_apart_is_the_lstm(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    lstm = nn.LSTM(16, 5, num_layers=2, **settings).eval()
    monkeypatch.setattr(emulator, "ROUNDINGS", {"bf16": lambda x: x})
    outputs, (hidden, cell) = emulate_autocast(lstm)(random(4, 3, 16))
    expected, (expected_hidden, expected_cell) = lstm(random(4, 3, 16))
    torch.testing.assert_close((outputs, hidden, cell), (expected, expected_hidden, expected_cell))


@pytest.mark.torch2
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"attn_mask": torch.tensor([[0.0, 1.0, -1.0]])}])
def test_scaled_dot_product_attention_rounds_both_products(options) -> None:
    query, key, value = torch.randn(3, 2, 4, 3, 16, generator=torch.Generator().manual_seed(0)).unbind(0)
    got = emulate_autocast(Function(lambda *qkv: F.scaled_dot_product_attention(*qkv, **options)))(query, key, value)
    # A head of 16: torch scales query and key by 1/2 each.
    scores = ROUND(query / 2) @ ROUND(key / 2).transpose(-2, -1) + options.get("attn_mask", 0.0)
    if options.get("is_causal"):
        scores = scores.masked_fill(torch.ones(3, 3).triu(1).bool(), -float("inf"))
    assert_equal(got, ROUND(scores.softmax(-1)) @ ROUND(value))


@pytest.mark.torch2
def test_every_product_that_torch_counts_is_known_or_refused() -> None:
    import torch.utils.flop_counter

    # Higher-order operators, which a dispatch mode refuses by itself, have no such name.
    qualified = [getattr(packet, "_qualified_op_name", "") for packet in torch.utils.flop_counter.flop_registry]
    names = {name.partition("::")[2] for name in qualified if name}
    assert {"mm", "convolution"} <= names
    assert all(name in products.FACTORS or products._is_suspect(name) for name in names)


# What cannot be rounded is refused


@pytest.fixture
def custom_product():
    library = torch.library.Library("neuronkit_test", "DEF")
    library.define("secret_product(Tensor a, Tensor b) -> Tensor")
    library.impl("secret_product", lambda a, b: a @ b, "CPU")
    yield torch.ops.neuronkit_test.secret_product
    library._destroy() if hasattr(library, "_destroy") else None


def test_an_operator_that_is_not_torchs_is_refused(custom_product) -> None:
    model = Function(lambda a, b: custom_product(a, b))
    with pytest.raises(UnsupportedOperatorError, match="neuronkit_test::secret_product"):
        emulate_autocast(model)(random(2, 3), random(3, 4))
    # On integers there is nothing to round.
    a = torch.arange(4).reshape(2, 2)
    assert torch.equal(emulate_autocast(model)(a, a), a @ a)


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (lambda x: F.bilinear(x, x, x.new_ones(2, 3, 3)), "aten::_trilinear"),
        (lambda x: torch.linalg.inv(x @ x.t()), "aten::linalg_inv"),
        (lambda x: torch.cdist(x.repeat(20, 1), x.repeat(20, 1)), "dist"),
        (lambda x: F.affine_grid(x[None, :2], [1, 1, 4, 4], align_corners=False), "affine_grid"),
    ],
)
def test_a_product_inside_an_unknown_operator_is_refused(function, operator) -> None:
    with pytest.raises(UnsupportedOperatorError, match=operator):
        emulate_autocast(Function(function))(random(3, 3))


@pytest.mark.filterwarnings("ignore:'batch_first' was found in ScriptModule constants")
def test_a_fused_transformer_in_torchscript_is_refused() -> None:
    scripted = torch.jit.script(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval())
    with pytest.raises(UnsupportedOperatorError, match="_transformer_encoder_layer_fwd"):
        emulate_autocast(scripted)(random(2, 3, 16))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_that_was_optimised_for_the_cpu_is_refused() -> None:
    traced = torch.jit.trace(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(), random(1, 3, 8, 8))
    optimised = torch.jit.optimize_for_inference(traced)
    for call in (emulate_autocast, lambda model: estimate(model, random(1, 3, 8, 8), target="inf2")):
        with pytest.raises(UnsupportedOperatorError, match="prim::mkldnn_convolution"):
            call(optimised)


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_layer_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    with pytest.raises(UnsupportedOperatorError, match="quantized::linear_dynamic"):
        emulate_autocast(quantised)(random(2, 4))


@pytest.mark.parametrize("auto_cast", ["matmult", "all"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64])
def test_wider_products_are_refused(auto_cast, dtype) -> None:
    with pytest.raises(UnsupportedOperatorError, match=rf"{str(dtype)[6:]}.*\.float\(\)"):
        emulate_autocast(Function(torch.mm), auto_cast=auto_cast)(random(3, 3).to(dtype), random(3, 3).to(dtype))


def test_resizing_and_norms_are_no_products() -> None:
    model = Function(lambda x: F.interpolate(F.normalize(x), scale_factor=2, mode="bilinear", align_corners=False))
    assert_equal(emulate_autocast(model)(random(1, 2, 4, 4)), model(random(1, 2, 4, 4)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auto_cast": "matmul"}, "'none', 'matmult', 'all'"),
        ({"auto_cast": None}, "auto_cast=None"),
        ({"auto_cast_type": "float16"}, "'bf16', 'fp16', 'tf32'"),
        ({"auto_cast_type": "fp8_e4m3"}, "does not say how"),
        ({"auto_cast": "none", "auto_cast_type": None}, "auto_cast_type=None"),
        ({"auto_cast_type": ["bf16"]}, r"auto_cast_type=\['bf16'\]"),
    ],
)
def test_bad_options_are_named(options, message) -> None:
    with pytest.raises(OptionError, match=message):
        emulate_autocast(nn.Linear(2, 2), **options)


@pytest.mark.parametrize("model", [torch.matmul, None, "resnet"])
def test_only_modules_are_taken(model) -> None:
    with pytest.raises(UnknownModelError, match=r"expected an nn\.Module"):
        emulate_autocast(model)


# "none" and "all"


def test_none_changes_nothing() -> None:
    conv = nn.Conv2d(3, 4, 3)
    assert_equal(emulate_autocast(conv, auto_cast="none")(random(1, 3, 8, 8)), conv(random(1, 3, 8, 8)))


@pytest.mark.parametrize("kind", TYPES)
def test_all_rounds_operands_and_results_of_everything(kind) -> None:
    torch.manual_seed(0)
    rounded = ROUNDINGS[kind]
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Sigmoid())
    conv, norm, _ = model
    x = random(1, 3, 8, 8)
    y = rounded(F.conv2d(rounded(x), rounded(conv.weight), rounded(conv.bias)))
    y = rounded(F.group_norm(y, 2, rounded(norm.weight), rounded(norm.bias)))
    assert_equal(emulate_autocast(model, auto_cast="all", auto_cast_type=kind)(x), rounded(torch.sigmoid(y)))


def test_all_rounds_what_is_written_in_place_and_through_views() -> None:
    def change(x):
        y = x.clone()
        y[:, :2].mul_(1 / 3)
        y[:, 2:] = 1.001
        return y.add_(x)

    x = random(4, 4)
    expected = torch.cat([ROUND(ROUND(x[:, :2]) * (1 / 3)), ROUND(torch.full((4, 2), 1.001))], dim=1)
    assert_equal(emulate_autocast(Function(change), auto_cast="all")(x), ROUND(expected + ROUND(x)))
    assert_equal(x, random(4, 4))


def test_all_rounds_lists_of_tensors() -> None:
    x = random(2, 3)
    joined = emulate_autocast(Function(lambda x: torch.cat([x, x])), auto_cast="all")(x)
    assert_equal(joined, ROUND(torch.cat([x, x])))


# The caller's model


def test_weights_are_shared_and_live() -> None:
    linear = nn.Linear(4, 4)
    emulated = emulate_autocast(linear)
    with torch.no_grad():
        linear.weight.mul_(2)
    x = random(2, 4)
    assert_equal(emulated(x), F.linear(ROUND(x), ROUND(linear.weight), linear.bias))
    assert list(emulated.parameters()) == []


@pytest.mark.parametrize("auto_cast", ["none", "matmult", "all"])
def test_the_model_is_left_as_it_was(auto_cast) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    model[2].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    emulated = emulate_autocast(model, auto_cast=auto_cast)
    x = random(2, 3, 8, 8)
    assert_equal(emulated(x), emulated(x))
    assert [module.training for module in model] == [True, True, False]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert_equal(x, random(2, 3, 8, 8))


def test_torchscript_keeps_no_rounded_constants() -> None:
    a, b, x = random(4, 4), random(4, 3), random(2, 4)
    # The product of constants is left to TorchScript's optimizer, which computes it once.
    model = torch.jit.trace(Function(lambda x: x @ (a @ b)), x)
    emulated = emulate_autocast(model)
    for _ in range(3):
        assert_equal(emulated(x), ROUND(x) @ ROUND(ROUND(a) @ ROUND(b)))
    for _ in range(3):
        assert_equal(model(x), x @ (a @ b))


def test_tracing_is_refused() -> None:
    with pytest.raises(UnsupportedOperatorError, match="cannot be traced"):
        torch.jit.trace(emulate_autocast(nn.Linear(2, 2)), random(1, 2), check_trace=False)


@pytest.mark.torch2
def test_exporting_is_refused() -> None:
    with pytest.raises(UnsupportedOperatorError, match="traced or exported"):
        torch.export.export(emulate_autocast(nn.Linear(2, 2)), (random(1, 2),), strict=False)


@pytest.mark.parametrize("kind", TYPES)
def test_an_autocast_of_torch_around_it_changes_nothing(kind) -> None:
    linear = nn.Linear(4, 4)
    x = random(2, 4)
    expected = F.linear(ROUNDINGS[kind](x), ROUNDINGS[kind](linear.weight), linear.bias)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_equal(emulate_autocast(linear, auto_cast_type=kind)(x), expected)


@pytest.mark.torch2
def test_a_compiled_part_is_rounded_too() -> None:
    linear = nn.Linear(4, 4)
    model = nn.Sequential(torch.compile(linear, backend="eager"))
    x = random(2, 4)
    with torch.no_grad():
        model(x)
    assert_equal(emulate_autocast(model)(x), F.linear(ROUND(x), ROUND(linear.weight), linear.bias))
