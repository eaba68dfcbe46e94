"""Hugging Face encoder–decoders in fixed shapes equal `generate(num_beams=1, do_sample=False)`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neuronkit
from neuronkit.adapters.huggingface import HuggingFaceOptions
from neuronkit.errors import SpecError
from neuronkit.testing import AdapterConformance

pytestmark = pytest.mark.peers

VOCABULARY = 61
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 24,
}


def lively(model: Any, eos_bias: float = 0.0, scale: float = 4.0) -> nn.Module:
    """Scale random weights up until tokens depend on the input and on the tokens before them."""
    model.generation_config.max_length = 13
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(scale)
        head = model.get_output_embeddings()
        # A head of its own, so that it does not repeat what went in.
        head.weight = nn.Parameter(torch.randn(head.weight.shape, generator=generator) * 0.3)
        row = head.weight[model.generation_config.eos_token_id]
        row.mul_(1 + eos_bias)
    return model.eval()


def trocr(seed: int, **settings: Any) -> nn.Module:
    from transformers import TrOCRConfig, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig

    torch.manual_seed(seed)
    encoder = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8
    )
    decoder = TrOCRConfig(
        vocab_size=VOCABULARY,
        d_model=32,
        decoder_layers=2,
        decoder_attention_heads=2,
        decoder_ffn_dim=64,
        max_position_embeddings=24,
        **{"cross_attention_hidden_size": 32, **settings},
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    model = VisionEncoderDecoderModel(config=config)
    generation = model.generation_config
    generation.decoder_start_token_id, generation.pad_token_id, generation.eos_token_id = 2, 1, 2
    return model


def marian(seed: int) -> nn.Module:
    from transformers import MarianConfig, MarianMTModel

    torch.manual_seed(seed)
    model = MarianMTModel(MarianConfig(**SIZES, pad_token_id=60, eos_token_id=0, decoder_start_token_id=60))
    # As published: padding is never given, and the last token is EOS.
    model.generation_config.bad_words_ids = [[60]]
    model.generation_config.forced_eos_token_id = 0
    model.generation_config.num_beams = 4
    return model


def bart(seed: int) -> nn.Module:
    from transformers import BartConfig, BartForConditionalGeneration

    torch.manual_seed(seed)
    model = BartForConditionalGeneration(BartConfig(**SIZES))
    model.generation_config.forced_bos_token_id = 0
    return model


def t5(seed: int) -> nn.Module:
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=VOCABULARY, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, decoder_start_token_id=0
    )
    return T5ForConditionalGeneration(config)


class Generates(AdapterConformance):
    """Decoded results are the ids that `generate` itself gives."""

    distinct_results = 6

    def expected_results(self, model: Any, inputs: tuple[Tensor, ...]) -> list[Any]:
        model = getattr(model, "module", model).eval()
        names = ("pixel_values",) if inputs[0].dim() == 4 else ("input_ids", "attention_mask")
        values = [x if x.dim() == 4 else x.long() for x in inputs]
        (sequence,) = model.generate(**dict(zip(names, values)), num_beams=1, do_sample=False).tolist()
        end = model.generation_config.eos_token_id
        ids = sequence[1:]
        return [ids[: ids.index(end)] if end in ids else ids]


class TestTrOCR(Generates):
    def make_model(self) -> nn.Module:
        return lively(trocr(0), 2.0, 16.0)


class TestTrOCRWithSinusoidalPositions(Generates):
    def make_model(self) -> nn.Module:
        return lively(trocr(2, use_learned_position_embeddings=False), 4.0, 8.0)


class TestMarian(Generates):
    distinct_results = 4
    options = HuggingFaceOptions(source_length=9)

    def make_model(self) -> nn.Module:
        return lively(marian(1), 4.0, 8.0)


class TestBART(Generates):
    options = HuggingFaceOptions(source_length=9)

    def make_model(self) -> nn.Module:
        return lively(bart(1), 2.0, 8.0)


class TestT5(Generates):
    options = HuggingFaceOptions(source_length=9)

    def make_model(self) -> nn.Module:
        return lively(t5(0), 2.0, 4.0)


def generated(static: Any, inputs: tuple[Tensor, ...], **settings: Any) -> list[list[int]]:
    """What the original generates with its own settings, without the start and up to EOS."""
    names = ("pixel_values",) if static.reads_images else ("input_ids", "attention_mask")
    values = inputs if static.reads_images else [x.long() for x in inputs]
    sequences = static.original.generate(**dict(zip(names, values)), num_beams=1, do_sample=False, **settings).tolist()
    end = static.eos_id
    return [ids[1 : ids.index(end, 1)] if end in ids[1:] else ids[1:] for ids in sequences]


@pytest.mark.parametrize(
    "settings",
    [
        {"min_length": 7},
        {"min_new_tokens": 5, "min_length": 2},
        {"max_new_tokens": 4},
        {"max_length": 2, "forced_eos_token_id": 7, "forced_bos_token_id": 8},
        {"max_length": 6, "forced_eos_token_id": 7},
        {"forced_bos_token_id": 9},
        {"forced_bos_token_id": 2},
        {"forced_bos_token_id": 9, "begin_suppress_tokens": [9, 11, 12]},
        {"suppress_tokens": list(range(3, 40)), "forced_bos_token_id": 50},
        {"begin_suppress_tokens": list(range(3, 50))},
        {"bad_words_ids": [[token] for token in range(2, 45)], "forced_bos_token_id": 6},
        {"no_repeat_ngram_size": 0, "repetition_penalty": 1.0, "num_beams": 5, "early_stopping": True, "top_k": 3},
    ],
    ids=str,
)
def test_settings_of_generation_are_reproduced(settings: dict[str, Any]) -> None:
    model = lively(trocr(0), 2.0, 16.0)
    plain = neuronkit.make_static(model, batch_size=6)
    images = plain.example_inputs(5)
    for name, value in settings.items():
        setattr(model.generation_config, name, value)
    static = neuronkit.make_static(model, batch_size=6)
    with torch.no_grad():
        ids = static.decoded(static(*images))
        assert ids == generated(static, images)
        if "top_k" not in settings:
            assert ids != plain.decoded(plain(*images))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"no_repeat_ngram_size": 3}, "generation_config sets no_repeat_ngram_size=3, which static decoding does not"),
        ({"repetition_penalty": 1.2, "guidance_scale": 2.0}, "sets guidance_scale=2.0, repetition_penalty=1.2, which"),
        ({"bad_words_ids": [[3, 4]]}, r"bad_words_ids=\[\[3, 4\]\]: words of one token are reproduced"),
        ({"eos_token_id": [2, 3]}, r"eos_token_id=\[2, 3\]: expected one token"),
        ({"eos_token_id": None}, "eos_token_id=None: expected one token"),
        ({"decoder_start_token_id": None, "bos_token_id": None}, "decoder_start_token_id=None and bos_token_id=None"),
        ({"stop_strings": ["."]}, "stop_strings"),
        ({"a_setting_to_come": 1}, "a_setting_to_come=1"),
        ({"max_length": 1}, "max_length=0: expected at least 1 new token"),
        ({"max_length": 60}, "max_length=59: this model's decoder has 24 positions"),
    ],
)
def test_settings_that_are_not_reproduced_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    model = trocr(0)
    for name, value in settings.items():
        setattr(model.generation_config, name, value)
    with pytest.raises(SpecError, match=message):
        neuronkit.make_static(model)


def test_padding_inside_a_sequence_is_numbered_as_cached_decoding_numbers_it() -> None:
    model = lively(trocr(2, use_learned_position_embeddings=False), 0.0, 8.0)
    with torch.no_grad():
        model.get_output_embeddings().weight[1] *= 4
    static = neuronkit.make_static(model, batch_size=9)
    images = static.example_inputs()
    with torch.no_grad():
        ids = static.decoded(static(*images))
    assert any(1 in row[:-2] for row in ids)
    assert ids == generated(static, images)


@pytest.mark.parametrize("method", ["stepwise", "unrolled"])
def test_every_method_gives_the_same(method: str) -> None:
    model = lively(marian(1), 4.0, 8.0)
    options = HuggingFaceOptions(source_length=7, max_length=6, method=method)
    static = neuronkit.make_static(model, batch_size=4, options=options)
    inputs = static.example_inputs()
    with torch.no_grad():
        assert static.decoded(static(*inputs)) == generated(static, inputs, max_new_tokens=6)
    compiled = neuronkit.compile_for_inferentia(static, target="cpu")
    assert static.decoded(compiled(*inputs)) == static.decoded(static(*inputs))


def test_attention_is_spelled_out_in_the_graphs_and_stays_as_it_is_in_the_model() -> None:
    model = lively(trocr(0))
    before = model.encoder.config._attn_implementation, model.decoder.config._attn_implementation
    assert "sdpa" in before
    report = neuronkit.analyze(neuronkit.make_static(model), target="inf1")
    assert "aten::scaled_dot_product_attention" not in report.counts
    assert (model.encoder.config._attn_implementation, model.decoder.config._attn_implementation) == before


def test_follows_the_weights_and_new_modules() -> None:
    model = lively(trocr(0), 2.0, 16.0)
    static = neuronkit.make_static(model, batch_size=4)
    images = static.example_inputs()
    with torch.no_grad():
        before = static(*images)
        model.get_output_embeddings().weight.mul_(-1)
        assert not torch.allclose(static(*images), before)
        assert static.decoded(static(*images)) == generated(static, images)
        model.decoder.output_projection = nn.Linear(32, VOCABULARY, bias=False)
        assert static.decoded(static(*images)) == generated(static, images)


def test_the_defaults_are_all_the_code_it_takes() -> None:
    model = marian(0)
    static = neuronkit.make_static(model)
    assert [spec.shape for spec in static.specs] == [(1, 24), (1, 24)]
    # generate() gives 20 new tokens unless it is told otherwise.
    assert static.steps == 20
    assert neuronkit.make_static(trocr(0)).specs[0].shape == (1, 3, 32, 32)


def test_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SpecError, match="source_length=25: this model's encoder has 24 positions"):
        neuronkit.make_static(marian(0), options=HuggingFaceOptions(source_length=25))
    with pytest.raises(SpecError, match="width=0: expected a positive number"):
        HuggingFaceOptions(width=0)
