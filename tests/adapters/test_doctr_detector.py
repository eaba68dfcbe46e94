"""docTR's detectors on a canvas give what docTR's detectors give for each image alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import neuronkit
from neuronkit import DoctrDetectorOptions
from neuronkit.errors import SpecError
from neuronkit.testing import PaddedConformance
from tests.static.networks import lively

pytestmark = pytest.mark.peers
NAMES = [
    "db_resnet34", "db_resnet50", "db_mobilenet_v3_large", "linknet_resnet18", "linknet_resnet34", "linknet_resnet50",
    "fast_tiny", "fast_small", "fast_base",
]  # fmt: skip


def detector(name: str, **settings: bool) -> nn.Module:
    from doctr.models import detection

    torch.manual_seed(0)
    return lively(getattr(detection, name)(pretrained=False, pretrained_backbone=False, **settings))


class TestDetector(PaddedConformance):
    batch_size = 2
    seeds = (0, 1)
    options = DoctrDetectorOptions(96, 128)

    def make_model(self) -> nn.Module:
        return detector("db_mobilenet_v3_large")


class TestRawDetector(TestDetector):
    options = DoctrDetectorOptions(96, 128, raw_images=True)


def test_bytes_give_the_bits_that_doctr_gives() -> None:
    from doctr.models.detection.zoo import detection_predictor

    model = detector("db_mobilenet_v3_large")
    static = neuronkit.make_static(model, options=DoctrDetectorOptions(1024, 1024, raw_images=True))
    image = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), np.uint8)
    ((normalised,),) = detection_predictor(model, pretrained=False).pre_processor([image])
    levels = torch.from_numpy(image).permute(2, 0, 1)[None]
    assert torch.equal(static.normalized((levels, torch.tensor([[1024, 1024]])))[0][0], normalised)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_architecture_in_both_forms(name: str) -> None:
    model = detector(name).double()
    static = neuronkit.make_static(model, batch_size=2, options=DoctrDetectorOptions(96, 128))
    inputs = static.example_inputs(1)
    expected = static.reference(*inputs)
    model.exportable = True  # type: ignore[assignment]
    with torch.no_grad():
        assert float((static(*inputs) - expected).abs().max()) <= 1e-12
        assert float((static.reference(*inputs) - expected).abs().max()) <= 1e-12


def test_canvases_that_are_none() -> None:
    with pytest.raises(SpecError, match="got height=100; expected a multiple of 32"):
        DoctrDetectorOptions(100, 128)
