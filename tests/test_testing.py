"""AdapterConformance: each wrong adapter fails the test that is about it; test_extending.py has one that passes all."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuronkit.adapters.lines.model import StaticLine
from neuronkit.specs import TensorSpec
from neuronkit.static.model import StaticModel
from neuronkit.testing import AdapterConformance, PaddedConformance
from tests.toys.family import STEPS, Decoder, StaticReader, make_reader


class Conformance(AdapterConformance):
    adapter: Callable[..., StaticModel] = StaticReader
    distinct_results = 6

    def make_model(self) -> nn.Module:
        return make_reader()

    def make_static(self, model: nn.Module, batch_size: int) -> StaticModel:
        return type(self).adapter(model, batch_size=batch_size)


def failing(adapter: type[StaticModel], test: str, *arguments: Any) -> str:
    """Run one conformance test on an adapter; it must fail, and say what is wrong."""
    conformance = type("Wrong", (Conformance,), {"adapter": adapter})()
    with pytest.raises(AssertionError) as error:
        getattr(conformance, test)(*arguments)
    return str(error.value)


class WithBody(StaticReader):
    """Wraps the encoder, to go wrong there."""

    wrapper: type[nn.Module]

    def encoder(self, source: Any) -> nn.Module:
        return type(self).wrapper(source.body)


class Wrapped(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body


def test_shapes_that_follow_the_words_fail() -> None:
    class Trims(StaticReader):
        def forward(self, *inputs: Tensor) -> Tensor:
            logits = super().forward(*inputs)
            return logits[:, : 1 + sum(map(len, self.decoded(logits))) % STEPS]

    assert "the outputs' shapes change with the inputs' values" in failing(Trims, "test_shapes_are_static")


def test_inputs_that_differ_from_the_specs_fail() -> None:
    class Wide(StaticReader):
        def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
            return (super().example_inputs(seed)[0].double(),)

    conformance = type("Wrong", (Conformance,), {"adapter": Wide})()
    with pytest.raises(ValueError, match="takes exactly"):
        conformance.test_shapes_are_static()


def test_values_that_leave_the_graph_fail() -> None:
    class Branches(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            return self.body(x) if x.sum() > 0 else -self.body(x)

    wrong = type("Adapter", (WithBody,), {"wrapper": Branches})
    message = failing(wrong, "test_graphs_trace_without_warning")
    assert "graph 'encode': a value leaves the graph for Python" in message
    assert "leaves the graph" in failing(wrong, "test_graphs_hold_no_loop_branch_or_wide_type")


def test_what_a_trace_freezes_silently_fails() -> None:
    class Remembers(Wrapped):
        first: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            y = self.body(x)
            self.first = y.detach() if self.first is None else self.first
            return y + self.first

    class Forgets(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            # NumPy's view of a tensor is a constant to a trace, without a word.
            return self.body(x) + torch.from_numpy(x.detach().numpy().sum(keepdims=True))

    message = failing(type("Adapter", (WithBody,), {"wrapper": Remembers}), "test_graphs_trace_without_warning")
    assert "graph 'encode'" in message
    assert failing(type("Adapter", (WithBody,), {"wrapper": Forgets}), "test_graphs_trace_without_warning")


@torch.jit.script
def halve_until_small(x: Tensor) -> Tensor:
    while bool(x.abs().max() > 10):
        x = x / 2
    return x


def test_loops_in_graphs_fail() -> None:
    class Loops(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            return halve_until_small(self.body(x))

    message = failing(type("Adapter", (WithBody,), {"wrapper": Loops}), "test_graphs_hold_no_loop_branch_or_wide_type")
    assert "graph 'encode' holds ['prim::Loop']" in message


def test_wide_types_at_the_border_of_a_graph_fail() -> None:
    class Double(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            return self.body(x).double()

    class TakesLong(StaticReader):
        def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
            specs = super().graph_specs()
            _, memory = specs["decode"]
            return {**specs, "decode": (TensorSpec("tokens", (self.specs[0].shape[0], STEPS), "int64"), memory)}

    class GivesDouble(StaticReader):
        def modules_by_name(self, source: Any) -> dict[str, nn.Module]:
            return {**super().modules_by_name(source), "encode": Double(source.body)}

    name = "test_graphs_hold_no_loop_branch_or_wide_type"
    assert "takes or gives ['tokens: int64" in failing(TakesLong, name)
    assert "takes or gives ['output 0: torch.float64']" in failing(GivesDouble, name)


def test_wrong_logits_fail() -> None:
    class NoContext(Decoder):
        def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
            return self.head(torch.tanh(self.embed(tokens) + memory.unsqueeze(1)))

    class Wrong(StaticReader):
        def decoder(self, source: nn.Module) -> nn.Module:
            return NoContext(source)

    message = failing(Wrong, "test_equals_the_original_row_by_row")
    assert "of seed 0 against the original" in message
    assert "tolerance" in message


def test_wrong_words_fail_though_the_logits_are_right() -> None:
    class Reversed(StaticReader):
        def decoded(self, outputs: Tensor) -> list[Any]:
            return [row[::-1] for row in super().decoded(outputs)]

    class Wrong(Conformance):
        adapter = Reversed

        def expected_results(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Any]:
            return StaticReader(model).decoded(model.eval()(*inputs))

    with pytest.raises(AssertionError, match=r"decoded row \d of seed 0 against the original's: got"):
        Wrong().test_equals_the_original_row_by_row()


def test_confidences_are_held_to_the_tolerance() -> None:
    class Scored(StaticReader):
        error = 0.0

        def decoded(self, outputs: Tensor) -> list[Any]:
            return [(word, 0.5 + self.error) for word in super().decoded(outputs)]

    class Right(Conformance):
        adapter = type("Adapter", (Scored,), {"error": 1e-6})

        def expected_results(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Any]:
            return Scored(model).decoded(model.eval()(*inputs))

    Right().test_equals_the_original_row_by_row()
    Right.adapter = type("Adapter", (Scored,), {"error": 1e-2})
    with pytest.raises(AssertionError, match="decoded row 0"):
        Right().test_equals_the_original_row_by_row()


def test_rows_that_influence_each_other_fail() -> None:
    class Mixes(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            y = self.body(x)
            return y + 0.1 * y.mean(0, keepdim=True)

    message = failing(type("Adapter", (WithBody,), {"wrapper": Mixes}), "test_rows_do_not_influence_each_other")
    assert "moved to 1 among other rows" in message


def test_a_place_that_is_treated_differently_fails() -> None:
    class FirstRow(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            y = self.body(x)
            return torch.cat([y[:1] * 1.5, y[1:]])

    assert failing(type("Adapter", (WithBody,), {"wrapper": FirstRow}), "test_rows_do_not_influence_each_other")


def test_inputs_that_show_nothing_fail() -> None:
    class Dull(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros_like(self.body(x))

    message = failing(type("Adapter", (WithBody,), {"wrapper": Dull}), "test_inputs_tell_an_adapter_apart")
    assert "9 rows gave 1 different results, expected at least 6" in message


class Meddles(StaticReader):
    """Does something to the caller's model."""

    def meddle(self, model: Any) -> None:
        raise NotImplementedError

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Tensor:
        self.meddle(source)
        return super().run_original(source, *inputs)


def weight(model: Any) -> None:
    model.head.bias.data += 1e-3


def replaced_weight(model: Any) -> None:
    model.head.weight = nn.Parameter(model.head.weight.detach().clone())


def running_statistics(model: Any) -> None:
    model.body[1].running_mean += 1


def attribute(model: Any) -> None:
    model.exportable = True


def setting(model: Any) -> None:
    model.settings["beams"] = 4


def module(model: Any) -> None:
    model.embed = copy.deepcopy(model.embed)


def hook(model: Any) -> None:
    model.head.register_forward_hook(lambda *_: None)


@pytest.mark.parametrize("meddle", [weight, replaced_weight, running_statistics, attribute, setting, module, hook])
def test_a_changed_model_fails(meddle: Callable[[Any], None]) -> None:
    wrong = type("Adapter", (Meddles,), {"meddle": lambda self, model: meddle(model)})
    assert "the caller's model was changed" in failing(wrong, "test_leaves_the_model_as_it_was")


def test_a_changed_mode_fails() -> None:
    class LeavesEval(StaticReader):
        def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
            self.source.eval()
            return super().graph_specs()

    assert "training" in failing(LeavesEval, "test_leaves_the_model_as_it_was")


def test_registered_weights_fail() -> None:
    class Registers(StaticReader):
        def __init__(self, model: nn.Module, batch_size: int) -> None:
            super().__init__(model, batch_size=batch_size)
            self.copy = copy.deepcopy(model.head)

    assert "registers the original's parameters" in failing(Registers, "test_leaves_the_model_as_it_was")


def test_an_artifact_that_differs_fails(tmp_path: Path) -> None:
    class Swaps(nn.Module):
        """Behaves as itself in Python, and differently in TorchScript."""

        def __init__(self, joined: nn.Module) -> None:
            super().__init__()
            self.joined = joined

        def forward(self, x: Tensor) -> Tensor:
            if torch.jit.is_scripting():  # type: ignore[attr-defined]
                x = -x
            return self.joined(x)

    class Wrong(StaticReader):
        def join(self, graphs: Any) -> nn.Module:
            return Swaps(super().join(graphs))

    assert "DISAGREE" in failing(Wrong, "test_compiles_saves_and_reloads", tmp_path)


def test_decoded_artifacts_are_compared_too(tmp_path: Path) -> None:
    class Confused(StaticReader):
        calls = 0

        def decoded(self, outputs: Tensor) -> list[Any]:
            Confused.calls += 1
            return [[Confused.calls], *super().decoded(outputs)]

    assert "decoded, seed 0, against the static model" in failing(Confused, "test_compiles_saves_and_reloads", tmp_path)


def test_a_missing_model_is_asked_for() -> None:
    with pytest.raises(NotImplementedError, match=r"Forgetful must define make_model\(self\)"):
        type("Forgetful", (AdapterConformance,), {})().test_shapes_are_static()


class LineReader(nn.Module):
    """A line recogniser of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d((8, 2)))
        self.read = nn.LSTM(6, 8, bidirectional=True, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.read(self.look(images).squeeze(2).transpose(1, 2))[0])


class StaticLineReader(StaticLine):
    family = "toy_lines"

    def __init__(self, model: nn.Module, batch_size: int) -> None:
        super().__init__(model, TensorSpec("images", (batch_size, 1, 8, 24)), 5)

    def network(self, source: Any) -> nn.Module:
        return source

    def alone(self, source: Any, images: Tensor) -> Tensor:
        return source(images)


class PaddedLines(PaddedConformance):
    adapter: Callable[..., StaticModel] = StaticLineReader
    atol = 1e-5

    def make_model(self) -> nn.Module:
        torch.manual_seed(0)
        model = LineReader()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(2)
            model.look[1].bias.normal_(0, 1)
        return model.eval()

    def make_static(self, model: nn.Module, batch_size: int) -> StaticModel:
        return type(self).adapter(model, batch_size=batch_size)


class TestLinesOfOnesOwn(PaddedLines):
    pass


class Padded(nn.Module):
    """Zeros the padding of images and results, and forgets the backward half in between, which starts in it."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.source = source

    def forward(self, images: Tensor, valid_width: Tensor) -> Tensor:
        columns = torch.arange(images.shape[3]) < valid_width[:, None]
        logits = self.source(torch.where(columns[:, None, None], images, torch.zeros_like(images)))
        steps = torch.arange(logits.shape[1]) < (valid_width // 2)[:, None]
        return torch.where(steps[:, :, None], logits, torch.zeros_like(logits))


class Forgets(StaticLineReader):
    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        return {"read": Padded(source)}


class ForgetsThroughout(Forgets):
    """Compares itself with an original that is padded as it is."""

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Tensor:
        return Padded(source)(*inputs)


class Leaks(StaticLineReader):
    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        right = super().modules_by_name(source)["read"]

        class Adds(nn.Module):
            def forward(self, images: Tensor, valid_width: Tensor) -> Tensor:
                return right(images, valid_width) + 1e-3 * images.mean((1, 2, 3))[:, None, None]

        return {"read": Adds()}


def failing_lines(adapter: type[StaticModel], test: str) -> str:
    conformance = type("Wrong", (PaddedLines,), {"adapter": adapter})()
    with pytest.raises(AssertionError) as error:
        getattr(conformance, test)()
    return str(error.value)


@pytest.mark.parametrize("adapter", [Forgets, ForgetsThroughout])
def test_an_adapter_that_forgets_the_backward_half_fails(adapter: type[StaticModel]) -> None:
    message = failing_lines(adapter, "test_equals_the_original_on_what_is_valid")
    assert "row 0 of seed 0 against the original on (8, " in message


def test_padding_that_leaks_fails() -> None:
    assert "padded with nan, against padded with" in failing_lines(Leaks, "test_padding_has_no_influence")


def test_inputs_without_padding_show_nothing_and_fail() -> None:
    class Full(StaticLineReader):
        def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
            images, valid = super().example_inputs(seed)
            return images, torch.full_like(valid, images.shape[3])

    assert "no row is smaller than the canvas" in failing_lines(Full, "test_padding_has_no_influence")
