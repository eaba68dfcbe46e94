"""CRAFT, the character-region text detector (Baek et al., arXiv 1904.01941).

Parameter names and shapes, and so the state dict, are those of clovaai/CRAFT-pytorch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuronkit import checks, tensors

# VGG-16 with batch norm, as torchvision numbers its layers; "M" is a 2x2 max pool.
_VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)
# Each slice ends after a batch norm, before its ReLU.
_SLICE_BOUNDS = ((0, 12), (12, 19), (19, 29), (29, 39))
# 83 million parameters.
WIDEST = 2.0


class CRAFT(nn.Module):
    """Scores every pixel of an image for being in a character, and between two characters of a word.

    Args:
        width: Multiplies every channel count but the two of the score map, above 0 and at most 2; 1.0 is the published
            model.

    Raises:
        OptionError: If the width is no such number.

    Examples:
        >>> scores, features = neuronkit.CRAFT(width=0.1).eval()(torch.zeros(1, 3, 64, 96))
        >>> scores.shape
        torch.Size([1, 32, 48, 2])
    """

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__()
        width = checks.number("width", width, 0, WIDEST, open_low=True)

        def ch(channels: int) -> int:
            return max(1, round(channels * width))

        self.basenet = _VGG(width)
        self.upconv1 = _DoubleConv(ch(1024) + ch(512), ch(512), ch(256))
        self.upconv2 = _DoubleConv(ch(256) + ch(512), ch(256), ch(128))
        self.upconv3 = _DoubleConv(ch(128) + ch(256), ch(128), ch(64))
        self.upconv4 = _DoubleConv(ch(64) + ch(128), ch(64), ch(32))
        self.conv_cls = nn.Sequential(
            nn.Conv2d(ch(32), ch(32), 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(ch(32), ch(32), 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(ch(32), ch(16), 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(ch(16), ch(16), 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(ch(16), 2, 1),
        )
        self.apply(_init_weights)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Score a batch of images.

        Args:
            images: (N, 3, H, W) float32, RGB, normalised as by `CraftProcessor`. H and W are multiples of 32
                where the score maps are to be exactly half the image's size.

        Returns:
            Score maps (N, H/2, W/2, 2) float32, channel 0 the region score and 1 the affinity score,
            and the features (N, 32 * width, H/2, W/2) float32 they were computed from.

        Raises:
            SpecError: If the images are not a tensor of that kind, or smaller than 16 pixels in a direction.
        """
        images = tensors.model_input("images", images, self, (None, 3, None, None), smallest=16)
        fc7, *skips = reversed(self.basenet(images))
        y = self.upconv1(torch.cat([fc7, skips[0]], dim=1))
        for upconv, skip in zip((self.upconv2, self.upconv3, self.upconv4), skips[1:]):
            y = F.interpolate(y, size=skip.size()[2:], mode="bilinear", align_corners=False)
            y = upconv(torch.cat([y, skip], dim=1))
        return self.conv_cls(y).permute(0, 2, 3, 1), y


class _VGG(nn.Module):
    """The encoder: five slices, each output a skip connection of the decoder."""

    def __init__(self, width: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        in_channels = 3
        for item in _VGG16:
            if isinstance(item, str):
                layers.append(nn.MaxPool2d(2, 2))
                continue
            out_channels = max(1, round(item * width))
            # In place on purpose: a slice's first ReLU rewrites the skip that the slice before it returned,
            # and the published weights were trained with the skips rewritten.
            layers += [
                nn.Conv2d(in_channels, out_channels, 3, padding=1),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(inplace=True),
            ]
            in_channels = out_channels
        for number, (begin, end) in enumerate(_SLICE_BOUNDS, start=1):
            named = nn.Sequential()
            for index in range(begin, end):
                named.add_module(str(index), layers[index])
            self.add_module(f"slice{number}", named)
        fc = max(1, round(1024 * width))
        self.slice5 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),
            nn.Conv2d(in_channels, fc, 3, padding=6, dilation=6),
            nn.Conv2d(fc, fc, 1),
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = []
        for name in ("slice1", "slice2", "slice3", "slice4", "slice5"):
            x = getattr(self, name)(x)
            outputs.append(x)
        return outputs


class _DoubleConv(nn.Module):
    def __init__(self, in_channels: int, mid_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, mid_channels, 1),
            nn.BatchNorm2d(mid_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(mid_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
