"""Layers on oneDNN's kernels: what a graph computes stays the same, whatever uses a layer's result."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from neuronkit import TensorSpec, compile_for_inferentia, load
from neuronkit.capture.tracing import trace
from neuronkit.static.ops import max_pool
from neuronkit.targets import onednn
from neuronkit.targets.onednn import reload, with_onednn

SPECS = (TensorSpec("images", (2, 8, 48, 40)), TensorSpec("mask", (2, 1, 48, 40)))


class Layers(nn.Module):
    """Two convolutions of one tensor, one that joins what they give, and what a test does with them."""

    def __init__(self, body: Callable[..., Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(8, 24, 3, padding=2, dilation=2), nn.Conv2d(8, 16, 3, padding=1, groups=2)
        self.joining = nn.Conv2d(40, 12, 1, bias=False)
        self.body = body

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        return self.body(self, images, mask)


def joined(m: Layers, x: Tensor, mask: Tensor) -> Tensor:
    return torch.relu(m.joining(torch.cat([torch.relu(m.first(x)), m.second(x)], 1)))


def cat_used_twice(m: Layers, x: Tensor, mask: Tensor) -> Tensor:
    both = torch.cat([m.first(x), m.second(x)], 1)
    return m.joining(both) + both.sum(1, keepdim=True)


def masked(m: Layers, x: Tensor, mask: Tensor) -> Tensor:
    return torch.relu_(m.first(x)) * mask


def masked_and_kept(m: Layers, x: Tensor, mask: Tensor) -> Tensor:
    y = m.first(x)
    return (y * mask).sum(1) - y.sum(1)


def relu_beside_others(m: Layers, x: Tensor, mask: Tensor) -> Tensor:
    y = m.first(x)
    return torch.relu(y) - y


def rewritten_in_place(m: Layers, x: Tensor, mask: Tensor) -> Tensor:
    x = m.joining(torch.cat([m.first(x), m.second(x)], 1))[:, :8]
    skip = m.second(x)
    x.relu_()
    return skip + m.second(x)


def larger_product(m: Layers, x: Tensor, mask: Tensor) -> Tensor:
    return torch.relu(m.first(x)) * torch.stack([mask, 2 * mask])


def layout_read(m: Layers, x: Tensor, mask: Tensor) -> Tensor:
    y = torch.relu(m.first(x))
    return y.permute(0, 2, 3, 1).view(2, -1, 24)


def pooled(m: Layers, x: Tensor, mask: Tensor) -> Tensor:
    return max_pool(torch.relu(m.first(x)), (2, 2), (2, 2))


def pooled_with_overlap(m: Layers, x: Tensor, mask: Tensor) -> Tensor:
    return max_pool(m.first(x), (2, 3), (1, 1))


def pooled_and_kept(m: Layers, x: Tensor, mask: Tensor) -> Tensor:
    y = torch.relu(m.first(x))
    return max_pool(y, (2, 2), (2, 2)) + y[:, :, 1::2, ::2]


BODIES = [joined, cat_used_twice, masked, masked_and_kept, relu_beside_others, rewritten_in_place, larger_product]
BODIES += [layout_read, pooled, pooled_with_overlap, pooled_and_kept]


def frozen(body: Callable[..., Tensor]) -> torch.jit.ScriptModule:
    module = Layers(body).eval().to(memory_format=torch.channels_last)
    return reload(torch.jit.freeze(trace(module, SPECS)))


def kinds(module: torch.jit.ScriptModule) -> list[str]:
    return [node.kind() for node in module.graph.nodes()]


def maxima(body: Callable[..., Tensor]) -> list[int]:
    """How many tensors each maximum is given: the third is the one to overwrite."""
    graph = with_onednn(frozen(body), {"graph": SPECS}).graph
    return sorted(node.inputsSize() for node in graph.findAllNodes("aten::max"))


def inputs() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(SPECS[0].shape, generator=generator), (
        torch.rand(SPECS[1].shape, generator=generator) > 0.5
    ) * 1.0


@pytest.mark.parametrize("body", BODIES)
def test_rewritten_graphs_compute_the_same(body: Callable[..., Tensor]) -> None:
    plain = frozen(body)
    fast = with_onednn(plain, {"graph": SPECS})
    images, mask = inputs()
    with torch.no_grad():
        # More than once: TorchScript compiles a graph anew after its first calls.
        for _ in range(3):
            given = images.clone()
            expected, actual = plain(given.clone(), mask), fast(given, mask)
            torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
            assert actual.stride() == expected.stride()
            assert torch.equal(given, images), "inputs are the caller's"


def test_what_becomes_of_the_layers() -> None:
    fast = kinds(with_onednn(frozen(joined), {"graph": SPECS}))
    if not onednn.is_available():
        assert fast == kinds(frozen(joined))
        return
    assert {"aten::_convolution", "aten::relu", "aten::cat"}.isdisjoint(fast)
    assert "aten::mul_" in kinds(with_onednn(frozen(masked), {"graph": SPECS}))
    assert maxima(pooled) == [2, 3]
    for body in (pooled_with_overlap, pooled_and_kept):
        assert set(maxima(body)) == {2}
    for body in (masked_and_kept, larger_product):
        assert "aten::mul_" not in kinds(with_onednn(frozen(body), {"graph": SPECS}))


def test_small_layers_and_other_layouts_stay() -> None:
    small = (TensorSpec("images", (1, 8, 4, 4)), TensorSpec("mask", (1, 1, 4, 4)))
    module = reload(torch.jit.freeze(trace(Layers(masked).eval(), SPECS)))
    for plain, specs in ((frozen(masked), small), (module, SPECS)):
        assert with_onednn(plain, {"graph": specs}) is plain


def test_without_the_operators_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "is_available", lambda: False)
    plain = frozen(joined)
    assert with_onednn(plain, {"graph": SPECS}) is plain


def test_artifacts_hold_standard_operators(tmp_path) -> None:
    module = Layers(joined).eval()
    compiled = compile_for_inferentia(module, list(SPECS), target="cpu")
    path = compiled.save(tmp_path / "model.pt")
    loaded = torch.jit.load(str(path))
    assert "mkldnn" not in str(loaded.inlined_graph)
    images, mask = inputs()
    with torch.no_grad():
        torch.testing.assert_close(load(path)(images, mask), module(images, mask), rtol=1e-5, atol=1e-5)
