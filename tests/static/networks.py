"""Small networks, and the comparison of a padded run with runs on each image alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuronkit.static.exact import ExactPadding


class Net(nn.Module):
    """Computes a function of the images and of some layers."""

    def __init__(self, function: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *self.layers)


def conv(i: int, o: int, kernel: Any = 3, **settings: Any) -> nn.Conv2d:
    return nn.Conv2d(i, o, kernel, **{"padding": 1, **settings})


def between(*layers: nn.Module) -> nn.Sequential:
    """Layers between two convolutions, so that padding reaches them and what they let through shows."""
    return nn.Sequential(conv(3, 4), *layers, conv(4, 2))


class UNet(nn.Module):
    """A U-Net; `join` says how the decoder meets the skips."""

    def __init__(self, join: str, *, width: int = 6, depth: int = 3, pool: nn.Module | None = None) -> None:
        super().__init__()
        channels = [width * 2**i for i in range(depth + 1)]
        self.join = join
        self.first = _double(3, width)
        self.down = nn.ModuleList(_double(i, o) for i, o in itertools.pairwise(channels))
        self.pool = pool or nn.MaxPool2d(2)
        self.up = nn.ModuleList(_up(join, i, o) for i, o in zip(channels[:0:-1], channels[-2::-1]))
        self.merge = nn.ModuleList(_double(2 * o, o) for o in channels[-2::-1])
        self.last = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        skips = [x]
        for down in self.down:
            x = down(self.pool(x))
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1]):
            x = up(x)
            if self.join in ("bilinear", "nearest"):
                x = F.interpolate(x, size=skip.shape[-2:], mode=self.join)
            elif self.join in ("padded", "padded_upsample"):
                rows, columns = skip.size()[2] - x.size()[2], skip.size()[3] - x.size()[3]
                x = F.pad(x, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
            elif self.join == "cropped":
                skip = skip[:, :, : x.shape[2], : x.shape[3]]
            x = merge(torch.cat([skip, x], dim=1))
        return self.last(x)


def _double(i: int, o: int) -> nn.Sequential:
    return nn.Sequential(
        conv(i, o), nn.BatchNorm2d(o), nn.ReLU(inplace=True), conv(o, o), nn.BatchNorm2d(o), nn.ReLU(inplace=True)
    )


def _up(join: str, i: int, o: int) -> nn.Module:
    if join in ("bilinear", "nearest"):
        return nn.Conv2d(i, o, 1)
    if join == "padded_upsample":
        return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), nn.Conv2d(i, o, 1))
    return nn.ConvTranspose2d(i, o, 2, stride=2)


def lively(model: nn.Module, seed: int = 0) -> Any:
    """Give a model statistics and biases under which zeros do not stay zeros; in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.3, generator=generator)
            elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                if module.bias is not None:
                    module.bias.normal_(0, 0.1, generator=generator)
            elif isinstance(module, (nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm2d)) and module.weight is not None:
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.3, generator=generator)
    return model.eval()


def random_images(
    sizes: Sequence[tuple[int, int]], canvas: tuple[int, int], *, channels: int = 3, dtype: torch.dtype, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Random images (N, C, *canvas) and their valid sizes (N, 2) int32."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(len(sizes), channels, *canvas, generator=generator, dtype=torch.float64).to(dtype)
    return images, torch.tensor(sizes, dtype=torch.int32)


def soiled(images: Tensor, valid_size: Tensor) -> Tensor:
    """The images with NaN and infinity outside their valid areas."""
    images = images.clone()
    for row, (height, width) in enumerate(valid_size.tolist()):
        images[row, :, height:] = float("nan")
        images[row, :, :, width:] = float("inf")
    return images


def tensors(tree: Any) -> list[Tensor]:
    """The tensors of a structure, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    items = tree.values() if isinstance(tree, dict) else tree or ()
    return [tensor for item in items for tensor in tensors(item)]


def entries(tree: Any) -> list[Any]:
    """The entries of a structure, None among them, in order."""
    if tree is None or isinstance(tree, Tensor):
        return [tree]
    return [entry for item in (tree.values() if isinstance(tree, dict) else tree) for entry in entries(item)]


def worst_error(
    model: nn.Module,
    exact: ExactPadding,
    sizes: Sequence[tuple[int, int]],
    canvas: tuple[int, int],
    *,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> float:
    """Largest difference between a padded batch and each of its images alone, in units of the largest value."""
    images, valid_size = random_images(sizes, canvas, dtype=dtype, seed=seed)
    worst = 0.0
    with torch.no_grad():
        padded = tensors(exact(soiled(images, valid_size), valid_size))
        valid = entries(exact.valid_output_sizes(valid_size))
        assert all(torch.isfinite(output).all() for output in padded)
        for row, (height, width) in enumerate(sizes):
            alone = tensors(model(images[row : row + 1, :, :height, :width]))
            for output, area, expected in zip(padded, valid, alone, strict=True):
                inside = output[row : row + 1][tuple(slice(size) for size in expected.shape)]
                assert inside.shape == expected.shape
                # Outside the valid area there is nothing.
                assert torch.equal(output[row].count_nonzero(), inside.count_nonzero())
                if area is not None:
                    varying = [a for a, b in zip(expected.shape[1:], output.shape[1:]) if a != b]
                    assert set(varying) <= set(area[row].tolist()) <= set(expected.shape)
                largest = max(float(expected.abs().max()), 1e-30)
                worst = max(worst, float((inside.double() - expected.double()).abs().max()) / largest)
    return worst
