from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuronkit.adapters.craft import StaticCRAFT
from neuronkit.errors import SpecError
from neuronkit.models.craft import CRAFT
from neuronkit.specs import TensorSpec
from neuronkit.static.shapes.buckets import Buckets
from neuronkit.static.shapes.fixed import FixedShape

from .networks import lively

SHAPES = ((2, 1, 4, 8), (2, 1, 8, 4), (3, 1, 8, 8), (1, 1, 16, 16))


class Graph:
    """Stands for a compiled graph of one shape; doubles its input, and counts its runs."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.spec = TensorSpec("images", shape)
        self.runs = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.spec.check(images)
        self.runs += 1
        return images * 2


def make() -> tuple[Buckets, dict[tuple[int, ...], Graph]]:
    graphs: dict[tuple[int, ...], Graph] = {shape: Graph(shape) for shape in SHAPES}
    buckets = Buckets(graphs)
    for fixed in buckets.buckets.values():
        fixed._rows_checked = True
    return buckets, graphs


@given(st.integers(0, 7), st.integers(1, 16), st.integers(1, 16))
def test_one_input_goes_to_the_cheapest_shape_that_fits(rows: int, height: int, width: int) -> None:
    buckets, graphs = make()
    images = torch.randn(rows, 1, height, width)
    assert torch.equal(buckets(images), images * 2)
    used = [shape for shape, graph in graphs.items() if graph.runs]

    def cost(shape: tuple[int, ...]) -> int:
        return max(1, -(-rows // shape[0])) * shape[0] * shape[2] * shape[3]

    fitting = [shape for shape in SHAPES if height <= shape[2] and width <= shape[3]]
    assert len(used) == 1
    assert cost(used[0]) == min(map(cost, fitting))


@given(st.lists(st.tuples(st.integers(1, 16), st.integers(1, 16)), max_size=20))
def test_a_mixed_list_comes_back_in_order(sizes: list[tuple[int, int]]) -> None:
    buckets, graphs = make()
    images = [torch.randn(1, *size) for size in sizes]
    results = buckets(images)
    assert len(results) == len(images)
    for image, result in zip(images, results):
        assert torch.equal(result, image * 2)
    # At most one batch of each shape is not full.
    for shape, graph in graphs.items():
        assert graph.runs <= -(-len(images) // shape[0])


def test_items_may_have_rows_and_several_tensors() -> None:
    buckets, _ = make()
    items = [torch.randn(5, 1, 3, 3), torch.randn(1, 8, 8), torch.randn(0, 1, 2, 2), torch.randn(1, 1, 16, 9)]
    for item, result in zip(items, buckets(items)):
        assert torch.equal(result, item * 2)
    specs = [TensorSpec("a", (2, 1, 4, 4)), TensorSpec("b", (2, 3))]
    both = Buckets({(4, 4): FixedShape(lambda a, b: (a, b.sum(1)), specs)})
    a, b = torch.randn(1, 2, 3), torch.randn(3)
    ((first, second),) = both([(a, b)])
    assert torch.equal(first, a)
    assert torch.allclose(second, b.sum())


def test_rows_that_would_not_fill_a_batch_join_others() -> None:
    buckets, graphs = make()
    # Two rows for (3, 1, 8, 8), and one of the small shape that fits into its third.
    buckets([torch.zeros(1, 8, 8), torch.zeros(1, 7, 8), torch.zeros(1, 4, 8)])
    assert {shape: graph.runs for shape, graph in graphs.items() if graph.runs} == {(3, 1, 8, 8): 1}
    # A full batch of the small shape stays there.
    buckets([torch.zeros(1, 4, 8)] * 2)
    assert graphs[2, 1, 4, 8].runs == 1


def test_what_fits_nothing_is_refused_with_the_shapes_known() -> None:
    buckets, _ = make()
    with pytest.raises(SpecError, match=r"17x3 fits none of the shapes \(1, 1, 16, 16\), \(2, 1, 4, 8\).*Tiled"):
        buckets(torch.zeros(1, 1, 17, 3))
    with pytest.raises(SpecError, match="3x17 fits none"):
        buckets([torch.zeros(1, 2, 2), torch.zeros(1, 3, 17)])


def test_costs_may_be_given_or_measured() -> None:
    graphs = {shape: Graph(shape) for shape in SHAPES}
    buckets = Buckets(graphs, costs={shape: float(i) for i, shape in enumerate(reversed(SHAPES))})
    assert buckets.route((2, 2)) == (1, 1, 16, 16)
    assert buckets.shapes[0] == (1, 1, 16, 16)
    seconds = buckets.measure()
    assert seconds == buckets.costs
    assert all(value > 0 for value in seconds.values())


@pytest.mark.parametrize(
    "fns", [{}, {(4, 8): lambda x: x}, {(4, 4): FixedShape(lambda x: x, [TensorSpec("x", (1, 1, 4, 8))])}]
)
def test_shapes_that_make_no_sense_are_refused(fns: Any) -> None:
    with pytest.raises(SpecError):
        Buckets(fns)


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 1000))
def test_craft_of_mixed_sizes_equals_one_by_one_runs(seed: int) -> None:
    torch.manual_seed(seed)
    model = lively(CRAFT(width=0.125)).double()
    shapes = {(96, 64): 4, (64, 128): 2, (128, 160): 2}
    statics = {
        (height, width): StaticCRAFT(model, batch_size=batch, height=height, width=width)
        for (height, width), batch in shapes.items()
    }
    buckets = Buckets(statics, valid_size="valid_size")
    sizes = torch.randint(1, 5, (20, 2)) * 32
    images = [torch.randn(3, *size, dtype=torch.float64) for size in sizes.tolist()]
    with torch.no_grad():
        for image, (scores, features) in zip(images, buckets(images)):
            expected = model(image[None])
            assert scores.shape == expected[0].shape[1:]
            assert (scores - expected[0][0]).abs().max() <= 1e-12 * expected[0].abs().max()
            assert (features - expected[1][0]).abs().max() <= 1e-12 * expected[1].abs().max()


@pytest.mark.slow
def test_two_hundred_images_equal_one_by_one_runs() -> None:
    torch.manual_seed(1)
    model = lively(CRAFT(width=0.125))
    statics = {
        (h, w): StaticCRAFT(model, batch_size=4, height=h, width=w) for h, w in ((96, 96), (96, 192), (192, 192))
    }
    buckets = Buckets(statics, valid_size="valid_size")
    sizes = torch.randint(1, 7, (200, 2)) * 32
    images = [torch.randn(3, *size) for size in sizes.tolist()]
    with torch.no_grad():
        results = buckets(images)
        for image, (scores, _) in zip(images, results):
            expected, _ = model(image[None])
            assert (scores - expected[0]).abs().max() <= 2e-6 * expected.abs().max()


def test_arguments_of_the_wrong_kind_are_named() -> None:
    buckets, graphs = make()
    for inputs, message in (
        ((), "got nothing; expected tensors"),
        ((torch.zeros(1, 1, 2, 2).numpy(),), "got ndarray; expected tensors, or one list"),
        (([torch.zeros(1, 1, 2, 2).numpy()],), "an item of the list is ndarray; expected a tensor"),
    ):
        with pytest.raises(SpecError, match=message):
            buckets(*inputs)
    with pytest.raises(SpecError, match="costs has no entry for"):
        Buckets(graphs, costs={})
    with pytest.raises(SpecError, match="the key 8; expected a shape"):
        Buckets({8: lambda x: x})  # type: ignore[dict-item]
    with pytest.raises(SpecError, match=r"fns_by_shape=.* expected a mapping"):
        Buckets([])  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="repeats=0"):
        buckets.measure(0)
