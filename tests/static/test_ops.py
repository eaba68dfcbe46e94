import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import neuronkit.tables
from neuronkit.capture.onnx import pooling_by_operator
from neuronkit.static import ops


@given(st.integers(1, 40), st.integers(1, 16), st.lists(st.integers(0, 10**6), max_size=12), st.booleans())
def test_one_hot_embedding_looks_rows_up(vocabulary: int, width: int, ids: list[int], given_positions: bool) -> None:
    table = torch.randn(vocabulary, width, generator=torch.Generator().manual_seed(vocabulary))
    tokens = torch.tensor([i % vocabulary for i in ids], dtype=torch.int32)
    positions = torch.arange(vocabulary, dtype=torch.int32) if given_positions else None
    found = ops.one_hot_embedding(tokens, table, positions)
    assert torch.equal(found, table[tokens.long()])


def test_one_hot_embedding_keeps_leading_dimensions_and_passes_gradients() -> None:
    table = torch.randn(5, 3, requires_grad=True)
    out = ops.one_hot_embedding(torch.tensor([[0, 4], [2, 2]]), table)
    assert out.shape == (2, 2, 3)
    out.sum().backward()
    assert torch.equal(table.grad, torch.tensor([1.0, 0.0, 2.0, 0.0, 1.0])[:, None].expand(5, 3))


def test_one_hot_of_an_id_outside_the_classes_is_zero() -> None:
    assert ops.one_hot(torch.tensor([3, -1, 1]), 3, torch.float32).tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]


@given(st.integers(1, 30), st.integers(1, 4))
def test_cumsum(length: int, rows: int) -> None:
    x = torch.randn(rows, length, generator=torch.Generator().manual_seed(length))
    assert torch.allclose(ops.cumsum(x), x.cumsum(-1), atol=1e-5)


@given(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
)
def test_resize_with_bilinear_matrices_is_interpolate(size: tuple[int, int], target: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(sum(size)))
    matrices = []
    for n_in, n_out in zip(size, target):
        source = (torch.arange(n_out) + 0.5)[None] * (n_in / n_out) - 0.5
        matrices.append(ops.bilinear_matrix(source, torch.full((2, 1), float(n_in)), torch.arange(float(n_in))))
    expected = F.interpolate(x, size=target, mode="bilinear", align_corners=False)
    assert torch.allclose(ops.resize(x, *matrices), expected, atol=2e-5)


@given(
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(10, 14)
)
def test_max_pool_is_max_pool(kh: int, kw: int, sh: int, sw: int, dilation: int, size: int) -> None:
    x = torch.randn(2, 3, size, size + 1, generator=torch.Generator().manual_seed(size))
    expected = F.max_pool2d(x, (kh, kw), (sh, sw), dilation=dilation)
    assert torch.equal(ops.max_pool(x, (kh, kw), (sh, sw), (dilation, dilation)), expected)
    with pooling_by_operator():
        assert torch.equal(ops.max_pool(x, (kh, kw), (sh, sw), (dilation, dilation)), expected)


class _AllOperators(nn.Module):
    def forward(self, ids: torch.Tensor, table: torch.Tensor, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        embedded = ops.one_hot_embedding(ids, table)
        matrix = ops.bilinear_matrix(images[:, 0, 0], images[:, 0, 0, :1], images[0, 0, 0])
        return (
            ops.cumsum(embedded),
            ops.max_pool(ops.resize(images, matrix, matrix), (3, 3), (2, 2)),
        )


@pytest.fixture
def inputs() -> tuple[torch.Tensor, ...]:
    return torch.tensor([[1, 2]], dtype=torch.int32), torch.randn(4, 5), torch.rand(2, 3, 6, 6)


def test_every_rewrite_traces_to_operators_of_inf1(inputs: tuple[torch.Tensor, ...]) -> None:
    table = json.loads((Path(neuronkit.tables.__file__).parent / "inf1_ops.json").read_text())
    graph = torch.jit.trace(_AllOperators(), inputs).inlined_graph
    assert {node.kind() for node in graph.nodes()} <= {*table["supported"], *table["limited"]}
