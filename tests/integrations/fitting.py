"""Random networks whose last layer is fitted, so that they find text where it is: in seconds, without gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def set_statistics(network: nn.Module, run: Callable[[], Any]) -> None:
    """Batch normalisation as after training on what `run` computes; otherwise random networks give much the same
    everywhere.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum, norm.training = None, True  # type: ignore[assignment]
            norm.reset_running_stats()
        run()
        for norm in norms:
            # Subtracting means far beyond the spread would cost digits, as in no trained network.
            norm.running_var.add_(norm.running_mean.square())  # type: ignore[union-attr,operator]
            norm.running_mean.zero_()  # type: ignore[union-attr,operator]
    network.eval()


def ink(images: Tensor) -> Tensor:
    """Where something is printed on normalised images (N, C, H, W): (N, 1, H, W), 0 or 1."""
    grey = images.mean(1, keepdim=True)
    edges = (grey - functional.avg_pool2d(grey, 5, 1, 2)).abs()
    return (functional.max_pool2d(edges, (5, 7), 1, (2, 3)) > 0.4).float()


def fit_last(layer: nn.Module, run: Callable[[], Any], targets: Tensor, low: float, high: float) -> None:
    """Set the weights of a last convolution, 1x1 or a transposed one that spreads each place, by least squares.

    Args:
        layer: It, within what `run` computes.
        run: Computes the network on the images of the targets.
        targets: (N, K, H, W) from 0 to 1, one for each channel that it gives.
        low: What the layer is to give where a target is 0.
        high: What it is to give where a target is 1.
    """
    seen: list[Tensor] = []
    watch = layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    with torch.no_grad():
        run()
        watch.remove()
        (features,) = seen
        small = functional.interpolate(targets, size=features.shape[2:], mode="area")
        columns = features.permute(0, 2, 3, 1).flatten(0, 2).double()
        bias: Any = layer.bias
        if bias is not None:
            columns = torch.cat([columns, torch.ones(len(columns), 1, dtype=torch.float64)], dim=1)
        wanted = (low + (high - low) * small).permute(0, 2, 3, 1).flatten(0, 2).double()
        square = columns.T @ columns
        square += 1e-2 * square.diagonal().mean() * torch.eye(len(square), dtype=torch.float64)
        solution = torch.linalg.solve(square, columns.T @ wanted).float()
        weight: Any = layer.weight
        transposed = isinstance(layer, nn.ConvTranspose2d)
        rows = solution[: features.shape[1]]
        weight.copy_((rows if transposed else rows.T)[..., None, None].expand(weight.shape))
        if bias is not None:
            bias.copy_(solution[-1])
