"""Each operator between two convolutions, in float64, where rounding cannot hide a leak of padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from neuronkit.errors import SpecError
from neuronkit.static.exact import exact_padding

from .networks import Net, UNet, between, conv, lively, worst_error
from .same import Same, SameMaxPool, Standardized

CANVAS = (37, 45)
Build = Callable[[], nn.Module]

CONVOLUTIONS: dict[str, Build] = {
    "strides, dilations and groups": lambda: nn.Sequential(
        conv(3, 4, 5, stride=2, padding=2),
        conv(4, 4, dilation=3, padding=3, groups=2),
        conv(4, 4, (1, 7), padding=(0, 3)),
        conv(4, 4, 4, stride=3),
    ),
    "without padding": lambda: nn.Sequential(conv(3, 4, 5, stride=2, padding=0), conv(4, 4, padding=0), conv(4, 2)),
    "padding given in words": lambda: nn.Sequential(
        conv(3, 4, 4, padding="same"), conv(4, 4, padding="same", dilation=2), conv(4, 4, padding="valid"), conv(4, 2)
    ),
    "one by one, with padding": lambda: nn.Sequential(conv(3, 4), conv(4, 4, 1, padding=1), conv(4, 2)),
    "reflected border": lambda: nn.Sequential(
        conv(3, 4), conv(4, 5, 5, padding=(2, 1), padding_mode="reflect", stride=2), conv(5, 2)
    ),
    "replicated border": lambda: nn.Sequential(
        conv(3, 4), conv(4, 5, 5, padding=(2, 1), padding_mode="replicate", stride=2), conv(5, 2)
    ),
    "circular border": lambda: nn.Sequential(
        conv(3, 4), conv(4, 5, 5, padding=(2, 1), padding_mode="circular", stride=2), conv(5, 2)
    ),
    "transposed": lambda: nn.Sequential(
        conv(3, 4),
        nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1),
        nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1),
        nn.ConvTranspose2d(4, 3, 2, stride=2),
        nn.ConvTranspose2d(3, 3, 3, dilation=2, groups=3),
        conv(3, 2),
    ),
    "functional": lambda: Net(
        lambda x, c, d: F.conv_transpose2d(F.conv2d(x, c.weight, c.bias, padding=1, stride=2), d.weight, None, 2, 1, 1),
        conv(3, 4),
        nn.ConvTranspose2d(4, 4, 3),
    ),
    "standardised weights": lambda: Net(
        lambda x, c, d: d(F.conv2d(x, c.weight - c.weight.mean((1, 2, 3), keepdim=True), None, 1, 1)),
        conv(3, 4),
        conv(4, 2),
    ),
    "standardised weights by batch statistics": lambda: nn.Sequential(Standardized(3, 4, 5), conv(4, 2)),
    "SAME padding": lambda: nn.Sequential(
        Same(3, 4, 3, stride=2), Same(4, 4, 7, stride=3), Same(4, 4, (2, 5), stride=(1, 2)), conv(4, 2)
    ),
    "SAME padding, dilated": lambda: nn.Sequential(conv(3, 4), Same(4, 4, 3, stride=2, dilation=3), conv(4, 2)),
    "spectral norm": lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(conv(3, 4)), conv(4, 2)),
    "a lone layer": lambda: conv(3, 4),
}

_POOLS = [
    (3, 2, 1, False), (2, 2, 0, False), (2, 2, 0, True), (3, 2, 0, True), (3, 2, 1, True), (5, 3, 2, True),
    (3, 1, 1, False), ((2, 3), (2, 1), (0, 1), False),
]  # fmt: skip

POOLING: dict[str, Build] = {
    **{
        f"max {k}, stride {s}, padding {p}, ceil {c}": lambda k=k, s=s, p=p, c=c: between(
            nn.MaxPool2d(k, s, p, ceil_mode=c)
        )
        for k, s, p, c in _POOLS
    },
    **{
        f"average {k}, stride {s}, padding {p}, ceil {c}, counting padding {i}": lambda k=k, s=s, p=p, c=c, i=i: (
            between(nn.AvgPool2d(k, s, p, ceil_mode=c, count_include_pad=i))
        )
        for k, s, p, c in _POOLS
        for i in (False, True)
    },
    **{
        f"SAME max {kernel}, stride {stride}, of {value}": lambda kernel=kernel, stride=stride, value=value: between(
            SameMaxPool(kernel, stride, value)
        )
        for kernel, stride in ((2, 1), (3, 2), (2, 2), (5, 3))
        for value in (0.0, -3.0, -float("inf"))
    },
    "dilated max": lambda: between(nn.MaxPool2d(3, 2, 1, dilation=2, ceil_mode=True)),
    "divisor given": lambda: between(nn.AvgPool2d(3, 2, 1, divisor_override=5)),
    "adaptive to one": lambda: nn.Sequential(conv(3, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
    "adaptive to areas": lambda: nn.Sequential(
        conv(3, 4), nn.AdaptiveAvgPool2d((3, 5)), nn.Flatten(), nn.Linear(60, 5)
    ),
    "adaptive in one direction": lambda: nn.Sequential(
        conv(3, 4), nn.AdaptiveAvgPool2d((None, 1)), conv(4, 4, (3, 1), padding=(1, 0))
    ),
    "adaptive max": lambda: nn.Sequential(conv(3, 4), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
    "kernel of the map's size": lambda: Net(
        lambda x, c, d: d(F.avg_pool2d(c(x), c(x).shape[2:]).flatten(1)), conv(3, 4), nn.Linear(4, 5)
    ),
}

NORMS: dict[str, Build] = {
    "batch": lambda: between(nn.BatchNorm2d(4)),
    "instance": lambda: between(nn.InstanceNorm2d(4, affine=True), conv(4, 4), nn.InstanceNorm2d(4)),
    "instance, running": lambda: between(nn.InstanceNorm2d(4, track_running_stats=True)),
    "group": lambda: between(nn.GroupNorm(2, 4), conv(4, 4), nn.GroupNorm(1, 4, affine=False)),
    "functional": lambda: Net(
        lambda x, c, g, d: d(F.instance_norm(F.group_norm(c(x), 2, g.weight, g.bias), eps=1e-3)),
        conv(3, 4),
        nn.GroupNorm(2, 4),
        conv(4, 2),
    ),
    "layer, channels last": lambda: Net(
        lambda x, c, n, f, d: d(f(n(c(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)),
        conv(3, 4),
        nn.LayerNorm(4),
        nn.Linear(4, 6),
        conv(6, 2),
    ),
    "layer, by hand": lambda: Net(_layer_norm_by_hand, conv(3, 4), conv(4, 2)),
    "global response": lambda: Net(_global_response, conv(3, 4), conv(4, 2)),
    "local response": lambda: nn.Sequential(conv(3, 8), nn.LocalResponseNorm(3), conv(8, 2)),
    "instance, after a gate": lambda: between(conv(4, 8), nn.GLU(1), nn.InstanceNorm2d(4, affine=True)),
    "along channels": lambda: Net(lambda x, c, d: d(F.normalize(c(x), dim=1)), conv(3, 4), conv(4, 2)),
}


def _layer_norm_by_hand(x: Tensor, c: nn.Module, d: nn.Module) -> Tensor:
    y = c(x)
    centred = y - y.mean(1, keepdim=True)
    return d(centred / torch.sqrt(centred.pow(2).mean(1, keepdim=True) + 1e-6))


def _global_response(x: Tensor, c: nn.Module, d: nn.Module) -> Tensor:
    y = c(x)
    strength = torch.norm(y, p=2, dim=(2, 3), keepdim=True)
    return d(y * (strength / (strength.mean(1, keepdim=True) + 1e-6)) + y)


def _channel_attention(read: Callable[..., Tensor]) -> nn.Module:
    def forward(x: Tensor, c: nn.Module, squeeze: nn.Module, gate: nn.Module, d: nn.Module) -> Tensor:
        y = c(x)
        return d(y * read(y, gate))

    return Net(forward, conv(3, 4), nn.Identity(), nn.Sequential(nn.Linear(4, 4), nn.Sigmoid()), conv(4, 2))


def _gate_by_view(y: Tensor, gate: nn.Module) -> Tensor:
    b, c, _, _ = y.size()
    return gate(F.adaptive_avg_pool2d(y, 1).view(b, c)).view(b, c, 1, 1).expand_as(y)


def _spatial_attention(x: Tensor, c: nn.Module, s: nn.Module, d: nn.Module) -> Tensor:
    y = c(x)
    return d(y * torch.sigmoid(s(torch.cat([y.mean(1, keepdim=True), y.max(1, keepdim=True)[0]], 1))))


def _coordinate_attention(x: Tensor, c: nn.Module, d: nn.Module) -> Tensor:
    y = c(x)
    return d(y * torch.sigmoid(y.mean(3, keepdim=True)) * torch.sigmoid(y.mean(2, keepdim=True)))


ATTENTION: dict[str, Build] = {
    "squeezed by view": lambda: _channel_attention(_gate_by_view),
    "squeezed by mean": lambda: _channel_attention(lambda y, g: g(y.mean((2, 3)))[:, :, None, None]),
    "squeezed twice": lambda: _channel_attention(lambda y, g: g(y.mean(-1).mean(-1)).unsqueeze(-1).unsqueeze(-1)),
    "spatial": lambda: Net(_spatial_attention, conv(3, 4), conv(2, 1, 7, padding=3), conv(4, 2)),
    "coordinate": lambda: Net(_coordinate_attention, conv(3, 4), conv(4, 2)),
}

ACTIVATIONS = [
    nn.ReLU(True), nn.ReLU6(True), nn.Hardswish(True), nn.SiLU(True), nn.GELU(), nn.LeakyReLU(0.1, True), nn.ELU(),
    nn.PReLU(4), nn.Tanh(), nn.Sigmoid(), nn.Softplus(), nn.Mish(), nn.Hardsigmoid(), nn.SELU(), nn.Softsign(),
    nn.Hardtanh(0.1, 0.5), nn.Hardtanh(), nn.LogSigmoid(), nn.Dropout(), nn.Identity(), nn.Threshold(0.1, 7.0),
]  # fmt: skip

ELEMENTWISE: dict[str, Build] = {
    **{repr(activation): lambda activation=activation: between(activation) for activation in ACTIVATIONS},
    "arithmetic": lambda: Net(
        lambda x, c, d: d(
            torch.exp(c(x)) / (1 + torch.log(c(x) ** 2 + 1))
            + c(x).clamp(min=0.1)
            - torch.maximum(c(x), -c(x)) * 0.5
            + torch.where(c(x) > 0, c(x), c(x) * 2)
        ),
        conv(3, 4),
        conv(4, 2),
    ),
    "infinite outside": lambda: Net(lambda x, c: c(1 / x), conv(3, 2)),
    "per channel": lambda: Net(
        lambda x, c, d: d((c(x) - d.weight[0, :, 0, 0].view(1, 4, 1, 1)) * c.bias.view(1, -1, 1, 1)),
        conv(3, 4),
        conv(4, 2),
    ),
    "constant made in forward": lambda: Net(
        lambda x, c, d: d(c(x) * torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1)), conv(3, 4), conv(4, 2)
    ),
}

_INPLACE: dict[str, Callable[[Tensor, nn.Module], Any]] = {
    "iadd": lambda a, d: a.__iadd__(d(a)),
    "method": lambda a, d: a.relu_(),
    "argument": lambda a, d: F.relu(a, inplace=True),
    "function": lambda a, d: torch.relu_(a),
    "chain": lambda a, d: a.mul_(2).add_(1),
    "hardtanh": lambda a, d: F.hardtanh_(a, -0.1, 0.2),
}


def _inplace(change: Callable[[Tensor, nn.Module], Any]) -> nn.Module:
    def forward(x: Tensor, c: nn.Module, d: nn.Module) -> tuple[Tensor, ...]:
        a = c(x)
        skip = a
        change(a, d)
        b = d(a)
        again = b
        b *= 3.0
        b += skip
        return d(b), skip, again

    return Net(forward, conv(3, 4), conv(4, 4))


INPLACE: dict[str, Build] = {
    **{name: lambda change=change: _inplace(change) for name, change in _INPLACE.items()},
    # The skip is what the activation left of it, as in CRAFT.
    "module": lambda: Net(lambda x, c, r, d: (lambda a: d(r(a)) + a)(c(x)), conv(3, 4), nn.ReLU(True), conv(4, 4)),
    "module on a sum": lambda: Net(
        lambda x, c, r, d: (lambda a, b: d(r(a + b)) + a + b)(c(x), d(c(x))), conv(3, 4), nn.ReLU(True), conv(4, 4)
    ),
}

_RESIZES: list[dict[str, Any]] = [
    {"mode": "bilinear", "scale_factor": 2},
    {"mode": "bilinear", "scale_factor": 2, "align_corners": True},
    {"mode": "bilinear", "scale_factor": (2, 3)},
    {"mode": "bilinear", "scale_factor": 1.7},
    {"mode": "bilinear", "scale_factor": 1.7, "recompute_scale_factor": True},
    {"mode": "bilinear", "scale_factor": 0.6},
    {"mode": "bilinear", "size": (20, 31)},
    {"mode": "bicubic", "scale_factor": 1.5},
    {"mode": "bicubic", "scale_factor": 2, "align_corners": True},
    {"mode": "nearest", "scale_factor": 2},
    {"mode": "nearest", "scale_factor": 1.7},
    {"mode": "nearest", "scale_factor": 0.5},
    {"mode": "nearest", "size": 17},
    {"mode": "nearest-exact", "scale_factor": 1.7},
    {"mode": "nearest-exact", "scale_factor": 3},
    {"mode": "nearest", "scale_factor": (1.5, 0.75)},
    {"mode": "nearest", "scale_factor": (2.5, 1)},
    {"mode": "nearest-exact", "scale_factor": (0.5, 1.6)},
    {"mode": "area", "size": (5, 6)},
]


# Factors of which torch's float32 scale is less than it should be: it reads the input before a whole number.
_RESIZES += [{"mode": "nearest", "size": size} for size in ((41, 47), (55, 61))]
_RESIZES += [{"mode": "nearest-exact", "size": (23, 11)}]


def _resize(settings: dict[str, Any]) -> nn.Module:
    return Net(lambda x, c, d: d(F.interpolate(c(x), **settings)), conv(3, 4, stride=2), conv(4, 2))


def _resized_to(size: Callable[[Tensor], Any], mode: str) -> nn.Module:
    return Net(lambda x, c, d: d(F.interpolate(c(x), size=size(x), mode=mode)), conv(3, 4, stride=3), conv(4, 2))


RESIZING: dict[str, Build] = {
    **{str(settings): lambda settings=settings: _resize(settings) for settings in _RESIZES},
    "to another map's size": lambda: _resized_to(lambda x: x.shape[-2:], "bilinear"),
    "to half a map's size": lambda: _resized_to(lambda x: (x.shape[2] // 2, x.size(3) // 2), "bicubic"),
    "nearest to a map's size": lambda: _resized_to(lambda x: (x.shape[2], x.shape[3]), "nearest"),
    "upsampling module": lambda: between(
        nn.Upsample(scale_factor=2, mode="bilinear"), nn.UpsamplingNearest2d(scale_factor=2)
    ),
    "pixel shuffle": lambda: nn.Sequential(conv(3, 8), nn.PixelShuffle(2), conv(2, 2)),
    "from one pixel": lambda: Net(
        lambda x, c, d: d(F.interpolate(F.adaptive_avg_pool2d(c(x), 1), size=x.shape[2:], mode="bilinear")),
        conv(3, 4),
        conv(4, 2),
    ),
}  # fmt: skip


def _shuffle(x: Tensor, c: nn.Module, d: nn.Module) -> Tensor:
    x = c(x)
    b, channels, h, w = x.shape
    x = x.view(b, 2, channels // 2, h, w).transpose(1, 2).contiguous().view(b, -1, h, w)
    left, right = x.chunk(2, dim=1)
    return d(torch.cat([right, left], 1))


SHAPES: dict[str, Build] = {
    "shuffled channels": lambda: Net(_shuffle, conv(3, 8), conv(8, 2)),
    "padding layers": lambda: nn.Sequential(
        conv(3, 4), nn.ZeroPad2d((1, 2, 3, 0)), conv(4, 4, padding=0), nn.ReflectionPad2d(2), conv(4, 4, padding=0),
        nn.ReplicationPad2d((1, 0, 2, 3)), conv(4, 4, padding=0), nn.ConstantPad2d(1, 0.5), conv(4, 2),
    ),
    "padding and cropping": lambda: Net(
        lambda x, c, d: d(
            F.pad(F.pad(F.pad(c(x), (-1, -2, -1, 0)), (1, 1, 0, 2), value=-3.0), (2, 2, 1, 1), "circular")
        ),
        conv(3, 4),
        conv(4, 2),
    ),
    "padded channels": lambda: Net(
        lambda x, c, d: d(F.pad(c(x)[:, :, ::2, ::2], (0, 0, 0, 0, 1, 2))), conv(3, 4), conv(7, 2)
    ),
    "slices": lambda: Net(lambda x, c, d: d(c(x)[:, :, 1:-2, :-1]), conv(3, 4), conv(4, 2)),
    "every second pixel": lambda: Net(
        lambda x, c: c(torch.cat([x[..., ::2, ::2][:, :, :8, :8], x[..., 1::2, ::2][:, :, :8, :8]], 1)), conv(6, 4)
    ),
    "several layouts": lambda: Net(lambda x, c: (c(x).permute(0, 2, 3, 1), c(x).transpose(2, 3)), conv(3, 4)),
    "split": lambda: Net(
        lambda x, c, d: d(torch.cat([torch.split(c(x), 2, 1)[0], torch.split(c(x), 2, 1)[2]], 1)),
        conv(3, 6),
        conv(4, 2),
    ),
    "stacked and repeated": lambda: Net(
        lambda x, c, d: d(torch.stack([c(x), c(x) * 2], 1).flatten(1, 2).repeat(1, 2, 1, 1)), conv(3, 2), conv(8, 2)
    ),
    "reductions": lambda: Net(
        lambda x, c: (
            c(x).amax((2, 3)), c(x).amin((2, 3)), c(x).sum((2, 3)), c(x).mean((1, 2, 3)), c(x).max(3)[0].max(2)[0],
            c(x).mean(2), c(x).softmax(1), torch.softmax(c(x), 3), c(x).max(3).values, c(x).argmax(1).double(),
        ),
        conv(3, 4),
    ),
}  # fmt: skip

UNETS: dict[str, Build] = {
    **{join: lambda join=join: UNet(join) for join in ("bilinear", "nearest", "padded", "padded_upsample", "cropped")},
    "average pooling": lambda: UNet("bilinear", pool=nn.AvgPool2d(3, 2, 1)),
}

GROUPS = {
    "convolution": CONVOLUTIONS, "pooling": POOLING, "normalisation": NORMS, "attention": ATTENTION,
    "elementwise": ELEMENTWISE, "in place": INPLACE, "resizing": RESIZING, "shapes": SHAPES, "U-Net": UNETS,
}  # fmt: skip
CASES = {f"{group}: {name}": build for group, cases in GROUPS.items() for name, build in cases.items()}

sizes = st.lists(st.tuples(st.integers(17, CANVAS[0]), st.integers(17, CANVAS[1])), min_size=3, max_size=3)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", CASES)
def test_padding_does_not_reach_the_result(name: str) -> None:
    torch.manual_seed(0)
    model = lively(CASES[name]()).double()
    exact = exact_padding(model)

    @settings(max_examples=6, deadline=None, derandomize=True)
    @given(sizes, st.integers(0, 1000))
    def check(valid: list[tuple[int, int]], seed: int) -> None:
        assert worst_error(model, exact, valid, CANVAS, seed=seed) <= 1e-11

    check()


@pytest.mark.parametrize(
    "build",
    [
        lambda: Net(lambda x, p, c: c(p(x).square()), nn.MaxPool2d(3, 1, 1), conv(3, 2)),
        lambda: Net(lambda x, c: c(x.amax(3, keepdim=True).square()), conv(3, 2)),
        lambda: Net(lambda x, c: c(x.max(2, keepdim=True).values.square()), conv(3, 2)),
    ],
    ids=["max pooling", "amax", "max"],
)
def test_what_loses_every_maximum_does_not_overflow(build: Build) -> None:
    # In float64 the square of these low values is finite.
    model = lively(build())
    assert worst_error(model, exact_padding(model), [(5, 7), CANVAS], CANVAS, dtype=torch.float32) < 1e-5


@pytest.mark.parametrize("resize", [{"scale_factor": 1.5}, {"scale_factor": (2, 0.7)}, {"size": (24, 40)}], ids=str)
def test_lines_of_one_height_are_resized_by_nearest_neighbours(resize: dict[str, Any]) -> None:
    model = lively(_resize(resize))
    exact = exact_padding(model, height=16)
    lines = torch.rand(2, 3, 16, 50, generator=torch.Generator().manual_seed(0))
    outputs = exact(lines, torch.tensor([37, 50], dtype=torch.int32))
    for line, output, width in zip(lines, outputs, (37, 50)):
        expected = model(line[None, :, :, :width])[0]
        assert torch.allclose(output[..., : expected.shape[-1]], expected, atol=1e-5)


def test_sizes_that_torch_resizes_as_no_whole_numbers_do_are_refused() -> None:
    model = Net(lambda x, c: c(F.interpolate(x, size=(15175, 8), mode="nearest-exact")), conv(3, 2))
    exact = exact_padding(model)
    assert exact.valid_output_sizes(torch.tensor([[5337, 20]])) is None
    with pytest.raises(SpecError, match=r"resizes 5338 entries to 15175, .* Take a smaller image"):
        exact.valid_output_sizes(torch.tensor([[5338, 20]]))
