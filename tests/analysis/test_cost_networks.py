"""FLOPs of five published networks, against torch's own count."""

import importlib.util

import pytest
import torch

from neuronkit import estimate

# On 1 × 3 × 64 × 64; counted by torch.utils.flop_counter of torch 2.9 on torchvision 0.24.
FLOPS = {
    "resnet18": 297_115_648,
    "vgg11": 1_469_382_656,
    "mobilenet_v3_small": 13_032_960,
    "densenet121": 464_601_088,
    "vit_b_32": 870_678_528,
}


@pytest.mark.torchvision
@pytest.mark.parametrize("name", FLOPS)
def test_flops_of_published_networks(name) -> None:
    import torchvision

    settings = {"image_size": 64} if name.startswith("vit") else {}
    network = getattr(torchvision.models, name)(weights=None, **settings).eval()
    images = torch.zeros(1, 3, 64, 64)
    flops = estimate(network, images, target="inf2").flops
    assert flops == FLOPS[name]
    if importlib.util.find_spec("torch.utils.flop_counter") is None:
        return
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # With gradients and the plain attention: torch does not count what the fused kernels of the CPU multiply.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(images)
    assert counter.get_total_flops() == flops
