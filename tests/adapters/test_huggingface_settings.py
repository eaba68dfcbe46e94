"""Generation settings count as the installed release of transformers counts them, or are refused by name."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import neuronkit
from neuronkit.adapters.huggingface import HuggingFaceOptions
from neuronkit.adapters.huggingface.history import BANNED
from neuronkit.errors import OptionError, ParityError, SpecError
from tests.adapters.huggingface_models import VOCABULARY, generated, lively, marian, text_model, trocr

pytestmark = pytest.mark.peers


def endless(**on_config: Any) -> Any:
    """A TrOCR of 60 positions that never gives EOS, with settings on `model.config` as an old checkpoint has them."""
    model: Any = lively(trocr(0, max_position_embeddings=60), -1.0, 8.0)
    # Untouched since it was made from the configuration.
    model.generation_config = type(model.generation_config).from_model_config(model.config)
    for name, value in on_config.items():
        setattr(model.config, name, value)
    return model


def ask(model: Any, images: Any, **arguments: Any) -> Any:
    """What the release does: the rows that it generates, or the error that it raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return generated(model, (images,), **arguments)
    except ValueError as error:
        return error


LENGTHS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({}, {"max_length": 20}),
    ({}, {"max_length": 19}),
    ({}, {"max_length": 2}),
    ({}, {"max_length": 40}),
    ({}, {"max_new_tokens": 20}),
    ({}, {"max_new_tokens": 7, "max_length": 30}),
    ({}, {"min_length": 30}),
    ({}, {"max_length": 20, "min_new_tokens": 25}),
    ({"max_length": 40}, {}),
    ({"max_length": 20}, {}),
    ({"max_length": 40}, {"max_length": 30}),
    ({"max_length": 40}, {"max_new_tokens": 5}),
    ({"min_length": 4}, {}),
    ({"num_beams": 1}, {}),
]


@pytest.mark.parametrize(("on_config", "on_generation"), LENGTHS, ids=str)
def test_lengths_are_those_of_the_release(on_config: dict[str, Any], on_generation: dict[str, Any]) -> None:
    def make() -> Any:
        model = endless(**on_config)
        for name, value in on_generation.items():
            setattr(model.generation_config, name, value)
        return model

    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = ask(make(), images)
    if isinstance(expected, Exception):
        with pytest.raises(SpecError, match="got a model whose generate fails with these settings"):
            neuronkit.make_static(make())
        return
    model = make()
    before = model.generation_config
    static: Any = neuronkit.make_static(model, batch_size=2)
    assert {static.steps} == set(map(len, expected))
    with torch.no_grad():
        assert static.decoded(static(images)) == expected
    # The reference is the model as its users call it, and leaves it as it was.
    assert static.decoded(static.reference(images)) == expected
    assert model.generation_config is before


def steps(model: Any) -> int:
    static: Any = neuronkit.make_static(model)
    return int(static.steps)


def test_the_figures_that_releases_are_known_for() -> None:
    transformers = pytest.importorskip("transformers")
    later = int(transformers.__version__.split(".")[0]) >= 5
    unset = endless()
    assert steps(unset) == 20
    unset.generation_config.max_length = 20
    assert steps(unset) == (19 if later else 20)
    if later:
        with pytest.raises(SpecError, match="ValueError: You have modified the pretrained model configuration"):
            neuronkit.make_static(endless(max_length=40))
    else:
        assert steps(endless(max_length=40)) == 39


def test_a_length_of_the_options_counts_new_tokens() -> None:
    model = endless()
    model.generation_config.max_length = 30
    static: Any = neuronkit.make_static(model, options=HuggingFaceOptions(max_length=6))
    images = static.example_inputs()
    assert static.steps == 6
    with torch.no_grad():
        assert static.decoded(static(*images)) == generated(model, images, max_new_tokens=6)


def test_settings_that_change_afterwards_are_seen_by_the_reference() -> None:
    model: Any = lively(trocr(0), -1.0, 16.0)
    static: Any = neuronkit.make_static(model, batch_size=2)
    model.generation_config.suppress_tokens = list(range(3, 30))
    with pytest.raises(ParityError):
        neuronkit.compile_for_inferentia(static, target="cpu")
    model.generation_config.max_length = 20
    with pytest.raises(SpecError, match=r"generate gives (19|20) tokens, expected 12 at most; .* have changed"):
        static.reference(*static.example_inputs())


REPRODUCED: list[dict[str, Any]] = [
    {"min_length": 7},
    {"min_new_tokens": 5, "min_length": 2},
    {"max_new_tokens": 4},
    {"max_length": 2, "forced_eos_token_id": 7, "forced_bos_token_id": 8},
    {"max_length": 6, "forced_eos_token_id": 7},
    {"max_length": 6, "forced_eos_token_id": [9, 7]},
    {"forced_bos_token_id": 9},
    {"forced_bos_token_id": 2},
    {"forced_bos_token_id": 9, "begin_suppress_tokens": [9, 11, 12]},
    {"suppress_tokens": list(range(3, 40)), "forced_bos_token_id": 50},
    {"begin_suppress_tokens": list(range(3, 50))},
    {"bad_words_ids": [[token] for token in range(2, 45)], "forced_bos_token_id": 6},
    {"use_cache": False, "min_length": 4},
    {"no_repeat_ngram_size": 1, "min_length": 9},
    {"repetition_penalty": 3.0},
    {"bad_words_ids": [[a, b] for a in range(0, 60, 2) for b in range(3, 40)]},
    {"sequence_bias": [[[token], -2.5] for token in range(3, 40)]},
    {"sequence_bias": [[[a, b], 3.0] for a in range(0, 60, 2) for b in range(3, 40)]},
    {"eos_token_id": list(range(2, 14))},
    {"eos_token_id": [2, 3, 7, 9], "min_length": 3, "pad_token_id": 6},
]
WITHOUT_EFFECT: list[dict[str, Any]] = [
    {"no_repeat_ngram_size": 0, "repetition_penalty": 1.0, "num_beams": 1, "early_stopping": True, "top_k": 3},
    {"temperature": 0.3, "top_p": 0.5, "typical_p": 0.2, "length_penalty": 3.0, "diversity_penalty": 0.0},
    {"output_scores": True, "output_attentions": True, "output_hidden_states": True, "encoder_no_repeat_ngram_size": 0},
    # Of an encoder that reads no tokens.
    {"encoder_no_repeat_ngram_size": 2, "encoder_repetition_penalty": 1.5},
    {"cache_implementation": "dynamic", "guidance_scale": 1.0, "num_return_sequences": 1},
    {"bad_words_ids": None, "suppress_tokens": None, "forced_bos_token_id": None, "do_sample": False},
]


@pytest.mark.parametrize("given", [*REPRODUCED, *WITHOUT_EFFECT], ids=str)
def test_settings_are_reproduced(given: dict[str, Any]) -> None:
    model: Any = lively(trocr(0), 2.0, 16.0)
    plain: Any = neuronkit.make_static(model, batch_size=6)
    images = plain.example_inputs(5)
    for name, value in given.items():
        setattr(model.generation_config, name, value)
    static: Any = neuronkit.make_static(model, batch_size=6)
    with torch.no_grad():
        ids = static.decoded(static(*images))
        for name in ("output_attentions", "output_hidden_states"):
            # Nothing but sequences, for the comparison.
            setattr(model.generation_config, name, None)
        assert ids == ask(model, images[0])
        assert (ids != plain.decoded(plain(*images))) == (given in REPRODUCED)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"do_sample": True}, "got do_sample=True in"),
    ({"do_sample": True, "top_k": 0, "temperature": 0.5}, "got do_sample=True in"),
    ({"penalty_alpha": 0.6, "top_k": 4}, "got penalty_alpha=0.6 in"),
    ({"prompt_lookup_num_tokens": 3}, "got prompt_lookup_num_tokens=3 in"),
    ({"assistant_early_exit": 1}, "got assistant_early_exit=1 in"),
    ({"dola_layers": "high"}, "got dola_layers='high' in"),
    (
        {"num_beam_groups": 2, "num_beams": 2, "diversity_penalty": 0.5},
        "got diversity_penalty=0.5, num_beam_groups=2",
    ),
    ({"num_return_sequences": 2}, "not support `num_return_sequences` different than 1"),
    ({"cache_implementation": "quantized"}, "got cache_implementation='quantized' in"),
    ({"cache_implementation": "static"}, "got cache_implementation='static' in"),
    ({"repetition_penalty": 1.2, "guidance_scale": 2.0}, "got guidance_scale=2.0 in"),
    ({"remove_invalid_values": True}, "got remove_invalid_values=True in"),
    ({"sequence_bias": [[[3], float("inf")]]}, "got sequence_bias="),
    ({"token_healing": True}, "got token_healing=True in"),
    ({"max_time": 0.5}, "got max_time=0.5 in"),
    ({"stop_strings": ["."]}, r"got stop_strings=\['\.'\] in"),
    ({"a_setting_to_come": 1}, "got a_setting_to_come=1 in"),
    (
        {"bad_words_ids": [[VOCABULARY]]},
        "fails with these settings and sizes, ValueError: The model vocabulary size",
    ),
    ({"forced_bos_token_id": VOCABULARY}, "fails with these settings and sizes, IndexError"),
    ({"eos_token_id": None}, "got eos_token_id=None in"),
    (
        {"decoder_start_token_id": None, "bos_token_id": None},
        "`decoder_start_token_id` or `bos_token_id` has",
    ),
    ({"max_length": 1}, "Input length of decoder_input_ids is 1, but `max_length` is set to 1"),
    ({"max_length": 10**8}, "got 99999999 new tokens in the generation settings; expected at most 16384"),
    ({"max_length": 60}, "got max_length=59 new tokens; expected at most 24, the positions of this model's decoder"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=str)
def test_settings_that_are_not_reproduced_are_refused_by_name(given: dict[str, Any], message: str) -> None:
    model = trocr(0)
    for name, value in given.items():
        setattr(model.generation_config, name, value)
    with pytest.raises(SpecError, match=message):
        neuronkit.make_static(model)


SOURCE_RULES: list[dict[str, Any]] = [
    {"encoder_repetition_penalty": 3.0},
    {"encoder_no_repeat_ngram_size": 1},
    {"encoder_no_repeat_ngram_size": 2, "sequence_bias": [[[token], 4.0] for token in range(20)]},
]


@pytest.mark.parametrize("method", ["fixed_point", "stepwise"])
@pytest.mark.parametrize("given", SOURCE_RULES, ids=str)
def test_rules_that_read_the_encoders_tokens_are_reproduced(given: dict[str, Any], method: str) -> None:
    model: Any = lively(text_model("T5"), 2.0, 4.0)
    options = HuggingFaceOptions(source_length=9, method=method)
    plain: Any = neuronkit.make_static(model, batch_size=6, options=options)
    for name, value in given.items():
        setattr(model.generation_config, name, value)
    static: Any = neuronkit.make_static(model, batch_size=6, options=options)
    inputs = static.example_inputs(5)
    with torch.no_grad():
        ids = static.decoded(static(*inputs))
        assert ids == generated(model, inputs)
        assert ids != plain.decoded(plain(*inputs))


def test_rules_that_look_back_take_one_position_a_call_where_texts_are_long() -> None:
    model: Any = lively(trocr(0, max_position_embeddings=140), -1.0, 8.0)
    model.generation_config.no_repeat_ngram_size = 2
    static: Any = neuronkit.make_static(model, batch_size=2, options=HuggingFaceOptions(max_length=132))
    images = static.example_inputs()
    calls = static.passes(*images)
    assert calls == calls.positions == 132
    with torch.no_grad():
        assert static.decoded(static(*images)) == generated(model, images, max_new_tokens=132)
    with pytest.raises(OptionError, match="got method='fixed_point', 132 new tokens and rules that look at earlier"):
        neuronkit.make_static(model, options=HuggingFaceOptions(max_length=132, method="fixed_point"))


@pytest.mark.parametrize("given", [{"no_repeat_ngram_size": 2}, {"num_beams": 3}, {"repetition_penalty": 1.5}], ids=str)
def test_settings_of_the_model_configuration_are_not_ignored(given: dict[str, Any]) -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = ask(endless(**given), images)
    if isinstance(expected, Exception):
        with pytest.raises(SpecError, match="got a model whose generate fails"):
            neuronkit.make_static(endless(**given))
        return
    static: Any = neuronkit.make_static(endless(**given), batch_size=2)
    with torch.no_grad():
        assert static.decoded(static(images)) == expected


def test_beams_of_a_checkpoint_can_be_declined() -> None:
    model: Any = lively(marian(1), 4.0, 8.0)
    model.generation_config.num_beams = 4
    options = HuggingFaceOptions(source_length=9, num_beams=1)
    static: Any = neuronkit.make_static(model, batch_size=4, options=options)
    inputs = static.example_inputs(2)
    expected = generated(model, inputs, num_beams=1)
    with torch.no_grad():
        assert static.decoded(static(*inputs)) == expected
    assert static.decoded(static.reference(*inputs)) == expected


@settings(max_examples=25, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "max_length": st.integers(2, 16),
            "max_new_tokens": st.integers(1, 15),
            "min_length": st.integers(0, 18),
            "min_new_tokens": st.integers(0, 12),
            "forced_bos_token_id": st.integers(0, 12),
            "forced_eos_token_id": st.integers(0, 12),
            "suppress_tokens": st.lists(st.integers(0, VOCABULARY + 3), max_size=20),
            "begin_suppress_tokens": st.lists(st.integers(0, VOCABULARY - 1), max_size=20),
            "bad_words_ids": st.lists(st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=1), min_size=1),
            "use_cache": st.booleans(),
        },
    )
)
def test_any_mixture_of_settings_is_reproduced_or_refused_with_the_release(given: dict[str, Any]) -> None:
    model: Any = MIXED
    model.generation_config = type(model.generation_config)(**BASE, **given)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    expected = ask(model, images)
    if isinstance(expected, Exception):
        with pytest.raises(SpecError):
            neuronkit.make_static(model)
        return
    static: Any = neuronkit.make_static(model, batch_size=4)
    with torch.no_grad():
        assert static.decoded(static(images)) == expected


BASE = {"decoder_start_token_id": 2, "eos_token_id": 2, "pad_token_id": 1}
MIXED: nn.Module | None = None


@pytest.fixture(autouse=True, scope="module")
def mixed() -> None:
    global MIXED
    MIXED = lively(trocr(0), 2.0, 16.0)


def test_the_constant_in_place_of_infinity_survives_every_wide_type() -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        assert float(torch.tensor(BANNED, dtype=dtype)) == BANNED
    model = text_model("T5")
    model.generation_config.bad_words_ids = [[7]]
    static: Any = neuronkit.make_static(model, options=HuggingFaceOptions(source_length=4))
    with torch.no_grad():
        scores = static(*static.example_inputs())
    assert (scores[..., 7] == BANNED).all()
