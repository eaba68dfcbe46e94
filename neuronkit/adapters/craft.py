"""CRAFT in a fixed shape: on a padded canvas it computes what it would compute on the image alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuronkit.adapters.registry import Family
from neuronkit.errors import SpecError
from neuronkit.specs import TensorSpec
from neuronkit.static import ops
from neuronkit.static.model import StaticModel

STRIDE = 32
SCORE_STRIDE = 2


@dataclass(frozen=True)
class CRAFTOptions:
    """The canvas.

    Args:
        height: Of the canvas, in pixels.
        width: Of the canvas, in pixels.

    Raises:
        SpecError: If the canvas is smaller than the network's stride.
    """

    height: int
    width: int

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < STRIDE:
                raise SpecError(f"{name}={value!r}: expected a number of pixels, at least {STRIDE}, CRAFT's stride")


class StaticCRAFT(StaticModel):
    """CRAFT on a canvas of fixed size, exact inside the valid area of each row.

    Takes `neuronkit.models.CRAFT` and the public implementations. Called with images (N, 3, H, W), each at the top left
    of its canvas, and valid_size (N, 2) int32, (height, width) in pixels, it gives score maps (N, H/2, W/2, 2), channel
    0 region and 1 affinity, and features (N, C, H/2, W/2). What lies on the canvas outside the valid area, has no
    influence; outputs are zero there.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        height: Of the canvas, in pixels.
        width: Of the canvas, in pixels.

    Raises:
        SpecError: If the canvas is smaller than CRAFT's stride.
    """

    family = "craft"

    def __init__(self, model: nn.Module, *, batch_size: int = 1, height: int, width: int) -> None:
        self.options = CRAFTOptions(height, width)
        super().__init__(model, ())
        dtype = next(self.source.parameters()).dtype
        self.specs = (
            TensorSpec("images", (batch_size, 3, height, width), dtype),
            TensorSpec("valid_size", (batch_size, 2), "int32"),
        )

    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        return {"craft": _MaskedCRAFT(source, self.options.height, self.options.width)}

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        return {"craft": self.specs}

    def run_original(self, source: nn.Module, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Run the original on each row's valid area alone, and paste what it gives into zeros of the canvas's size."""
        images, valid_size = inputs
        pasted: list[Tensor] = []
        for row, (height, width) in enumerate(valid_size.tolist()):
            scores, features = source(images[row : row + 1, :, :height, :width])
            scores = scores.permute(0, 3, 1, 2)
            if not pasted:
                size = (images.shape[2] // SCORE_STRIDE, images.shape[3] // SCORE_STRIDE)
                pasted = [images.new_zeros(len(images), t.shape[1], *size, dtype=t.dtype) for t in (scores, features)]
            for canvas, output in zip(pasted, (scores, features)):
                canvas[row, :, : output.shape[2], : output.shape[3]] = output[0]
        return pasted[0].permute(0, 2, 3, 1), pasted[1]

    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Random images, each valid up to a random multiple of 32 in both directions."""
        images = self.specs[0].example(seed)
        generator = torch.Generator().manual_seed(seed + 1)
        steps = [torch.randint(1, size // STRIDE + 1, (len(images),), generator=generator) for size in images.shape[2:]]
        return images, (torch.stack(steps, dim=1) * STRIDE).to(torch.int32)

    def valid_output_sizes(self, valid_size: Tensor) -> tuple[Tensor, Tensor]:
        """Size of the valid area of each output: (N, 2) int32 (height, width) for (N, 2) valid sizes."""
        return valid_size // SCORE_STRIDE, valid_size // SCORE_STRIDE

    def meaningful(self, outputs: Any, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The outputs with everything outside the valid area set to zero."""
        scores, features = outputs
        valid = self.valid_output_sizes(inputs[1].to(scores.device))[0]
        rows = torch.arange(features.shape[2], device=scores.device) < valid[:, :1]
        columns = torch.arange(features.shape[3], device=scores.device) < valid[:, 1:]
        inside = rows[:, :, None] & columns[:, None, :]
        zero = scores.new_zeros(())
        return torch.where(inside[..., None], scores, zero), torch.where(inside[:, None], features, zero)


class _MaskedCRAFT(nn.Module):
    """CRAFT's own operators, each fed with what it would see on the image alone.

    Args:
        model: Any CRAFT; its layers are shared.
        height: Of the canvas, in pixels.
        width: Of the canvas, in pixels.
    """

    def __init__(self, model: Any, height: int, width: int) -> None:
        super().__init__()
        self.model = model
        device = next(model.parameters()).device
        for name, size in (("rows", height), ("columns", width)):
            self.register_buffer(name, torch.arange(size, dtype=torch.int32, device=device), persistent=False)

    def forward(self, images: Tensor, valid_size: Tensor) -> tuple[Tensor, Tensor]:
        levels = [self._level(images, valid_size, stride) for stride in (1, 2, 4, 8, 16)]
        # Garbage may be infinite, which zero times it is not; everything after this is finite.
        x = torch.where(levels[0].inside, images, torch.zeros_like(images))
        net = self.model.basenet
        skips = []
        level = 0
        for layers in (net.slice1, net.slice2, net.slice3, net.slice4, net.slice5):
            for layer in layers:
                if isinstance(layer, nn.ReLU):
                    x = F.relu(x)
                elif isinstance(layer, nn.MaxPool2d):
                    # 2x2 windows with stride 2 never reach over the border; those with padding do.
                    if layer.padding == 0:
                        x, level = ops.max_pool(x, (2, 2), (2, 2)), level + 1
                    else:
                        x = self._padded_pool(layer, x, levels[level])
                else:
                    x = self._layer(layer, x, levels[level])
            skips.append(x)
        # The published slices begin with a ReLU that works in place, and so rewrites the skip before them.
        skips[:3] = [F.relu(skip) for skip in skips[:3]]
        y = self._decode(self.model.upconv1, torch.cat([skips[4], skips[3]], dim=1), levels[4])
        for step, upconv in enumerate((self.model.upconv2, self.model.upconv3, self.model.upconv4)):
            fine, coarse = levels[3 - step], levels[4 - step]
            y = ops.resize(y, _upsampling(coarse.rows, fine.rows), _upsampling(coarse.columns, fine.columns))
            y = self._decode(upconv, torch.cat([y, skips[2 - step]], dim=1), fine)
        scores = y
        for layer in self.model.conv_cls:
            scores = F.relu(scores) if isinstance(layer, nn.ReLU) else self._layer(layer, scores, levels[1])
        mask = levels[1].mask
        return (scores * mask).permute(0, 2, 3, 1), y * mask

    def _level(self, images: Tensor, valid_size: Tensor, stride: int) -> _Level:
        """Entry y exists where stride * (y + 1) rows do: the floor of a division, without dividing."""
        height, width = images.shape[2] // stride, images.shape[3] // stride
        rows = valid_size[:, :1] >= (self.rows[:height] + 1) * stride  # type: ignore[index]
        columns = valid_size[:, 1:] >= (self.columns[:width] + 1) * stride  # type: ignore[index]
        return _Level(rows.to(images.dtype), columns.to(images.dtype))

    def _padded_pool(self, pool: Any, x: Tensor, level: _Level) -> Tensor:
        lowest = -1e30 if x.dtype != torch.float16 else -6e4
        # Finite, unlike -inf: a product with the next mask makes it zero.
        x = x * level.mask + (1 - level.mask) * lowest
        x = torch.constant_pad_nd(x, [pool.padding] * 4, lowest)
        return ops.max_pool(x, (pool.kernel_size,) * 2, (pool.stride,) * 2)

    def _decode(self, upconv: Any, x: Tensor, level: _Level) -> Tensor:
        for layer in upconv.conv:
            x = F.relu(x) if isinstance(layer, nn.ReLU) else self._layer(layer, x, level)
        return x

    def _layer(self, layer: nn.Module, x: Tensor, level: _Level) -> Tensor:
        if isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1):
            x = x * level.mask
        return layer(x)  # type: ignore[no-any-return]


class _Level:
    """Which entries are valid at one stride.

    Args:
        rows: (N, H) 1 where valid.
        columns: (N, W) 1 where valid.
    """

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        self.rows = rows
        self.columns = columns
        self.mask = (rows[:, :, None] * columns[:, None, :])[:, None]
        self.inside = self.mask > 0


def _upsampling(coarse: Tensor, fine: Tensor) -> Tensor:
    """Interpolation matrix (N, F, C) from the valid entries of (N, C) to those of (N, F)."""
    coarse_size = coarse.sum(1, keepdim=True).to(torch.float32)
    fine_size = fine.sum(1, keepdim=True).to(torch.float32)
    positions = torch.arange(coarse.shape[1], dtype=torch.float32, device=coarse.device)
    targets = torch.arange(fine.shape[1], dtype=torch.float32, device=coarse.device)
    source = (targets + 0.5) * (coarse_size / fine_size.clamp(min=1.0)) - 0.5
    return ops.bilinear_matrix(source, coarse_size, positions).to(coarse.dtype)


def matches(model: nn.Module) -> bool:
    """Whether the model has CRAFT's parts."""
    basenet = getattr(model, "basenet", None)
    return (
        isinstance(basenet, nn.Module)
        and all(isinstance(getattr(basenet, f"slice{i}", None), nn.Sequential) for i in range(1, 6))
        and all(isinstance(getattr(model, f"upconv{i}", None), nn.Module) for i in range(1, 5))
        and isinstance(getattr(model, "conv_cls", None), nn.Sequential)
    )


def _build(model: nn.Module, *, batch_size: int, options: CRAFTOptions) -> StaticCRAFT:
    return StaticCRAFT(model, batch_size=batch_size, height=options.height, width=options.width)


FAMILY = Family(
    name="craft",
    class_names=(
        "neuronkit.models.craft.CRAFT",
        "craft.CRAFT",
        "easyocr.craft.CRAFT",
        "craft_text_detector.models.craftnet.CraftNet",
        "hezar.models.text_detection.craft.craft_text_detection.CraftTextDetection",
    ),
    matches=matches,
    options=CRAFTOptions,
    build=_build,
)
