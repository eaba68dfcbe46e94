"""Recurrent layers on a canvas, both directions, in float64, where rounding cannot hide a state from the padding."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.modules.rnn import GRU, LSTM

import neuronkit
from neuronkit.errors import SpecError
from neuronkit.static.exact import ExactPadding, exact_padding
from neuronkit.static.exact.recurrent import GatedRecurrent

from .lines import Checked, Misused, Pooled, Reshaped, Summed, TimeFirst, low, wide

HEIGHT, CANVAS = 8, 48
Build = Callable[[], nn.Module]


def rnn(kind: type[nn.RNNBase], inputs: int = 6, **settings: object) -> nn.RNNBase:
    return kind(inputs, 7, **{"num_layers": 2, "bidirectional": True, "batch_first": True, **settings})  # type: ignore[arg-type]


NETWORKS: dict[str, Build] = {
    "LSTM": lambda: Pooled(rnn(LSTM), nn.Linear(14, 5)),
    "GRU": lambda: Pooled(rnn(GRU), nn.Linear(14, 5)),
    "in one direction": lambda: Pooled(rnn(LSTM, bidirectional=False), rnn(GRU, 7, bidirectional=False)),
    "three layers, without biases": lambda: Pooled(rnn(LSTM, num_layers=3, bias=False), nn.LogSoftmax(2)),
    "GRU without biases, and convolutions between": lambda: Pooled(rnn(GRU, bias=False), rnn(LSTM, 14)),
    "reshaped": lambda: Reshaped(rnn(LSTM, 12), nn.Linear(14, 5)),
    "time first": lambda: TimeFirst(rnn(LSTM, batch_first=False), nn.Linear(14, 5)),
    "both directions summed": lambda: Summed(
        rnn(LSTM, batch_first=False), nn.LayerNorm(7), nn.Conv1d(7, 5, 3, padding=1)
    ),
    "projected": lambda: Pooled(rnn(LSTM, proj_size=3), rnn(LSTM, 6, proj_size=2, bias=False, bidirectional=False)),
    "from zeros": lambda: Misused(rnn(GRU), lambda layer, x: layer(x, x.new_zeros(4, x.size(0), 7))[0]),
    "from two states of zeros": lambda: Misused(rnn(LSTM), lambda layer, x: layer(x, (zeros(x), zeros(x).to(x)))[0]),
    "time first, GRU": lambda: TimeFirst(rnn(GRU, batch_first=False), nn.Linear(14, 5)),
}


def zeros(x: Tensor) -> Tensor:
    return torch.zeros(4, x.shape[0], 7, dtype=x.dtype, device=x.device)


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name]().double().eval()


def spelled_out(exact: ExactPadding) -> ExactPadding:
    """The form for compilers that unroll recurrent layers."""
    exact = copy.deepcopy(exact)
    for part in exact.modules():
        if isinstance(part, GatedRecurrent):
            part.suit("torch-xla")
            part.fold()
    return exact


def error(model: nn.Module, exact: nn.Module, widths: list[int], seed: int, noise: float = float("nan")) -> float:
    """How far any row is from what its line gives alone, over the range."""
    torch.manual_seed(seed)
    images, valid = torch.randn(len(widths), 1, HEIGHT, CANVAS).double(), torch.tensor(widths, dtype=torch.int32)
    alone = [model(images[i : i + 1, :, :, :width])[0] for i, width in enumerate(widths)]
    for image, width in zip(images, widths):
        image[:, :, width:] = noise
    rows = zip(exact(images, valid), alone)
    return max(float((row[: len(own)] - own).abs().max() / own.abs().max()) for row, own in rows)


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_rows_are_what_lines_give_alone(name: str) -> None:
    model = made(name)
    exact = exact_padding(model, height=HEIGHT)
    both = exact, spelled_out(exact)
    assert all(error(model, form, [CANVAS, 2, 17, 30, 3], seed, noise) <= 1e-12
               for form in both for seed, noise in enumerate((float("nan"), 1e6, 0.0)))  # fmt: skip


@torch.no_grad()
@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, CANVAS), min_size=1, max_size=8), st.integers(0, 1 << 20), st.sampled_from([*NETWORKS]))
def test_at_any_width_and_batch(widths: list[int], seed: int, name: str) -> None:
    model = made(name)
    exact = exact_padding(model, height=HEIGHT)
    assert error(model, exact, widths, seed) <= 1e-12
    assert exact.valid_output_sizes(torch.tensor(widths))[:, 0].tolist() == [(width + 1) // 2 for width in widths]


@torch.no_grad()
@pytest.mark.parametrize("window", [((2, 3), (2, 1), (0, 1)), (2, 1, 1), ((5, 3), (1, 2), (2, 1)), ((1, 2), 1, (0, 1))])
def test_averages_without_their_padding_over_windows_at_a_fixed_height(window: tuple[Any, ...]) -> None:
    torch.manual_seed(0)
    model = Pooled(rnn(LSTM), nn.Linear(14, 5)).double().eval()
    model.look[2] = nn.AvgPool2d(*window, count_include_pad=False)
    exact = exact_padding(model, height=HEIGHT)
    smallest = exact.smallest_width()
    assert error(model, exact, [CANVAS, smallest, 17, 30, smallest + 1], 0) <= 1e-12


@torch.no_grad()
def test_without_the_gate_the_backward_half_starts_in_the_padding() -> None:
    model = made("LSTM")
    exact = exact_padding(model, height=HEIGHT)
    for part in exact.modules():
        if isinstance(part, GatedRecurrent):
            part.fold()
            for constant in part.constants[::4]:
                constant[:, -1] = 0
    assert error(model, exact, [17, 30], 0, 0.0) > 1e-3


def test_weights_are_shared_and_learn() -> None:
    model = made("LSTM")
    exact = exact_padding(model, height=HEIGHT)
    exact(torch.randn(1, 1, HEIGHT, CANVAS).double(), torch.tensor([20])).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert {id(parameter) for parameter in exact.parameters()} == {id(parameter) for parameter in model.parameters()}


def test_a_compiled_line_recogniser_and_its_buckets() -> None:
    model = made("LSTM").float()
    exact = exact_padding(model, height=HEIGHT)
    specs = [
        neuronkit.TensorSpec("images", (2, 1, HEIGHT, CANVAS)),
        neuronkit.TensorSpec("valid_width", (2,), "int32"),
    ]
    compiled = neuronkit.compile_for_inferentia(exact, specs, target="cpu")
    buckets = neuronkit.Buckets({(2, 1, HEIGHT, CANVAS): neuronkit.FixedShape(compiled, output_sizes=lambda w: w // 2)})
    lines = [torch.randn(1, HEIGHT, width) for width in (48, 9, 21)]
    with torch.no_grad():
        for read, line in zip(buckets(lines), lines):
            expected = model(line[None])[0]
            torch.testing.assert_close(read, expected[: len(read)], rtol=1e-5, atol=1e-5)
    with pytest.raises(SpecError, match="got a height of 7; expected 8, since only the widths"):
        buckets([lines[0][:, :7]])


def test_few_operators() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gated = GatedRecurrent(LSTM(16, 8, num_layers=2, bidirectional=True, batch_first=True))
            self.gated.fold()

        def forward(self, x: Tensor, outside: Tensor) -> Tensor:
            return self.gated(x, outside)

    traced = torch.jit.freeze(torch.jit.trace(Recurrent().eval(), (torch.randn(2, 256, 16), torch.zeros(2, 256, 1))))
    kinds = Counter(node.kind() for node in traced.graph.nodes() if node.kind().startswith("aten::"))
    assert kinds["aten::lstm"] == 2
    assert sum(kinds.values()) <= 40


@pytest.mark.xla
@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_few_instructions(kind: type[nn.RNNBase]) -> None:
    from neuronkit.analysis.operators.hlo import parse
    from neuronkit.targets.xla import lower

    counts = []
    for steps in (16, 48):
        gated = GatedRecurrent(rnn(kind)).eval()  # type: ignore[arg-type]
        gated.suit("torch-xla")
        gated.fold()
        specs = neuronkit.TensorSpec("x", (2, steps, 6)), neuronkit.TensorSpec("outside", (2, steps, 1))
        graph = lower(gated, specs)
        hlo = parse(graph.hlo)
        assert not {"while", "scatter", "custom-call"} & set(hlo.counts)
        assert not hlo.custom_calls
        assert not graph.fallbacks
        counts.append(sum(hlo.counts.values()))
    # As many for each further step.
    assert counts[1] + (256 - 48) * (counts[1] - counts[0]) / 32 <= 14_000


def refused(model: nn.Module) -> str:
    with pytest.raises(SpecError) as caught:
        exact_padding(model, height=HEIGHT)
    return str(caught.value)


def test_what_cannot_be_kept_apart_is_refused() -> None:
    for plain in (Pooled(rnn(nn.RNN)), TimeFirst(rnn(nn.RNN, batch_first=False), nn.Linear(14, 5))):
        assert "a recurrent layer without gates: nothing keeps its state 0 in the padding" in refused(plain)
    lstm = rnn(LSTM)
    assert "reads the last state" in refused(Misused(lstm, lambda layer, x: layer(x)[1][0] + 1))
    assert "reads the last state" in refused(Misused(lstm, lambda layer, x: layer(x)[1][0]))
    for state in (torch.ones(4, 1, 7), torch.zeros(4, 1, 7)):
        assert "starts from a state that is given, of other than zeros" in refused(
            Misused(rnn(GRU), lambda layer, x, state=state: layer(x, hx=state + x.new_zeros(4, 1, 7))[0])
        )
    assert "works along another dimension" in refused(
        Misused(rnn(LSTM, batch_first=False), lambda layer, x: layer(x)[0])
    )
    assert "whose first dimension is not the batch" in refused(
        Misused(lstm, lambda layer, x: layer(x)[0].transpose(0, 1).flip(0))
    )


def test_assertions_about_sizes() -> None:
    exact = exact_padding(Checked(wide), height=HEIGHT)
    exact.check_sizes(torch.tensor([20]))
    assert exact.smallest_width() == 19
    with pytest.raises(SpecError, match=r"cannot run on 8x18 pixels: node .* checks a size, and does not take"):
        exact.check_sizes(torch.tensor([18]))
    assert "checks what is not so for images of this height" in refused(Checked(low))
    with pytest.raises(SpecError, match="symbolically traced variables cannot be used as inputs to control flow"):
        exact_padding(Checked(lambda x: print() if x.size(3) >= 10 else None), height=HEIGHT)


def test_sizes_that_are_none() -> None:
    exact = exact_padding(made("LSTM"), height=HEIGHT)
    images = torch.zeros(1, 1, HEIGHT, CANVAS).double()
    with pytest.raises(SpecError, match=r"valid_size of shape \(1, 2\) for 1 images; expected \(1,\) int32; give"):
        exact(images, torch.tensor([[HEIGHT, 20]]))
    with pytest.raises(SpecError, match="got images of height 7 for Pooled, rewritten for height=8; expected"):
        exact(images[:, :, 1:], torch.tensor([20]))
    with pytest.raises(SpecError, match="got height=0; expected a whole number from 1"):
        exact_padding(made("LSTM"), height=0)
    with pytest.raises(SpecError, match=r"exact_padding\(module, height=...\)"):
        exact_padding(made("time first"))
    with pytest.raises(SpecError, match="got no height; expected one"):
        exact_padding(nn.Conv2d(1, 1, 1)).smallest_width()
