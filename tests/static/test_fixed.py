import math
import pickle
from collections import OrderedDict, namedtuple
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from neuronkit.adapters.craft import StaticCRAFT
from neuronkit.errors import SpecError
from neuronkit.models.craft import CRAFT
from neuronkit.specs import TensorSpec
from neuronkit.static.shapes.buckets import Buckets
from neuronkit.static.shapes.fixed import FixedShape
from neuronkit.static.shapes.tiled import Tiled

IMAGES = TensorSpec("images", (3, 2, 8, 10))
SIZE = TensorSpec("size", (3, 2), "int32")


class Recorder:
    """Stands for a compiled graph: takes exactly its shape, and remembers what it got."""

    def __init__(self, fn: Any, *specs: TensorSpec) -> None:
        self.fn = fn
        self.specs = specs
        self.calls: list[tuple[Tensor, ...]] = []

    def __call__(self, *inputs: Tensor) -> Any:
        assert len(inputs) == len(self.specs)
        for spec, tensor in zip(self.specs, inputs):
            spec.check(tensor)
        self.calls.append(tuple(tensor.clone() for tensor in inputs))
        return self.fn(*inputs)


@given(st.integers(0, 11), st.integers(1, 8), st.integers(1, 10))
def test_rows_and_size_come_back_as_they_were_given(rows: int, height: int, width: int) -> None:
    graph = Recorder(lambda x: x * 2 + 1, IMAGES)
    images = torch.randn(rows, 2, height, width)
    fixed = FixedShape(graph, graph.specs)
    for _ in range(2):
        graph.calls.clear()
        assert torch.equal(fixed(images), images * 2 + 1)
    assert len(graph.calls) == max(1, -(-rows // 3))


def test_the_last_chunk_is_filled_with_a_valid_row_and_the_canvas_with_the_pad_value() -> None:
    graph = Recorder(lambda x: x, IMAGES)
    images = torch.randn(4, 2, 5, 6)
    FixedShape(graph, graph.specs, pad_value=-7.5)(images)
    ((first,), (second,), _) = graph.calls
    assert torch.equal(first[:, :, :5, :6], images[:3])
    assert (first[:, :, 5:] == -7.5).all()
    assert (first[:, :, :, 6:] == -7.5).all()
    assert torch.equal(second[:, :, :5, :6], images[3:].expand(3, 2, 5, 6))


def test_an_exact_fit_is_not_copied() -> None:
    seen = []

    def look(x: Tensor) -> Tensor:
        seen.append(x.data_ptr())
        return x

    images = torch.randn(3, 2, 8, 10)
    FixedShape(look, [IMAGES])(images)
    assert seen == [images.data_ptr()]


def test_valid_size_is_derived_or_taken_from_the_call() -> None:
    graph = Recorder(lambda x, size: size.float(), IMAGES, SIZE)
    fixed = FixedShape(graph, graph.specs, valid_size="size")
    assert fixed(torch.zeros(4, 2, 5, 6)).tolist() == [[5, 6]] * 4
    given = torch.tensor([[1, 2], [3, 4], [5, 6], [2, 2]], dtype=torch.int32)
    assert fixed(torch.zeros(4, 2, 5, 6), given).tolist() == given.tolist()
    assert graph.calls[-1][1].tolist() == [[2, 2]] * 3


def test_an_input_called_valid_size_is_found() -> None:
    graph = Recorder(lambda x, size: size.float(), IMAGES, TensorSpec("valid_size", (3, 2), "int32"))
    assert FixedShape(graph)(torch.zeros(3, 2, 5, 6)).tolist() == [[5, 6]] * 3


def test_padding_rows_have_a_valid_size_even_without_any_row() -> None:
    graph = Recorder(lambda x, size: x, IMAGES, SIZE)
    out = FixedShape(graph, graph.specs, valid_size="size")(torch.zeros(0, 2, 5, 6))
    assert out.shape == (0, 2, 5, 6)
    assert graph.calls[0][1].tolist() == [[8, 10]] * 3


Pair = namedtuple("Pair", ["maps", "scores"])


@pytest.mark.parametrize(
    "build",
    [
        lambda x: (x, x.sum((2, 3))),
        lambda x: [x, x.sum((2, 3))],
        lambda x: {"a": x, "b": x.sum((2, 3))},
        lambda x: OrderedDict(a=x, b=x.sum((2, 3))),
        lambda x: Pair(x, x.sum((2, 3))),
    ],
)
def test_the_kind_of_structure_is_kept(build: Any) -> None:
    images = torch.arange(240.0).reshape(4, 2, 5, 6)
    out = FixedShape(Recorder(build, IMAGES), [IMAGES])(images)
    expected = build(images)
    assert type(out) is type(expected)
    values = list(out.values()) if isinstance(out, dict) else list(out)
    assert torch.equal(values[0], images)
    assert torch.equal(values[1], images.sum((2, 3)))


@pytest.mark.parametrize(
    "output_sizes", [0.5, lambda size: size // 2, lambda size: {"nhwc": size // 2, "pooled": None}]
)
def test_outputs_of_another_size_and_layout_are_cut(output_sizes: Any) -> None:
    def graph(x: Tensor) -> dict[str, Tensor]:
        half = F.avg_pool2d(x, 2)
        return {"nhwc": half.permute(0, 2, 3, 1), "pooled": x.amax((2, 3), keepdim=True)}

    images = torch.rand(2, 2, 6, 7) + 1
    out = FixedShape(graph, [IMAGES], output_sizes=output_sizes)(images)
    assert torch.equal(out["nhwc"], graph(images)["nhwc"])
    assert torch.equal(out["pooled"], graph(images)["pooled"])


def test_sequences_are_padded_and_cut_too() -> None:
    tokens = TensorSpec("tokens", (2, 9), "int32")
    graph = Recorder(lambda t: F.one_hot(t.long(), 20), tokens)
    out = FixedShape(graph, [tokens], pad_value={"tokens": 19})(torch.arange(15, dtype=torch.int32).reshape(3, 5))
    assert out.argmax(-1).tolist() == torch.arange(15).reshape(3, 5).tolist()
    assert (graph.calls[0][0][:, 5:] == 19).all()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((torch.zeros(1, 2, 9, 10),), r"at most \(3, 2, 8, 10\).*Buckets"),
        ((torch.zeros(1, 2, 8, 11),), "at most"),
        ((torch.zeros(1, 1, 8, 10),), "channels are never padded"),
        ((torch.zeros(1, 3, 8, 10),), "channels are never padded"),
        ((torch.zeros(2, 8, 10),), "4 dimensions"),
        ((torch.zeros(1, 2, 8, 10, dtype=torch.float64),), "float32"),
        ((torch.zeros(1, 2, 0, 10),), "at least one entry"),
        ((), "got 0 inputs"),
        ((torch.zeros(1, 2, 8, 10), torch.zeros(2, 2, dtype=torch.int32)), r"got \(2, 2\) int32; expected \(1, 2\)"),
        ((torch.zeros(1, 2, 8, 10), torch.zeros(1, 3, dtype=torch.int32)), "height, width"),
    ],
)
def test_what_cannot_fit_is_refused(inputs: tuple[Tensor, ...], message: str) -> None:
    fixed = FixedShape(lambda x, size: x, [IMAGES, SIZE], valid_size="size")
    with pytest.raises(SpecError, match=message):
        fixed(*inputs)


@pytest.mark.parametrize(
    ("specs", "valid_size"),
    [
        ([IMAGES, TensorSpec("other", (2, 2))], None),
        ([IMAGES], "size"),
        ([SIZE], "size"),
        ([TensorSpec("x", ())], None),
    ],
)
def test_specs_that_make_no_sense_are_refused(specs: list[TensorSpec], valid_size: str | None) -> None:
    with pytest.raises(SpecError):
        FixedShape(lambda x: x, specs, valid_size=valid_size)


def test_an_output_without_rows_is_refused() -> None:
    with pytest.raises(SpecError, match="not the batch of 3"):
        FixedShape(lambda x: x.sum(), [IMAGES])(torch.zeros(3, 2, 8, 10))


def test_several_inputs_of_different_sizes_share_batches() -> None:
    graph = Recorder(lambda x, size: (x * size[:, 0, None, None, None], size), IMAGES, SIZE)
    fixed = FixedShape(graph, graph.specs, valid_size="size")
    items = [
        torch.randn(rows, 2, height, width) for rows, height, width in ((1, 5, 6), (3, 8, 2), (0, 4, 4), (1, 1, 1))
    ]
    results = fixed.run([(item,) for item in items])
    assert len(graph.calls) == 3  # Five rows in two batches, and one to see that rows are independent.
    for item, (scaled, size) in zip(items, results):
        assert torch.equal(scaled, item * item.shape[2])
        assert size.tolist() == [list(item.shape[2:])] * len(item)
    assert fixed.run([]) == []


class _Centred(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - 0.01 * x.mean(0)


@pytest.mark.parametrize("rows", [2, 6])
def test_rows_that_influence_one_another_are_refused(rows: int) -> None:
    for model in (_Centred(), torch.jit.script(_Centred()), lambda x: x - 0.01 * x.mean(0)):
        with pytest.raises(SpecError, match=r"rows of a batch influence one another.*eval"):
            FixedShape(model, [IMAGES])(torch.randn(rows, 2, 8, 10))
    for layer in (nn.BatchNorm2d(2).train(), nn.BatchNorm2d(2, track_running_stats=False).eval()):
        with pytest.raises(SpecError, match="layer '0' normalises with the statistics of the whole batch"):
            FixedShape(nn.Sequential(layer), [IMAGES])
    fixed = FixedShape(nn.Sequential(nn.BatchNorm2d(2)).eval(), [IMAGES])
    assert fixed(torch.randn(rows, 2, 8, 10)).shape == (rows, 2, 8, 10)


def test_rows_that_are_made_up_lie_in_the_domain_of_the_input() -> None:
    """Pix2Struct's patches begin with their row and column, which are looked up."""
    torch.manual_seed(0)
    table = nn.Embedding(3, 4)
    spec = TensorSpec("patches", (4, 2, 5), fill=0)
    patches = torch.cat([torch.randint(0, 3, (6, 2, 1)).float(), torch.randn(6, 2, 4)], dim=2)
    with torch.no_grad():
        read = lambda x: table(x[..., 0].long()) + x[..., 1:]  # noqa: E731
        for specs in ([spec], [TensorSpec.from_dict(spec.to_dict())]):
            assert torch.equal(FixedShape(read, specs)(patches), read(patches))
        with pytest.raises(SpecError, match="rows of a batch influence one another"):
            FixedShape(lambda x: read(x) - x[..., 1:].mean(0), [spec])(patches)


def test_independent_rows_are_checked_once() -> None:
    graph = Recorder(lambda x: x, IMAGES)
    fixed = FixedShape(graph)
    for calls in (1, 2 + 1, 2, 1):
        graph.calls.clear()
        fixed(torch.randn(3 if calls == 1 else 5, 2, 8, 10))
        assert len(graph.calls) == calls


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(0, 5))
def test_craft_of_any_size_equals_the_dynamic_model(height: int, width: int, rows: int) -> None:
    torch.manual_seed(height * 100 + width * 10 + rows)
    # In float64 rounding cannot hide a difference.
    model = CRAFT(width=0.125).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.bias.data.normal_(0, 0.3)
    static = StaticCRAFT(model, batch_size=2, height=96, width=160)
    fixed = FixedShape(static, static.specs, valid_size="valid_size")
    images = torch.randn(rows, 3, height * 32, width * 32, dtype=torch.float64)
    with torch.no_grad():
        scores, features = fixed(images)
        expected = model(images) if rows else model(images.new_zeros(1, *images.shape[1:]))
    for actual, wanted in zip((scores, features), expected):
        assert actual.shape == (rows, *wanted.shape[1:])
        if rows:
            assert (actual - wanted).abs().max() <= 1e-12 * wanted.abs().max()


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((3, [IMAGES]), {}, "got fn=3; expected something to call"),
        ((lambda x: x,), {}, "function has no specs; give those of its inputs"),
        ((lambda x: x, [(3, 2, 8, 10)]), {}, "expected a TensorSpec for each input"),
        ((lambda x: x, [IMAGES]), {"pad_value": {"image": 1.0}}, "pad_value=.*a number for some of images"),
        ((lambda x: x, [IMAGES]), {"pad_value": "0"}, "pad_value='0'; expected a number"),
        ((lambda x: x, [IMAGES]), {"output_sizes": -0.5}, "output_sizes=-0.5; expected a finite number above 0"),
        ((lambda x: x, [IMAGES]), {"output_sizes": "half"}, "output_sizes='half'; expected a finite number"),
    ],
)
def test_arguments_that_make_no_sense_are_named(arguments: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        FixedShape(*arguments, **settings)


@pytest.mark.parametrize(
    ("valid_size", "message"),
    [
        (
            torch.tensor([[6, 6]], dtype=torch.int32),
            r"got \[\[6, 6\]\]; expected \(height, width\) .* from 1 to \(5, 6\), the size of the input",
        ),
        (torch.tensor([[0, 6]], dtype=torch.int32), r"got \[\[0, 6\]\]; expected .* from 1 to \(5, 6\)"),
        (torch.tensor([[5.0, 6.0]]), r"got \(1, 2\) float32; expected \(1, 2\) int32.*torch.int32"),
        ([[5, 6]], r".*expected a tensor; convert it: torch.tensor\(size\)"),
    ],
)
def test_a_valid_size_lies_within_its_input(valid_size: Any, message: str) -> None:
    # Beyond the input there is only what the canvas was padded with.
    fixed = FixedShape(lambda x, size: x, [IMAGES, SIZE], valid_size="size")
    with pytest.raises(SpecError, match=f"size[:=].*{message}"):
        fixed(torch.randn(1, 2, 5, 6), valid_size)


def test_arrays_and_outputs_without_rows_or_entries() -> None:
    fixed = FixedShape(lambda x: x[:, :0], [IMAGES])
    assert fixed(torch.randn(2, 2, 5, 6)).shape == (2, 0, 5, 6)
    with pytest.raises(
        SpecError, match=r"got images=an ndarray .*; expected a tensor; convert it: torch.from_numpy\(images\)"
    ):
        fixed(torch.randn(2, 2, 5, 6).numpy())
    with pytest.raises(SpecError, match=r"an output has shape \(\), whose first dimension is not the batch"):
        FixedShape(lambda x: x.sum(), [IMAGES])(torch.randn(2, 2, 5, 6))


class Halving:
    """A function that pickles, as a compiled model does."""

    def __call__(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2)


def test_pickled_wrappers_do_what_the_originals_do() -> None:
    images = torch.randn(5, 2, 6, 4)
    fixed = FixedShape(Halving(), [IMAGES], output_sizes=0.5)
    assert torch.equal(pickle.loads(pickle.dumps(fixed))(images), fixed(images))
    buckets = Buckets({(8, 10): fixed}, costs={(8, 10): 2.5})
    copied = pickle.loads(pickle.dumps(buckets))
    assert torch.equal(copied(images), fixed(images))
    assert copied.costs == buckets.costs
    tiled = Tiled(Halving(), [TensorSpec("images", (1, 2, 8, 8))], overlap=0, stride=4, output_sizes=0.5)
    large = torch.randn(1, 2, 16, 20)
    assert torch.equal(pickle.loads(pickle.dumps(tiled))(large), tiled(large))


def test_what_does_not_pickle_is_named() -> None:
    with pytest.raises(SpecError, match=r"FixedShape to pickle with fn=.*expected something that pickles"):
        pickle.dumps(FixedShape(lambda x: x, [IMAGES]))
    with pytest.raises(SpecError, match="FixedShape to pickle with output_sizes="):
        pickle.dumps(FixedShape(Halving(), [IMAGES], output_sizes=lambda sizes: sizes // 2))
    scripted = torch.jit.trace(nn.ReLU(), torch.zeros(1, 2, 8, 10))
    with pytest.raises(SpecError, match=r"fn=.*neuronkit\.load"):
        pickle.dumps(Buckets({(1, 2, 8, 10): scripted}))


@pytest.mark.parametrize("size", [math.nan, math.inf, -1, True, "1", pytest.param(10**5000, id="huge")])
def test_costs_and_factors_are_numbers(size: Any) -> None:
    with pytest.raises(SpecError, match="output_sizes"):
        FixedShape(lambda x: x, [IMAGES], output_sizes=size)
    with pytest.raises(SpecError, match="cost"):
        Buckets({IMAGES.shape: lambda x: x}, costs={IMAGES.shape: size})
