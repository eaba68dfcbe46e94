"""CRAFT's link refiner: a small network that looks at CRAFT's scores and features, and links characters anew.

Parameter names and shapes, and so the state dict, are those of clovaai/CRAFT-pytorch's `RefineNet`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import checks, tensors
from neuronkit.errors import OptionError, SpecError
from neuronkit.models.craft import WIDEST
from neuronkit.shown import shown

# How far apart the four branches look, in pixels of the score map.
_DILATIONS = (6, 12, 18, 24)


class LinkRefiner(nn.Module):
    """Scores anew, from what CRAFT gives, every pixel for being between two characters of one line.

    Args:
        width: Of the CRAFT whose features it reads; 1.0 is the published model.

    Raises:
        OptionError: If the width is not a number above 0 and at most 2.

    Examples:
        >>> refiner = neuronkit.models.LinkRefiner(width=0.1).eval()
        >>> refiner(torch.zeros(1, 32, 48, 2), torch.zeros(1, 3, 32, 48)).shape
        torch.Size([1, 32, 48, 1])
    """

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__()
        width = checks.number("width", width, 0, WIDEST, open_low=True)
        features, middle, wide = (max(1, round(channels * width)) for channels in (32, 64, 128))
        self.last_conv = nn.Sequential(
            *_conv(2 + features, middle, 3, 1), *_conv(middle, middle, 3, 1), *_conv(middle, middle, 3, 1)
        )
        self.feature_count = features
        for number, dilation in enumerate(_DILATIONS, start=1):
            branch = nn.Sequential(
                *_conv(middle, wide, 3, dilation), *_conv(wide, wide, 1, 1), nn.Conv2d(wide, 1, kernel_size=1)
            )
            self.add_module(f"aspp{number}", branch)

    def forward(self, score_maps: Tensor, features: Tensor) -> Tensor:
        """Score a batch of images.

        Args:
            score_maps: (N, H, W, 2) float32, as CRAFT gives them.
            features: (N, 32 * width, H, W) float32, likewise.

        Returns:
            (N, H, W, 1) float32, the affinity score.

        Raises:
            SpecError: If they are no such tensors.
        """
        score_maps = tensors.model_input("score_maps", score_maps, self, (None, None, None, 2))
        # Nothing is checked while torch traces, and sizes are not numbers then.
        sizes = tuple(score_maps.shape[:3]) if isinstance(score_maps, Tensor) else (None,) * 3
        shape = sizes[0], self.feature_count, sizes[1], sizes[2]
        features = tensors.model_input("features", features, self, shape)
        seen = self.last_conv(torch.cat([score_maps.permute(0, 3, 1, 2), features], dim=1))
        first, *others = (branch(seen) for name, branch in self.named_children() if name != "last_conv")
        return sum(others, start=first).permute(0, 2, 3, 1)  # type: ignore[no-any-return]


class RefinedCRAFT(nn.Module):
    """CRAFT and its link refiner as one detector, in the family of CRAFT.

    Its score maps are CRAFT's with the refiner's affinity, all that `find_boxes` and `CraftProcessor` read. clovaai
    takes polygons of them: ``CraftProcessor.like("clovaai", polygons=True)``.

    Args:
        craft: `CRAFT`, or a published implementation that gives score maps and features.
        refiner: `LinkRefiner`, or clovaai's `RefineNet`.

    Raises:
        OptionError: If one is not a module.

    Examples:
        >>> craft, refiner = neuronkit.CRAFT(width=0.1), neuronkit.models.LinkRefiner(width=0.1)
        >>> model = neuronkit.models.RefinedCRAFT(craft, refiner)
        >>> neuronkit.make_static(model, options=neuronkit.CRAFTOptions(64, 96)).specs[0].shape
        (1, 3, 64, 96)
    """

    def __init__(self, craft: nn.Module, refiner: nn.Module) -> None:
        super().__init__()
        self.craft = tensors.module("craft", craft, error=OptionError)
        self.refiner = tensors.module("refiner", refiner, error=OptionError)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Score a batch of images.

        Args:
            images: As CRAFT takes them.

        Returns:
            Score maps (N, H/2, W/2, 2) float32, channel 0 the region score and 1 the refined affinity score, and
            CRAFT's features.

        Raises:
            SpecError: If the images are not such, or the CRAFT gives no features.
        """
        outputs: Any = self.craft(images)
        if isinstance(outputs, Mapping):
            raise SpecError(
                f"got {shown(outputs)} from craft; expected score maps and features, which the refiner reads; give an "
                "implementation that returns both, such as neuronkit.CRAFT"
            )
        score_maps, features = outputs[0], outputs[1]
        return torch.cat([score_maps[..., :1], self.refiner(score_maps, features)], dim=3), features


def _conv(in_channels: int, out_channels: int, kernel: int, dilation: int) -> list[nn.Module]:
    padding = dilation if kernel > 1 else 0
    return [
        nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]
