"""The contract of exact_padding, on small networks."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from neuronkit.compile import compile_for_inferentia
from neuronkit.errors import SpecError
from neuronkit.specs import TensorSpec
from neuronkit.static.exact import ExactPadding, exact_padding
from neuronkit.static.shapes.fixed import FixedShape

from .networks import Net, UNet, between, conv, lively, random_images, soiled, tensors, worst_error


def _small() -> nn.Module:
    torch.manual_seed(0)
    return lively(between(nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(16, 50), st.integers(16, 60)), min_size=1, max_size=4),
    st.tuples(st.integers(50, 90), st.integers(60, 90)),
    st.sampled_from(["bilinear", "nearest", "padded"]),
)
def test_sizes_and_canvases_of_any_kind(sizes: list[tuple[int, int]], canvas: tuple[int, int], join: str) -> None:
    torch.manual_seed(0)
    model = lively(UNet(join))
    exact = exact_padding(model)
    assert worst_error(model, exact, sizes, canvas, dtype=torch.float32) <= 5e-6


def test_plain_padding_is_wrong() -> None:
    model = _small()
    images, valid_size = random_images([(20, 23)], (40, 40), dtype=torch.float32)
    images[:, :, 20:] = 0
    images[:, :, :, 23:] = 0
    with torch.no_grad():
        alone = model(images[:, :, :20, :23])
        naive = model(images)[:, :, : alone.shape[2], : alone.shape[3]]
        exact = exact_padding(model)(images, valid_size)[:, :, : alone.shape[2], : alone.shape[3]]
    assert (naive - alone).abs().max() > 1e-2 * alone.abs().max()
    assert (exact - alone).abs().max() < 1e-6 * alone.abs().max()


def test_a_full_canvas_is_the_module_itself() -> None:
    model = _small().double()
    images, valid_size = random_images([(32, 40)] * 2, (32, 40), dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(exact_padding(model)(images, valid_size), model(images), atol=1e-13)


@pytest.mark.parametrize(
    "build",
    [
        lambda a, b: (a, b),
        lambda a, b: [a, (b, None)],
        lambda a, b: {"a": a, "nested": {"b": b}},
        lambda a, b: OrderedDict(a=a, b=b),
        lambda a, b: a,
    ],
)
def test_outputs_come_in_the_modules_own_structure(build: Callable[..., Any]) -> None:
    model = Net(lambda x, c: build(c(x), c(x).mean((2, 3))), conv(3, 4))
    images, valid_size = random_images([(8, 9), (4, 5)], (8, 9), dtype=torch.float32)
    exact = exact_padding(model)
    with torch.no_grad():
        out, expected = exact(images, valid_size), model(images)
    assert _structure(out) == _structure(expected)
    sizes = exact.valid_output_sizes(valid_size)
    assert tensors(sizes)[0].tolist() == [[8, 9], [4, 5]]
    assert len(tensors(sizes)) == 1


def _structure(tree: Any) -> Any:
    """The types of a structure, and the shapes of its tensors."""
    if isinstance(tree, Tensor):
        return tree.shape
    items = tree.items() if isinstance(tree, dict) else enumerate(tree or ())
    return type(tree), {key: _structure(item) for key, item in items}


def test_valid_output_sizes_follow_the_layers() -> None:
    def heads(x: Tensor, c: nn.Module) -> tuple[Tensor, ...]:
        y = c(x)
        return y, y.permute(0, 2, 3, 1), y.transpose(2, 3), y.mean(2), y.mean((2, 3))

    sizes = exact_padding(Net(heads, conv(3, 4, stride=2))).valid_output_sizes(torch.tensor([[7, 10], [8, 3]]))
    assert [None if size is None else size.tolist() for size in sizes] == [
        [[4, 5], [4, 2]], [[4, 5], [4, 2]], [[5, 4], [2, 4]], [[5], [2]], None
    ]  # fmt: skip
    assert sizes[0].dtype == torch.int32


def test_sizes_that_the_network_itself_cannot_run_are_refused() -> None:
    model = lively(UNet("exact fit"))
    exact = exact_padding(model)
    torch.manual_seed(0)
    assert worst_error(model.double(), exact, [(16, 24), (40, 8)], (48, 40)) <= 1e-11
    with pytest.raises(SpecError, match=r"cannot run on 20x24 pixels: node 'cat.* joins sizes 5 and 4.*multiple"):
        exact.valid_output_sizes(torch.tensor([[16, 24], [20, 24]]))
    with pytest.raises(SpecError, match="cannot run on 44x40 pixels"):
        exact(torch.zeros(1, 3, 44, 40, dtype=torch.float64), torch.tensor([[16, 24]]))


# A network and sizes on which it raises by itself.
IMPOSSIBLE: dict[str, tuple[Callable[[], nn.Module], tuple[int, int], str]] = {
    "nothing left": (lambda: nn.Sequential(*(nn.MaxPool2d(2) for _ in range(4)), conv(3, 4)), (15, 40), "nothing left"),
    "a kernel that does not fit": (lambda: nn.Sequential(conv(3, 4, 7, padding=1)), (40, 4), "nothing left"),
    "a border that cannot be mirrored": (lambda: nn.Sequential(nn.ReflectionPad2d(5), conv(3, 4)), (5, 9), "more than"),
    "a single entry to normalise": (
        lambda: nn.Sequential(conv(3, 4, stride=2), nn.InstanceNorm2d(4)), (2, 1), "single entry"
    ),
    "sizes that do not meet": (lambda: UNet("exact fit"), (20, 24), "joins sizes 5 and 4"),
    "blocks that do not fit": (lambda: nn.Sequential(nn.PixelUnshuffle(2), conv(12, 4)), (8, 9), "joins sizes"),
}  # fmt: skip


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_sizes_at_which_the_original_raises_are_refused_everywhere(name: str) -> None:
    build, size, reason = IMPOSSIBLE[name]
    model = build().eval()
    with pytest.raises((RuntimeError, ValueError)):
        model(torch.zeros(1, 3, *size))
    exact = exact_padding(model)
    message = f"cannot run on {size[0]}x{size[1]} pixels: node .*{reason}"
    images, valid_size = torch.zeros(2, 3, 48, 48), torch.tensor([[48, 48], size], dtype=torch.int32)
    canvas, full = torch.zeros(2, 3, *size), torch.tensor([size] * 2)
    specs = TensorSpec("images", images.shape), TensorSpec("valid_size", (2, 2), "int32")
    small = TensorSpec("images", canvas.shape), specs[1]
    for refused in (
        lambda: exact(images, valid_size),
        lambda: exact(canvas, full),
        lambda: exact.valid_output_sizes(valid_size),
        lambda: exact_padding(model).fix_canvas(*size),
        lambda: FixedShape(exact, specs)(canvas),
        lambda: FixedShape(exact, specs)(images, valid_size),
        lambda: compile_for_inferentia(exact, small, target="cpu"),
    ):
        with pytest.raises(SpecError, match=message):
            refused()
    FixedShape(exact, specs)(images)
    compile_for_inferentia(exact, specs, target="cpu")


@pytest.mark.parametrize(
    ("valid_size", "message"),
    [
        ([[0, 9]], r"got \[\[0, 9\]\]; expected .* from 1 to \(12, 16\)"),
        ([[9, -1]], r"got \[\[9, -1\]\]"),
        ([[13, 9]], r"got \[\[13, 9\]\]"),
        ([[9, 9], [9, 9]], r"valid_size of shape \(2, 2\) for 1 images"),
        ([9, 9], r"valid_size of shape \(2,\)"),
        ([[9, 9, 9]], r"valid_size of shape \(1, 3\)"),
        ([[9.0, 9.0]], "expected .*int32"),
    ],
)
def test_valid_sizes_are_checked_on_the_host(valid_size: list[Any], message: str) -> None:
    exact = exact_padding(_small())
    with pytest.raises(SpecError, match=message):
        exact(torch.zeros(1, 3, 12, 16), torch.tensor(valid_size))
    with pytest.raises(SpecError, match="3 dimensions; expected"):
        exact(torch.zeros(3, 12, 16), torch.tensor([[9, 9]]))
    for module in (None, "model.pt", nn.Conv2d, {"weight": torch.zeros(1)}):
        with pytest.raises(SpecError, match=r"got module=.*expected an nn\.Module"):
            exact_padding(module)  # type: ignore[arg-type]
    for height in (0, 1.5, None, 10**6):
        with pytest.raises(SpecError, match="height"):
            exact.fix_canvas(height, 64)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="got images=None; expected a tensor"):
        exact(None, torch.tensor([[9, 9]]))
    with pytest.raises(SpecError, match="valid_size: got"):
        exact.valid_output_sizes(torch.tensor([[0, 5]]))
    # int64 holds the same numbers.
    assert exact(torch.zeros(1, 3, 12, 16), torch.tensor([[9, 9]])).shape == (1, 2, 6, 8)


def test_weights_are_shared() -> None:
    model = _small()
    exact = exact_padding(model)
    images, valid_size = random_images([(20, 23)], (24, 24), dtype=torch.float32)
    assert {id(p) for p in exact.parameters()} == {id(p) for p in model.parameters()}
    before = exact(images, valid_size)
    before.sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    with torch.no_grad():
        after, alone = exact(images, valid_size), model(images[:, :, :20, :23])
    assert (after - before).abs().max() > 1e-3
    assert (after[:, :, : alone.shape[2], : alone.shape[3]] - alone).abs().max() < 1e-5 * alone.abs().max()


def test_gradients_are_those_of_the_image_alone() -> None:
    model = _small().double()
    exact = exact_padding(model)
    images, valid_size = random_images([(20, 23)], (32, 32), dtype=torch.float64)
    alone = images[:, :, :20, :23].clone().requires_grad_()
    padded = images.clone().requires_grad_()
    model(alone).pow(2).sum().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    exact(padded, valid_size).pow(2).sum().backward()
    for parameter, gradient in zip(model.parameters(), expected):
        assert torch.allclose(parameter.grad, gradient, atol=1e-9)
    assert torch.allclose(padded.grad[:, :, :20, :23], alone.grad, atol=1e-9)
    assert not padded.grad[:, :, 20:].any()


def test_the_module_is_left_as_it_was() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = between(nn.ReLU(inplace=True), nn.Dropout(), nn.ReflectionPad2d(1))
            self.register_buffer("scale", torch.ones(1))

        def forward(self, x: Tensor, factor: float | None = None) -> Tensor:
            y = self.body(x) * torch.tensor(2.0) * self.scale
            return y if factor is None else y * factor

    model = Odd().train()
    before = copy.deepcopy(vars(model))
    modes = [module.training for module in model.modules()]
    images, valid_size = random_images([(8, 9)], (12, 12), dtype=torch.float32)
    clean = images.clone()
    exact_padding(model)(images, valid_size)
    assert vars(model).keys() == before.keys()
    assert model._buffers.keys() == before["_buffers"].keys()
    assert [module.training for module in model.modules()] == modes
    assert model.body[1].inplace
    assert torch.equal(images, clean)


def test_tracing_undoes_what_the_module_does_to_itself() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = between(nn.ReLU())
            self.seen: Any = None
            self.register_buffer("calls", torch.zeros(1))
            self.register_buffer("replaced", torch.zeros(1))
            self.replaced: Tensor

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.replaced = self.replaced + 1
            self.seen = x.shape
            return self.body(x)

    model = Counting().eval()
    calls, replaced = model.calls, model.replaced
    exact_padding(model)
    assert model.seen is None
    assert model.calls is calls
    assert model.replaced is replaced
    assert calls.item() == replaced.item() == 0


def test_train_mode_is_refused_where_it_matters() -> None:
    images, valid_size = random_images([(8, 9)], (12, 12), dtype=torch.float32)
    model = _small()
    exact = exact_padding(model)
    model.train()
    with pytest.raises(SpecError, match=r"train mode.*eval\(\)"):
        exact(images, valid_size)
    model.eval()
    exact(images, valid_size)
    exact_padding(between(nn.GroupNorm(2, 4), nn.ReLU()).train())(images, valid_size)


def test_half_precision_and_memory_formats() -> None:
    model = lively(UNet("bilinear"))
    images, valid_size = random_images([(24, 17), (32, 40)], (32, 40), dtype=torch.float32)
    with torch.no_grad():
        expected = exact_padding(model)(soiled(images, valid_size), valid_size)
        last = model.to(memory_format=torch.channels_last)
        out = exact_padding(last)(images.contiguous(memory_format=torch.channels_last), valid_size)
        assert (out - expected).abs().max() <= 5e-6 * expected.abs().max()
        low = exact_padding(model.bfloat16())(soiled(images, valid_size).bfloat16(), valid_size)
    assert low.dtype == torch.bfloat16
    assert torch.isfinite(low).all()
    assert (low.float() - expected).abs().max() <= 0.1 * expected.abs().max()


def test_wrappers_are_looked_through() -> None:
    model = _small()
    images, valid_size = random_images([(20, 23)], (24, 24), dtype=torch.float32)
    with torch.no_grad():
        wrapped = exact_padding(nn.DataParallel(model))(images, valid_size)
        assert torch.equal(wrapped, exact_padding(model)(images, valid_size))


def test_constants_move_with_a_module_of_fixed_canvas() -> None:
    exact = exact_padding(_small()).fix_canvas(24, 32)
    assert exact.to("meta")(*(t.to("meta") for t in random_images([(9, 9)], (24, 32), dtype=torch.float32))).shape == (
        1, 2, 12, 16,
    )  # fmt: skip
    fresh = exact_padding(_small())
    images, valid_size = random_images([(9, 30)], (24, 32), dtype=torch.float32)
    with torch.no_grad():
        free = fresh(images, valid_size)
        assert torch.equal(fresh.fix_canvas(24, 32)(images, valid_size), free)
    assert not any("table" in name for name in fresh.state_dict())


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "bilinear U-Net": lambda: UNet("bilinear"),
    "padded U-Net": lambda: UNet("padded"),
    "nearest U-Net": lambda: UNet("nearest"),
    "norms": lambda: between(nn.InstanceNorm2d(4), nn.GroupNorm(2, 4), nn.Hardswish(inplace=True)),
    "pools": lambda: between(
        nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.ReflectionPad2d(1)
    ),
    "head": lambda: nn.Sequential(conv(3, 4), nn.SiLU(inplace=True), nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten()),
    "resizing": lambda: Net(lambda x, c: F.interpolate(c(x), scale_factor=1.7, mode="bicubic"), conv(3, 4)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("fixed", [False, True])
def test_traces_to_operators_of_inf1(name: str, fixed: bool, inf1_operators: frozenset[str]) -> None:
    exact = exact_padding(lively(NETWORKS[name]()))
    if fixed:
        exact.fix_canvas(32, 40)
    examples = random_images([(32, 40), (17, 20)], (32, 40), dtype=torch.float32)
    inputs = random_images([(19, 33), (32, 16)], (32, 40), dtype=torch.float32, seed=1)
    with torch.no_grad():
        traced = torch.jit.trace(exact, examples, check_trace=False, strict=False)
        # The graph is one for all sizes: nothing of the example's is frozen in.
        assert torch.equal(traced(*inputs), exact(*inputs))
    kinds = {node.kind() for node in traced.inlined_graph.nodes()}
    assert kinds <= inf1_operators
    assert not {kind for kind in kinds if "upsample" in kind}


@pytest.mark.parametrize(
    ("activation", "has_one"), [(nn.ReLU(), False), (nn.Sigmoid(), False), (nn.ReLU6(), False), (nn.Tanh(), True)]
)
def test_what_is_never_negative_needs_no_sentinel(activation: nn.Module, has_one: bool) -> None:
    model = lively(between(activation, nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.AdaptiveMaxPool2d(1)))
    exact = exact_padding(nn.Sequential(*model[:-1]))
    examples = random_images([(32, 40), (17, 20)], (32, 40), dtype=torch.float32)
    graph = torch.jit.trace(exact, examples, check_trace=False, strict=False).inlined_graph
    constants = [node.output().toIValue() for node in graph.nodes() if node.kind() == "prim::Constant"]
    numbers = [value for value in constants if isinstance(value, float)]
    assert any(abs(number) >= 2.0**15 for number in numbers) == has_one
    assert worst_error(model, exact_padding(model), [(9, 12), (32, 40)], (32, 40), dtype=torch.float32) <= 5e-6


@pytest.mark.xla
@pytest.mark.parametrize("name", NETWORKS)
def test_lowers_through_xla(
    name: str, lower: Callable[[nn.Module, tuple[Tensor, ...]], tuple[tuple[Tensor, ...], str]]
) -> None:
    exact = exact_padding(lively(NETWORKS[name]()))
    inputs = random_images([(19, 33), (32, 16)], (32, 40), dtype=torch.float32)
    with torch.no_grad():
        expected = exact(*inputs)
    (output,), hlo = lower(exact, inputs)
    assert "convolution" in hlo
    for unwanted in ("scatter", "custom-call", "gather", "while"):
        assert unwanted not in hlo
    assert (output - expected).abs().max() <= 5e-6 * expected.abs().max()


def test_exact_padding_is_the_class() -> None:
    assert isinstance(exact_padding(conv(3, 4)), ExactPadding)
