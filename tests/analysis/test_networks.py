"""Verdicts on networks of torchvision, checked by hand against the list of torch-neuron's operators."""

import pytest

from neuronkit.analysis import analyze
from neuronkit.specs import TensorSpec

# Network → operators of the traced graph, and what torch-neuron's list lacks.
VERDICTS = {
    "resnet18": (69, {}),
    "densenet121": (431, {}),
    "convnext_tiny": (184, {}),
    "mobilenet_v3_small": (157, {"aten::dropout_": 1, "aten::hardswish_": 19}),
    "efficientnet_b0": (240, {"aten::dropout_": 1, "aten::silu_": 49}),
    "swin_t": (1126, {"aten::index": 12, "aten::pad": 15}),
}


@pytest.mark.torchvision
@pytest.mark.slow
@pytest.mark.parametrize("name", VERDICTS)
def test_inf1_verdicts(name) -> None:
    from torchvision import models

    report = analyze(getattr(models, name)(weights=None), TensorSpec("images", (1, 3, 64, 64)), target="inf1")
    total, unsupported = VERDICTS[name]
    assert report.total == total
    assert report.unsupported == unsupported


@pytest.mark.torchvision
@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "swin_t"])
def test_inf2_takes_them_all(name) -> None:
    from torchvision import models

    report = analyze(getattr(models, name)(weights=None), TensorSpec("images", (1, 3, 64, 64)), target="inf2")
    assert report.problems == ()
