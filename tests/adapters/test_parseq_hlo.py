"""What torch-xla makes of PARSeq: the static graphs against the dynamic model, unrolled as a trace unrolls it."""

from collections import Counter

import pytest
import torch
from torch import nn

from neuronkit import StaticPARSeq, analyze
from neuronkit.models import PARSeq


def dynamic_instructions(model: nn.Module, length: int) -> Counter[str]:
    import re

    import torch_xla

    device = torch_xla.device()
    model, images = model.to(device), torch.zeros(1, 3, 32, 128).to(device)
    torch_xla.sync()
    with torch.no_grad():
        text = torch_xla._XLAC._get_xla_tensors_hlo([model(images, length)])
    return Counter(re.findall(r"= \S+ ([a-z][\w-]*)\(", text))


@pytest.mark.xla
@pytest.mark.slow
def test_static_graphs_hold_less_than_half_of_the_dynamic_models_instructions_and_no_scatter() -> None:
    model = PARSeq(94, max_label_length=25).eval()
    static = analyze(StaticPARSeq(model), target="xla").instructions
    dynamic = dynamic_instructions(model, 25)
    assert dynamic["scatter"] > 0
    assert "scatter" not in static
    assert 2 * sum(static.values()) <= sum(dynamic.values())
