"""Text models of transformers, recognised by class, give what `generate` gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import neuronkit
from neuronkit.adapters.huggingface import HuggingFaceOptions
from neuronkit.errors import OptionError, SpecError
from tests.adapters.generation_cases import OWN
from tests.adapters.huggingface_models import VOCABULARY, generated, lively, text_model, whisper

pytestmark = pytest.mark.peers

MODELS = (
    *("MT5", "UMT5", "LongT5", "SwitchTransformers", "MBart", "M2M100", "NllbMoe", "Pegasus", "PegasusX"),
    *("BlenderbotSmall", "LED", "BigBirdPegasus", "PLBart", "Mvp"),
)
# Seed, how much likelier EOS is, and the scale of random weights.
MIXES = ((1, 2.0, 4.0), (0, 2.0, 8.0), (2, 0.0, 8.0), (1, 0.0, 4.0), (2, 4.0, 4.0), (0, 0.0, 16.0), (1, 0.0, 2.0))


def varied(name: str, inputs: tuple[Tensor, ...]) -> Any:
    """A model whose rows differ, from the first mix that the installed release's random numbers suit."""
    for seed, eos_bias, scale in MIXES:
        model = lively(text_model(name, seed), eos_bias, scale)
        if len({tuple(row) for row in generated(model, inputs)}) > 3:
            return model
    raise AssertionError(f"no mix makes the rows of {name} differ")


@pytest.mark.parametrize("name", MODELS)
def test_equals_generate(name: str) -> None:
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(0, VOCABULARY, (8, 9), generator=generator, dtype=torch.int32)
    mask = (torch.arange(9) < torch.randint(1, 10, (8, 1), generator=generator)).to(torch.int32)
    model = varied(name, (ids, mask))
    static: Any = neuronkit.make_static(model, batch_size=8, options=HuggingFaceOptions(source_length=9))
    compiled = neuronkit.compile_for_inferentia(static, target="cpu")
    expected = generated(model, (ids, mask))
    with torch.no_grad():
        assert static.decoded(static(ids, mask)) == expected
    # The graphs were traced with other inputs.
    assert static.decoded(compiled(ids, mask)) == expected
    stepwise = HuggingFaceOptions(source_length=9, method="stepwise")
    cached: Any = neuronkit.make_static(model, batch_size=8, options=stepwise)
    # LED's decoder drops the mask of a single token.
    assert (cached.decoding.prefix is None) == (name == "LED")
    with torch.no_grad():
        assert cached.decoded(cached(ids, mask)) == expected
    # Padding does not count.
    lengths = mask.sum(1).tolist()
    assert expected == [generated(model, (ids[i : i + 1, :n], mask[i : i + 1, :n]))[0] for i, n in enumerate(lengths)]


@pytest.mark.parametrize("name", ["vit-bert", "vit-gpt2", "vit-xglm", "donut", "nougat", "pix2struct", "whisper"])
def test_pictures_and_sounds_equal_generate(name: str) -> None:
    for beams, method in ((1, "auto"), (1, "stepwise"), (3, "auto")):
        model: Any = OWN[name]()
        model.generation_config.num_beams = beams
        static: Any = neuronkit.make_static(model, batch_size=6, options=HuggingFaceOptions(method=method))
        inputs = static.example_inputs(3)
        calls = static.passes(*inputs)
        assert calls.positions == (calls * static.steps if (beams, method) == (1, "auto") else calls)
        expected = generated(model, inputs)
        assert len({tuple(row) for row in expected}) > 1
        with torch.no_grad():
            found = static.decoded(static(*inputs))
        # Whisper's generate leaves out what it starts from.
        start = 3 if name == "whisper" else 0
        assert [row[start:] for row in found] == expected
    compiled = neuronkit.compile_for_inferentia(static, target="cpu", progress=False)
    assert static.decoded(compiled(*inputs)) == found


def test_whisper_starts_from_a_language_that_is_fixed() -> None:
    model = whisper(1)
    static: Any = neuronkit.make_static(model)
    assert static.specs[0].shape == (1, 8, 200)
    assert static.generation.prompt == (50, 52, 53, 60)
    with pytest.raises(AttributeError, match="has no attribute 'generate'"):
        _ = neuronkit.compile_for_inferentia(static, target="cpu", progress=False).generate
    with pytest.raises(OptionError, match="got WhisperForConditionalGeneration, whose generate gives other ids than"):
        neuronkit.integrations.huggingface.accelerate(model)
    for name, value, message in (
        ("language", None, "got language=None in the generation settings, with which generate finds a language"),
        ("language", ["de"], r"got language=\['de'\] in the model's generation settings; expected one for all rows"),
        ("return_timestamps", True, "got return_timestamps=True in"),
        ("num_return_sequences", 2, "got num_return_sequences=2 in"),
        ("no_speech_threshold", 0.6, "got no_speech_threshold=0.6 in"),
        ("suppress_tokens", list(range(VOCABULARY)), "got settings that ban every token at a position, with which"),
    ):
        model = whisper(1)
        setattr(model.generation_config, name, value)
        model.generation_config.num_beams = 2
        with pytest.raises(SpecError, match=message):
            neuronkit.make_static(model)


@pytest.mark.parametrize("name", ["Bart", "MT5"])
def test_half_precision_is_traced_without_asking_whether_a_layer_has_overflown(name: str) -> None:
    model = lively(text_model(name), 2.0, 2.0).half()
    static: Any = neuronkit.make_static(model, batch_size=4, options=HuggingFaceOptions(source_length=9))
    inputs = static.example_inputs(1)
    compiled = neuronkit.compile_for_inferentia(static, target="cpu")
    assert static.decoded(compiled(*inputs)) == generated(model, inputs)


def test_sparse_attention_is_limited_to_lengths_that_are_attended_densely() -> None:
    sparse = {"attention_type": "block_sparse", "block_size": 2, "num_random_blocks": 1}
    model = lively(text_model("BigBirdPegasus", 1, **sparse), 2.0, 4.0)
    with pytest.raises(SpecError, match="got source_length=15; expected at most 14, the positions"):
        neuronkit.make_static(model, options=HuggingFaceOptions(source_length=15))
    static: Any = neuronkit.make_static(model, batch_size=8)
    ids, mask = static.example_inputs(1)
    assert ids.shape == (8, 14)
    with torch.no_grad():
        assert static.decoded(static(ids, mask)) == generated(model, (ids, mask))


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
