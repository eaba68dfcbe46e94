"""as_static: compile, analyze and estimate take a model and its inputs through one door."""

import pytest
import torch
from torch import nn

from neuronkit import StaticPARSeq, TensorSpec, analyze, compile_for_inferentia, estimate
from neuronkit.demo.weights import load_parseq
from neuronkit.errors import NeuronKitError, SpecError, UnknownModelError
from neuronkit.static.model import StaticModel, as_static

SPEC = TensorSpec("x", (2, 4))
DOORS = {
    "compile": lambda model, inputs: compile_for_inferentia(model, inputs, target="cpu"),
    "analyze": lambda model, inputs: analyze(model, inputs, target="inf2"),
    "estimate": lambda model, inputs: estimate(model, inputs, target="inf2"),
}


class Floor(nn.Module):
    """Fails on zeros and on random inputs."""

    def forward(self, x):
        if not bool((x == 7).all()):
            raise ValueError("expected sevens")
        return x + 1


@pytest.mark.parametrize(
    ("model", "inputs", "error"),
    [
        ("resnet", SPEC, UnknownModelError),
        (nn.Linear, SPEC, UnknownModelError),
        (nn.Linear(4, 2), None, SpecError),
        (nn.Linear(4, 2), 3, SpecError),
        (nn.Linear(4, 2), [SPEC, "x"], SpecError),
        (StaticPARSeq(load_parseq(), max_length=3), SPEC, SpecError),
    ],
    ids=["name", "class", "no inputs", "number", "text among inputs", "static model with inputs"],
)
def test_the_same_mistake_has_one_text(model, inputs, error) -> None:
    texts = {}
    for name, door in DOORS.items():
        with pytest.raises(NeuronKitError) as caught:
            door(model, inputs)
        assert type(caught.value) is error, name
        texts[name] = str(caught.value)
    assert len(set(texts.values())) == 1, texts
    assert "got" in texts["compile"]


def test_a_plain_models_graph_has_one_name() -> None:
    compiled = compile_for_inferentia(nn.Linear(4, 2), SPEC, target="cpu")
    costs = estimate(nn.Linear(4, 2), SPEC, target="inf2")
    (problem,) = analyze(nn.Embedding(5, 2), TensorSpec("ids", (2,), "int32"), target="inf1").problems
    assert [*compiled.manifest["graphs"]] == [*costs.graphs] == [problem.graph] == ["main"]


def test_a_static_model_is_taken_as_it_is() -> None:
    static = StaticPARSeq(load_parseq(), max_length=3)
    assert as_static(static) is static


def test_tensors_are_the_examples_and_specs_are_drawn() -> None:
    given = torch.full((2, 4), 7.0)
    static = as_static(Floor(), given)
    assert isinstance(static, StaticModel)
    assert static.example_inputs(seed=5)[0] is given
    mixed = as_static(nn.Bilinear(4, 4, 1), [given, SPEC]).example_inputs()
    assert mixed[0] is given
    assert mixed[1].shape == (2, 4)
    # A tensor without data only says what shape it has.
    assert not as_static(nn.Linear(4, 2), torch.zeros(2, 4, device="meta")).example_inputs()[0].is_meta
    assert estimate(Floor(), given, target="inf2").batch_size == 2
