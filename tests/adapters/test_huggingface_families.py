"""Text models of transformers, recognised by class, give what `generate` gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import neuronkit
from neuronkit.adapters.huggingface import HuggingFaceOptions
from neuronkit.errors import SpecError
from tests.adapters.huggingface_models import generated, lively, text_model

pytestmark = pytest.mark.peers

# name → seed, how much likelier EOS is, and the scale of random weights: whatever makes rows end at different steps.
MODELS = {
    "MT5": (0, 2.0, 4.0),
    "UMT5": (1, 2.0, 4.0),
    "LongT5": (1, 0.0, 2.0),
    "SwitchTransformers": (1, 2.0, 2.0),
    "MBart": (0, 2.0, 8.0),
    "M2M100": (1, 0.0, 4.0),
    "NllbMoe": (2, 4.0, 4.0),
    "Pegasus": (0, 0.0, 16.0),
    "PegasusX": (1, 4.0, 4.0),
    "BlenderbotSmall": (0, 4.0, 8.0),
    "LED": (1, 2.0, 4.0),
    "BigBirdPegasus": (1, 2.0, 4.0),
    "PLBart": (0, 4.0, 8.0),
    "Mvp": (2, 0.0, 8.0),
}


@pytest.mark.parametrize("name", MODELS)
def test_equals_generate(name: str) -> None:
    seed, eos_bias, scale = MODELS[name]
    model = lively(text_model(name, seed), eos_bias, scale)
    options = HuggingFaceOptions(source_length=9)
    static: Any = neuronkit.make_static(model, batch_size=8, options=options)
    compiled = neuronkit.compile_for_inferentia(static, target="cpu")
    for inputs in (static.example_inputs(3), static.example_inputs(4)):
        ids, mask = inputs
        expected = generated(model, inputs)
        with torch.no_grad():
            assert static.decoded(static(*inputs)) == expected
        # The graphs were traced with other inputs.
        assert static.decoded(compiled(*inputs)) == expected
        # Padding does not count.
        lengths = mask.sum(1).tolist()
        alone = [generated(model, (ids[i : i + 1, :n], mask[i : i + 1, :n]))[0] for i, n in enumerate(lengths)]
        assert expected == alone
        assert len({tuple(row) for row in expected}) > 3


def test_an_expert_takes_as_many_tokens_of_a_sequence_as_come_one_at_a_time() -> None:
    model = lively(text_model("SwitchTransformers", 1, expert_capacity=1), -0.5, 2.0)
    for cached in (True, False):
        model.generation_config.use_cache = cached  # type: ignore[union-attr]
        static: Any = neuronkit.make_static(model, batch_size=8, options=HuggingFaceOptions(source_length=9))
        inputs = static.example_inputs(3)
        with torch.no_grad():
            assert static.decoded(static(*inputs)) == generated(model, inputs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"moe_eval_capacity_token_fraction": 0.5}, "got moe_eval_capacity_token_fraction=0.5, with which a token's"),
        ({"second_expert_policy": "random"}, "got second_expert_policy='random', which draws experts at random"),
    ],
)
def test_experts_chosen_by_the_batch_or_by_chance_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        neuronkit.make_static(text_model("NllbMoe", **settings))
