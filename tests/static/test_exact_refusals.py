"""What would let padding into the result is refused, and the message names the node."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import neuronkit
from neuronkit.errors import SpecError, UnknownModelError
from neuronkit.static.exact import exact_padding

from .networks import Net, conv, lively


def _set_item(x: Tensor, c: nn.Module) -> Tensor:
    y = c(x)
    y[:, 0] = 1.0
    return y


def _in_place_through_a_view(x: Tensor, c: nn.Module) -> Tensor:
    y = c(x)
    y[:, :2].relu_()
    return y


def _branch_on_size(x: Tensor, c: nn.Module) -> Tensor:
    return c(x) if x.shape[2] > 20 else x


def _branch_on_value(x: Tensor, c: nn.Module) -> Tensor:
    return c(x) if x.sum() > 0 else x


def _loop_over_rows(x: Tensor, c: nn.Module) -> Tensor:
    return torch.stack([c(row[None]) for row in x])


class _Windows(nn.Module):
    """Its size falls where the image grows."""

    def __init__(self) -> None:
        super().__init__()
        self.c = conv(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(self.c(x)[:, :, : 100 - x.shape[2]], self.c.weight[:, :1].repeat(1, 4, 1, 1), padding=1)


Function = Callable[..., Tensor]

# What the network computes → (it, a part of the node's name, a part of the reason).
FUNCTIONS: dict[str, tuple[Function, str, str]] = {
    "flattened map": (lambda x, c: c(x).flatten(1), "flatten", "pool them first"),
    "tokens": (lambda x, c: c(x).flatten(2).transpose(1, 2), "flatten", "pool them first"),
    "flattened by view": (lambda x, c: c(x).view(x.size(0), -1), "view", "regroups height or width"),
    "weights for every column": (lambda x, c: F.linear(c(x), torch.ones(5, 40)), "linear", "every entry"),
    "attention by hand": (lambda x, c: torch.matmul(c(x), c(x).transpose(2, 3)), "matmul", "multiplies matrices"),
    "einsum": (lambda x, c: torch.einsum("nchw,nchw->nc", c(x), c(x)), "einsum", "not a known operator"),
    "sampling": (
        lambda x, c: F.grid_sample(c(x), c(x)[:, :2].permute(0, 2, 3, 1), align_corners=False),
        "grid_sample",
        "not a known operator",
    ),
    "unfolding": (lambda x, c: F.unfold(c(x), 3), "unfold", "not a known operator"),
    "mean over all": (lambda x, c: c(x) - c(x).mean(), "mean", "mixes the rows"),
    "mean over the batch": (lambda x, c: c(x) - c(x).mean((0, 2, 3), keepdim=True), "mean", "mixes the rows"),
    "variance": (lambda x, c: c(x).var((2, 3)), "var", "not known here"),
    "rolled": (lambda x, c: torch.roll(c(x), 1, 2), "roll", "along a dimension that varies"),
    "mirrored": (lambda x, c: c(x).flip(3), "flip", "along a dimension that varies"),
    "counted": (lambda x, c: torch.cumsum(c(x), 3), "cumsum", "along a dimension that varies"),
    "side by side": (lambda x, c: torch.cat([c(x), c(x)], 3), "cat", "puts padding between"),
    "tiled": (lambda x, c: c(x).repeat(1, 1, 2, 1), "repeat", "repeats a dimension"),
    "last column": (lambda x, c: c(x)[..., -1], "getitem", "counted from the end"),
    "first image": (lambda x, c: c(x)[0], "getitem", "batch"),
    "one half": (lambda x, c: c(x)[:, :, x.shape[2] // 2 :], "getitem", "depends on the size"),
    "second of two halves": (lambda x, c: c(x).chunk(2, 2)[1], "chunk", "splits the batch"),
    "centred": (lambda x, c: F.pad(c(x), (0, 0, x.shape[2] // 2, 0)), "pad", "depends on the size"),
    "positions": (lambda x, c: c(x) + torch.ones(1, 4, 40, 40), "add", "with a fixed one"),
    "size as a factor": (lambda x, c: c(x) * x.shape[2], "mul", "size of a map"),
    "mean by hand": (lambda x, c: c(x).sum((2, 3)) / (x.shape[2] * x.shape[3]), "truediv", "size of a map"),
    "spread over a size": (lambda x, c: c(x).mean((2, 3)).view(-1, x.shape[2]), "view", "varies"),
    "squeezed": (lambda x, c: c(x).squeeze(), "squeeze", "for some inputs only"),
    "batch last": (lambda x, c: c(x).permute(1, 2, 3, 0).sum(1), "sum", "first dimension is not the batch"),
    "height on width": (lambda x, c: c(x) + c(x).transpose(2, 3), "add", "follows the height"),
    "never equal": (lambda x, c: c(x) + c(x)[:, :, 1:], "add", "differ for every size"),
    "antialiasing": (
        lambda x, c: F.interpolate(c(x), scale_factor=0.5, mode="bilinear", antialias=True),
        "interpolate",
        "antialiasing",
    ),
    "areas of a varying number": (
        lambda x, c: F.interpolate(c(x), scale_factor=0.5, mode="area"),
        "interpolate",
        "averages over a number of areas",
    ),
    "log of shares": (lambda x, c: c(x).log_softmax(3), "log_softmax", "size that varies"),
    "random": (lambda x, c: F.dropout(c(x), training=True), "dropout", "at random"),
    "batch statistics": (
        lambda x, c: F.batch_norm(c(x), None, None, training=True),
        "batch_norm",
        "statistics of the whole batch",
    ),
    "assignment": (_set_item, "setitem", "not a known operator"),
    "in place through a view": (_in_place_through_a_view, "relu_", "changes in place"),
}

LAYERS: dict[str, tuple[nn.Module, str]] = {
    "indices": (nn.MaxPool2d(2, return_indices=True), "returns indices"),
    "areas": (nn.AdaptiveMaxPool2d(3), "number of areas"),
    "fixed norm": (nn.LayerNorm((4, 40, 40)), "of a fixed size"),
    "statistics of the batch": (nn.BatchNorm2d(4, track_running_stats=False), "statistics of the whole batch"),
    "fractional pooling": (nn.FractionalMaxPool2d(2, output_ratio=0.5), "not a known operator"),
    "fold": (nn.Unfold(3), "not a known operator"),
    "one-dimensional": (nn.Flatten(2), "pool them first"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    function, node, reason = FUNCTIONS[name]
    with pytest.raises(SpecError, match=f"node '{node}.*{re.escape(reason)}") as caught:
        exact_padding(lively(Net(function, conv(3, 4))))
    assert "cannot rewrite Net" in str(caught.value)


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    layer, reason = LAYERS[name]
    with pytest.raises(SpecError, match=f"module '1'.*{reason}"):
        exact_padding(lively(nn.Sequential(conv(3, 4), layer)))


def test_attention_layers() -> None:
    def forward(x: Tensor, c: nn.Module, a: nn.Module) -> Tensor:
        y = c(x).permute(0, 2, 3, 1)
        return a(y, y, y)[0]

    with pytest.raises(SpecError, match=r"module 'layers\.1'.*not a known operator"):
        exact_padding(lively(Net(forward, conv(3, 4), nn.MultiheadAttention(4, 2))))


@pytest.mark.parametrize("function", [_branch_on_size, _branch_on_value, _loop_over_rows])
def test_python_that_depends_on_the_input(function: Function) -> None:
    with pytest.raises(
        SpecError, match=r"(?s)cannot follow Net.*\(in its forward, .*refusals\.py:\d+\).*no Python branch"
    ):
        exact_padding(lively(Net(function, conv(3, 4))))


def test_the_module_that_cannot_be_followed_is_named() -> None:
    with pytest.raises(SpecError, match=r"cannot follow Sequential.*in '1'"):
        exact_padding(lively(nn.Sequential(conv(3, 3), Net(_branch_on_size, conv(3, 3)))))


def test_positions_made_from_a_size() -> None:
    # torch 1.13 takes no symbol for the number, newer releases record the call.
    with pytest.raises(SpecError, match="arange"):
        exact_padding(Net(lambda x, c: c(x) * torch.arange(x.shape[3]), conv(3, 4)))


def test_a_second_input() -> None:
    class Two(nn.Module):
        def forward(self, images: Tensor, boxes: Tensor) -> Tensor:
            return images + boxes

    with pytest.raises(SpecError, match="called with images alone"):
        exact_padding(Two())


def test_an_output_that_is_no_tensor() -> None:
    with pytest.raises(SpecError, match="only tensors"):
        exact_padding(Net(lambda x, c: (c(x), "label"), conv(3, 4)))


def test_sizes_that_fall_where_the_image_grows() -> None:
    with pytest.raises(SpecError, match="smaller output for some larger inputs"):
        exact_padding(_Windows())


def test_a_function_of_the_users_own_is_not_trusted_for_its_name() -> None:
    def relu(x: Tensor) -> Tensor:
        return x.flip(2)

    class Own(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return OWN(x)

    OWN = torch.fx._symbolic_trace._create_wrapped_func(relu)
    with pytest.raises(SpecError, match="not a known operator"):
        exact_padding(Own())


class LightningModule(nn.Module):
    """Stands for Lightning's class of that name."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @property
    def trainer(self) -> None:
        raise RuntimeError("not attached to a Trainer")


class _System(LightningModule):
    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) if self.trainer else x


class WindowAttention(nn.Module):
    """Stands for the classes of that name: attention within the cells of a grid."""

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        return x.view(b, c, h // 7, 7, w // 7, 7).softmax(-1).view(b, c, h, w)


class ModulatedDeformConvPack(nn.Module):
    """Stands for the classes of that name, of which EasyOCR's DBNet is made: it samples where it is told to."""

    def forward(self, x: Tensor) -> Tensor:
        places = x.new_zeros(x.shape[0], x.shape[2], x.shape[3], 2)
        return F.grid_sample(x, places, align_corners=False)


def test_deformable_convolutions_are_refused_by_name() -> None:
    dbnet = nn.Sequential(conv(3, 4), ModulatedDeformConvPack())
    message = "deformable convolutions sample where they are told to.*EasyOCR's detect_network='dbnet18'"
    with pytest.raises(SpecError, match=message):
        exact_padding(dbnet)
    with pytest.raises(UnknownModelError, match=f"Sequential is of no known family.*{message}"):
        neuronkit.make_static(dbnet)


def test_refusals_say_the_way_out() -> None:
    with pytest.raises(SpecError, match=r"cannot follow _System.*LightningModule.*give that, model\.model"):
        exact_padding(_System(conv(3, 4)))
    with pytest.raises(SpecError, match=r"Window attention.*compile each size.*neuronkit\.Buckets"):
        exact_padding(nn.Sequential(conv(3, 4), WindowAttention()))
    with pytest.raises(SpecError, match=r"Leave this part out of the module, or compile each size.*Buckets"):
        exact_padding(nn.Sequential(conv(3, 4), nn.Flatten(2)))
    exact_padding(LightningModule(conv(3, 4)).model)
