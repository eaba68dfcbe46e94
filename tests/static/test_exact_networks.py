"""Networks of torchvision, with random weights and lively statistics, at random sizes and canvases."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronkit.errors import SpecError
from neuronkit.static.exact import exact_padding

from .networks import lively, random_images, tensors, worst_error

TOLERANCE = 5e-6

# Name → the smallest side of an image that the network takes.
CLASSIFIERS = {
    "resnet18": 33, "mobilenet_v3_small": 33, "densenet121": 33, "convnext_tiny": 33, "efficientnet_b0": 33,
    "shufflenet_v2_x1_0": 33, "googlenet": 33, "inception_v3": 80, "squeezenet1_0": 33, "vgg11_bn": 33, "alexnet": 64,
    "mnasnet0_5": 33, "regnet_y_400mf": 33, "mobilenet_v2": 33,
}  # fmt: skip
SEGMENTATION = {
    "fcn_resnet50": 33, "deeplabv3_resnet50": 33, "deeplabv3_mobilenet_v3_large": 33, "lraspp_mobilenet_v3_large": 33
}  # fmt: skip
# These are named by what the library promises; the others show how far it goes.
PROMISED = ("resnet18", "mobilenet_v3_small", "densenet121", "convnext_tiny", "fcn_resnet50", "deeplabv3_resnet50")


def build(name: str) -> Any:
    import torchvision

    torch.manual_seed(0)
    if name in SEGMENTATION:
        return lively(getattr(torchvision.models.segmentation, name)(weights=None, weights_backbone=None))
    settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return lively(getattr(torchvision.models, name)(weights=None, **settings))


@pytest.mark.torchvision
@pytest.mark.slow
@pytest.mark.parametrize("name", [*CLASSIFIERS, *SEGMENTATION])
def test_padded_equals_alone(name: str) -> None:
    model = build(name)
    exact = exact_padding(model)
    smallest = {**CLASSIFIERS, **SEGMENTATION}[name]
    side = st.integers(smallest, smallest + 70)

    @settings(max_examples=3, deadline=None, derandomize=True)
    @given(st.lists(st.tuples(side, side), min_size=2, max_size=2), st.integers(0, 30), st.integers(0, 1000))
    def check(sizes: list[tuple[int, int]], margin: int, seed: int) -> None:
        canvas = max(h for h, _ in sizes) + margin, max(w for _, w in sizes) + margin
        assert worst_error(model, exact, sizes, canvas, dtype=torch.float32, seed=seed) <= TOLERANCE

    check()


@pytest.mark.torchvision
@pytest.mark.parametrize("name", PROMISED)
def test_traces_to_operators_of_inf1(name: str, inf1_operators: frozenset[str]) -> None:
    exact = exact_padding(build(name))
    inputs = random_images([(64, 40), (33, 96)], (64, 96), dtype=torch.float32)
    with torch.no_grad():
        traced = torch.jit.trace(exact, inputs, check_trace=False, strict=False)
    assert {node.kind() for node in traced.inlined_graph.nodes()} <= inf1_operators


@pytest.mark.torchvision
@pytest.mark.xla
@pytest.mark.slow
@pytest.mark.parametrize("name", PROMISED)
def test_lowers_through_xla(name: str) -> None:
    import torch_xla

    device = torch_xla.device()
    exact = exact_padding(build(name))
    inputs = random_images([(64, 40), (33, 96)], (64, 96), dtype=torch.float32)
    with torch.no_grad():
        expected = tensors(exact(*inputs))
        outputs = tensors(exact.to(device)(*(tensor.to(device) for tensor in inputs)))
        hlo = torch_xla._XLAC._get_xla_tensors_hlo(outputs)
    assert "convolution" in hlo
    for unwanted in ("scatter", "custom-call", "gather", "while"):
        assert unwanted not in hlo
    for output, wanted in zip(outputs, expected):
        assert (output.cpu() - wanted).abs().max() <= TOLERANCE * wanted.abs().max()


@pytest.mark.torchvision
@pytest.mark.parametrize(("name", "node"), [("swin_t", "shifted_window_attention"), ("vit_b_32", "reshape")])
def test_transformers_are_refused_with_the_node(name: str, node: str) -> None:
    import torchvision

    with pytest.raises(SpecError, match=f"node '{node}"):
        exact_padding(getattr(torchvision.models, name)(weights=None))
