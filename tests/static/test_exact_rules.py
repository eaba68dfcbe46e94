"""What a rule is given."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neuronkit.static.exact import exact_padding
from neuronkit.static.exact.rules import registry

from .networks import Net


@pytest.mark.usefixtures("registries")
def test_settings_of_modules_and_functions_look_alike() -> None:
    seen = []

    @registry.rule("max_pool2d", modules=[nn.MaxPool2d])
    def watch(call: object, kernel_size: object, stride: object = None, ceil_mode: bool = False) -> None:
        seen.append((kernel_size, stride, ceil_mode))
        raise RuntimeError("seen")

    for layer in (
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Net(lambda x: torch.nn.functional.max_pool2d(x, 3, stride=2, ceil_mode=True)),
    ):
        with pytest.raises(RuntimeError, match="seen"):
            exact_padding(nn.Sequential(layer))
    assert seen == [(3, 2, True)] * 2
