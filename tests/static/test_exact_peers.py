"""Networks of timm and docTR, with random weights and lively statistics."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from neuronkit.errors import SpecError
from neuronkit.static.exact import exact_padding

from .networks import lively, worst_error

pytestmark = [pytest.mark.peers, pytest.mark.inf2]

# SAME padding, standardised kernels, both, and the stem of PP-OCR's backbone.
NAMES = (
    "tf_efficientnetv2_b0", "tf_mobilenetv3_small_100", "tf_mixnet_s", "resnetv2_50x1_bit", "nf_resnet26",
    "dm_nfnet_f0", "hgnetv2_b0",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_timm(name: str) -> None:
    import timm

    torch.manual_seed(0)
    model = lively(timm.create_model(name, pretrained=False))
    exact = exact_padding(model)
    assert worst_error(model, exact, [(70, 90), (97, 65)], (101, 97), dtype=torch.float32) <= 5e-6


def test_window_attention_of_timm() -> None:
    import timm

    with pytest.raises(SpecError, match=r"Window attention.*neuronkit\.Buckets"):
        exact_padding(timm.create_model("swin_tiny_patch4_window7_224", pretrained=False))


def _detector(**settings: Any) -> torch.nn.Module:
    from doctr.models.detection import db_mobilenet_v3_large

    torch.manual_seed(0)
    return lively(db_mobilenet_v3_large(pretrained=False, pretrained_backbone=False, **settings))


def test_detectors_of_doctr() -> None:
    with pytest.raises(SpecError, match="made with exportable=True"):
        exact_padding(_detector())
    model = _detector(exportable=True)
    assert worst_error(model, exact_padding(model), [(64, 96), (96, 64)], (96, 128), dtype=torch.float32) <= 5e-6
