"""A pipeline of another library on the stand-in of Inf2's SDK, with one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from neuronkit.integrations import huggingface
from tests.adapters.huggingface_models import lively, trocr

pytestmark = [pytest.mark.peers, pytest.mark.inf2]


def test_generate(install_double: Callable[..., Any], in_process: None) -> None:
    double, model = install_double("torch_neuronx"), lively(trocr(0), 2.0, 16.0)
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    expected = model.generate(pixel_values=images)
    huggingface.accelerate(model, target="inf2", batch_size=2, verify=False)
    assert torch.equal(model.generate(pixel_values=images), expected)
    assert {call["shapes"][0][0] for call in double.calls if "shapes" in call} == {2}
