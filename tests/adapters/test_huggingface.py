"""Hugging Face encoder–decoders in fixed shapes equal `generate`."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neuronkit
from neuronkit.adapters.huggingface import HuggingFaceOptions
from neuronkit.errors import ArtifactError, OptionError, SpecError, UnknownModelError
from neuronkit.testing import AdapterConformance
from tests.adapters.huggingface_models import (
    SIZES,
    T5_SIZES,
    VOCABULARY,
    bart,
    donut,
    generated,
    lively,
    marian,
    pix2struct,
    roberta,
    text_model,
    trocr,
)

pytestmark = pytest.mark.peers
HALF = (0.5, 0.5, 0.5)


class Generates(AdapterConformance):
    """Decoded results are the ids that `generate` itself gives."""

    distinct_results = 6

    def expected_results(self, model: Any, inputs: tuple[Tensor, ...]) -> list[Any]:
        return generated(getattr(model, "module", model).eval(), inputs)


class TestTrOCR(Generates):
    def make_model(self) -> nn.Module:
        return lively(trocr(0), 2.0, 16.0)


class TestTrOCRTokens(TestTrOCR):
    options = HuggingFaceOptions(method="fused", outputs="tokens", raw_images=True, image_mean=HALF, image_std=HALF)

    def expected_results(self, model: Any, inputs: tuple[Tensor, ...]) -> list[Any]:
        return super().expected_results(model, self.make_static(model, 1).normalized(inputs))


class TestTrOCRStepwiseTokens(TestTrOCRTokens):
    options = dataclasses.replace(TestTrOCRTokens.options, method="stepwise")


class TestDonutFusedTokens(TestTrOCRTokens):
    distinct_results = 4

    def make_model(self) -> nn.Module:
        return lively(donut(1), 2.0, 4.0)


class TestTrOCRWithSinusoidalPositions(Generates):
    def make_model(self) -> nn.Module:
        return lively(trocr(2, use_learned_position_embeddings=False), 4.0, 8.0)


class TestMarian(Generates):
    distinct_results = 4
    options = HuggingFaceOptions(source_length=9)

    def make_model(self) -> nn.Module:
        return lively(marian(1), 4.0, 8.0)


class TestMarianFusedTokens(TestMarian):
    options = HuggingFaceOptions(source_length=9, method="fused", outputs="tokens")


class TestBART(Generates):
    options = HuggingFaceOptions(source_length=9)

    def make_model(self) -> nn.Module:
        return lively(bart(1), 2.0, 8.0)


class TestT5(Generates):
    options = HuggingFaceOptions(source_length=9)

    def make_model(self) -> nn.Module:
        return lively(text_model("T5"), 2.0, 4.0)


@pytest.mark.parametrize(
    ("method", "outputs"),
    [
        ("fixed_point", "tokens"),
        ("stepwise", "tokens"),
        ("unrolled", "tokens"),
        ("fused", "tokens"),
        ("fused", "logits"),
    ],
)
def test_bytes_and_tokens_by_every_method(method: str, outputs: str) -> None:
    model: Any = lively(trocr(0), 2.0, 16.0)
    processor = image_processors()["torchvision"]
    options = HuggingFaceOptions(
        max_length=8, method=method, outputs=outputs, raw_images=True, image_processor=processor
    )
    static: Any = neuronkit.make_static(model, batch_size=4, options=options)
    # Of large patches, so that they look different.
    images = np.random.default_rng(5).integers(0, 256, (12, 3, 3, 3), np.uint8).repeat(16, 1).repeat(12, 2)
    raw = processor(list(images), do_rescale=False, do_normalize=False, return_tensors="pt").pixel_values
    assert (raw.dtype, tuple(raw.shape)) == (torch.uint8, (12, 3, 32, 32))
    expected = model.generate(processor(list(images), return_tensors="pt").pixel_values, max_new_tokens=8).tolist()
    assert len(set(map(tuple, expected))) > 6
    with torch.no_grad():
        decoded = static.decoded(static(raw))
    assert decoded == [row[1 : row.index(2, 1)] if 2 in row[1:] else row[1:] for row in expected]
    if method != "fused":
        return
    compiled = neuronkit.compile_for_inferentia(static, target="cpu")
    assert compiled.generate(pixel_values=raw).tolist() == expected
    names = ["tokens", "probabilities"] if outputs == "tokens" else ["logits"]
    assert [spec.name for spec in compiled.output_specs] == names
    with pytest.raises(SpecError, match=r"images: .*float32.*uint8"):
        compiled.generate(pixel_values=torch.zeros(4, 3, 32, 32))


def image_processors() -> dict[str, Any]:
    """Of both kinds, with and without some of their steps."""
    import transformers

    size = {"height": 32, "width": 32}
    found: dict[str, Any] = {"torchvision": transformers.ViTImageProcessor(size=size)}
    statistics = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225), "size": size}
    found["of other statistics"] = transformers.ViTImageProcessor(**statistics)
    found["without anything"] = transformers.ViTImageProcessor(do_normalize=False, do_rescale=False, size=size)
    if hasattr(transformers, "ViTImageProcessorPil"):
        found["Pillow"] = transformers.ViTImageProcessorPil(**statistics)
        found["Pillow, scale alone"] = transformers.ViTImageProcessorPil(do_normalize=False, size=size)
        found["Donut"] = transformers.DonutImageProcessor(size=size)
    return found


def test_bytes_give_the_bits_that_the_processor_gives() -> None:
    images = list(np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8))
    model = trocr(0)
    for name, processor in image_processors().items():
        raw = processor(images, do_rescale=False, do_normalize=False, return_tensors="pt").pixel_values
        static = neuronkit.make_static(model, options=HuggingFaceOptions(raw_images=True, image_processor=processor))
        expected = processor(images, return_tensors="pt").pixel_values.float()
        assert torch.equal(static.normalized((raw,))[0], expected), name


def test_normalisation_that_is_not_said_or_not_reproduced_is_refused() -> None:
    import transformers

    with pytest.raises(OptionError, match=r"got raw_images=True, image_processor=None, image_mean=None.*expected with"):
        HuggingFaceOptions(raw_images=True)
    with pytest.raises(OptionError, match="got raw_images=False, image_processor=None, image_mean="):
        HuggingFaceOptions(image_mean=HALF, image_std=HALF)
    options = HuggingFaceOptions(raw_images=True, image_mean=HALF, image_std=HALF)
    with pytest.raises(OptionError, match="got raw_images=True for a model that reads input_ids"):
        neuronkit.make_static(lively(marian(1)), options=options)
    options = HuggingFaceOptions(raw_images=True, image_mean=HALF[:2], image_std=HALF[:2])
    with pytest.raises(SpecError, match="got image_mean and image_std of 2 and 2 numbers; expected 3"):
        neuronkit.make_static(trocr(0), options=options)

    class Squared(transformers.ViTImageProcessor):  # type: ignore[misc, unused-ignore]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            made = super().__call__(*args, **kwargs)
            return {"pixel_values": made["pixel_values"] ** 2}

    # It multiplies, which gives other bits than dividing.
    scaling = transformers.ViTImageProcessor(do_normalize=False)
    refused: list[tuple[Any, str]] = [(3, "int fails on all levels of grey")]
    refused += [(p, f"got image_processor={type(p).__name__}, whose norm.* to the bit") for p in (Squared(), scaling)]
    for processor, message in refused:
        options = HuggingFaceOptions(raw_images=True, image_processor=processor)
        with pytest.raises(SpecError, match=message):
            neuronkit.make_static(trocr(0), options=options)


@pytest.mark.parametrize("method", ["stepwise", "unrolled"])
def test_every_method_gives_the_same(method: str) -> None:
    model = lively(marian(1), 4.0, 8.0)
    options = HuggingFaceOptions(source_length=7, max_length=6, method=method)
    static: Any = neuronkit.make_static(model, batch_size=4, options=options)
    inputs = static.example_inputs()
    with torch.no_grad():
        assert static.decoded(static(*inputs)) == generated(model, inputs, max_new_tokens=6)
    compiled = neuronkit.compile_for_inferentia(static, target="cpu")
    assert static.decoded(compiled(*inputs)) == static.decoded(static(*inputs))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("method", ["fixed_point", "stepwise", "unrolled"])
def test_half_precision(dtype: torch.dtype, method: str) -> None:
    model = lively(trocr(0), 2.0, 6.0).to(dtype)
    static: Any = neuronkit.make_static(model, batch_size=6, options=HuggingFaceOptions(method=method))
    images = static.example_inputs()
    assert images[0].dtype == dtype
    with torch.no_grad():
        scores = static(*images)
    assert torch.isfinite(scores).all()
    assert static.decoded(scores) == generated(model, images)


@pytest.mark.parametrize("make", [lambda: trocr(2, use_learned_position_embeddings=False), lambda: roberta(0)])
def test_padding_inside_a_sequence_is_numbered_as_cached_decoding_numbers_it(make: Any) -> None:
    model: Any = lively(make(), -0.5, 8.0)
    with torch.no_grad():
        model.get_output_embeddings().weight[1] *= 4
    static: Any = neuronkit.make_static(model, batch_size=9)
    images = static.example_inputs()
    with torch.no_grad():
        ids = static.decoded(static(*images))
    assert any(1 in row[:-2] for row in ids)
    assert ids == generated(model, images)


def test_attention_is_spelled_out_in_the_graphs_and_stays_as_it_is_in_the_model() -> None:
    model: Any = lively(trocr(0))
    before = model.encoder.config._attn_implementation, model.decoder.config._attn_implementation
    assert "sdpa" in before
    report = neuronkit.analyze(neuronkit.make_static(model), target="inf1")
    assert "aten::scaled_dot_product_attention" not in report.counts
    assert (model.encoder.config._attn_implementation, model.decoder.config._attn_implementation) == before


def test_follows_the_weights_and_new_modules() -> None:
    model: Any = lively(trocr(0), 2.0, 16.0)
    static: Any = neuronkit.make_static(model, batch_size=4)
    images = static.example_inputs()
    with torch.no_grad():
        before = static(*images)
        model.get_output_embeddings().weight.mul_(-1)
        assert not torch.allclose(static(*images), before)
        assert static.decoded(static(*images)) == generated(model, images)
        model.decoder.output_projection = nn.Linear(32, VOCABULARY, bias=False)
        assert static.decoded(static(*images)) == generated(model, images)


def test_the_defaults_are_all_the_code_it_takes() -> None:
    static: Any = neuronkit.make_static(marian(0))
    assert [spec.shape for spec in static.specs] == [(1, 24), (1, 24)]
    assert neuronkit.make_static(trocr(0)).specs[0].shape == (1, 3, 32, 32)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SpecError, match="got source_length=25; expected at most 24, the positions of this model's enc"):
        neuronkit.make_static(marian(0), options=HuggingFaceOptions(source_length=25))
    with pytest.raises(SpecError, match="got max_length=25 new tokens; expected at most 24, the positions of this"):
        neuronkit.make_static(trocr(0), options=HuggingFaceOptions(max_length=25))
    with pytest.raises(SpecError, match=r"Input image size \(48\*32\) doesn't match model \(32\*32\)"):
        neuronkit.make_static(trocr(0), options=HuggingFaceOptions(height=48))
    model = trocr(0)
    vars(model.config.encoder)["image_size"] = None
    with pytest.raises(SpecError, match=r"got height=32, width=None; expected a size.*pass HuggingFaceOptions\(height"):
        neuronkit.make_static(model, options=HuggingFaceOptions(height=32))


@pytest.mark.parametrize("name", ["max_length", "source_length", "height", "width", "num_beams"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "9", float("nan"), 10**9])
def test_options_are_positive_whole_numbers(name: str, value: Any) -> None:
    with pytest.raises(SpecError, match=name):
        HuggingFaceOptions(**{name: value})


def test_a_decoder_of_roberta_has_two_positions_less_than_its_table() -> None:
    model = lively(roberta(0), -0.5, 8.0)
    with pytest.raises(SpecError, match="got max_length=23 new tokens; expected at most 22, the positions of this"):
        neuronkit.make_static(model, options=HuggingFaceOptions(max_length=23))
    static: Any = neuronkit.make_static(model, batch_size=4, options=HuggingFaceOptions(max_length=22))
    images = static.example_inputs()
    with torch.no_grad():
        ids = static.decoded(static(*images))
    assert ids == generated(model, images, max_new_tokens=22)
    assert max(map(len, ids)) == 22


def test_ids_outside_the_vocabulary_are_refused() -> None:
    static: Any = neuronkit.make_static(marian(0), batch_size=2, options=HuggingFaceOptions(source_length=4))
    ids, mask = static.example_inputs()
    for wrong in (VOCABULARY, -1):
        ids[1, 2] = wrong
        for call in (static, static.reference, static.passes):
            with pytest.raises(SpecError, match=f"input_ids: got ids from .*{wrong}.*; expected 0 to 60"):
                call(ids, mask)
    for setting in ("decoder_start_token_id", "eos_token_id"):
        model = trocr(0)
        setattr(model.generation_config, setting, VOCABULARY)
        with pytest.raises(SpecError, match=f"got {setting}=61 in the generation settings; expected an id below 61"):
            neuronkit.make_static(model)


def test_compiled_models_refuse_ids_outside_the_vocabulary(tmp_path: Path) -> None:
    static: Any = neuronkit.make_static(marian(0), batch_size=2, options=HuggingFaceOptions(source_length=4))
    compiled = neuronkit.compile_for_inferentia(static, target="cpu")
    ids, mask = static.example_inputs()
    for model in (compiled, neuronkit.load(compiled.save(tmp_path / "m.pt"))):
        model(ids, mask)
        for wrong in (VOCABULARY, -1):
            spoilt = ids.clone()
            spoilt[1, 2] = wrong
            with pytest.raises(SpecError, match=f"input_ids: got ids from .*{wrong}.*; expected 0 to 60"):
                model(spoilt, mask)
    compiled.manifest["input_ranges"] = {"input_ids": [0]}
    with pytest.raises(ArtifactError, match="manifest is damaged"):
        neuronkit.load(compiled.save(tmp_path / "n.pt"))


def test_rows_and_columns_of_patches_outside_the_tables_are_refused() -> None:
    static: Any = neuronkit.make_static(pix2struct(0), batch_size=2, options=HuggingFaceOptions(max_length=4))
    patches, mask = static.example_inputs()
    highest = pix2struct(0).config.vision_config.seq_len - 1
    compiled = neuronkit.compile_for_inferentia(static, target="cpu")
    for column, wrong in ((0, highest + 1), (1, -1), (0, float("nan"))):
        spoilt = patches.clone()
        # Also where the mask says that nothing counts.
        spoilt[1, -1, column] = wrong
        for call in (static, static.reference, compiled):
            with pytest.raises(SpecError, match=rf"in column {column} of the last dimension; expected 0 to {highest},"):
                call(spoilt, mask)
    patches[1, -1, 0] = highest
    compiled(patches, mask)


@pytest.mark.parametrize("method", ["fixed_point", "stepwise", "unrolled"])
def test_decoding_goes_on_from_a_prompt(method: str) -> None:
    model: Any = lively(trocr(0), 2.0, 16.0)
    options = HuggingFaceOptions(prompt=(5, 17, 9), max_length=6, method=method)
    static: Any = neuronkit.make_static(model, batch_size=4, options=options)
    assert neuronkit.compile_for_inferentia(static, target="cpu").output_specs[0].shape == (4, 8 + 1, VOCABULARY)
    (images,) = static.example_inputs()
    found = static.decoded(static(images))
    # The release puts the model's own start before it.
    assert all(row[:3] == [5, 17, 9] for row in found)
    prompt = torch.tensor([[5, 17, 9]] * 4)
    assert found == generated(model, (images,), decoder_input_ids=prompt, max_new_tokens=6)


def test_prompts_that_cannot_be_gone_on_from_are_refused() -> None:
    for prompt, message in (
        ((5, 2), r"got the prompt \(2, 5, 2\), which holds the end, 2"),
        ((5, 61), "got decoder_start_token_id=61 in the generation settings; expected an id below 61"),
    ):
        with pytest.raises(SpecError, match=message):
            neuronkit.make_static(trocr(0), options=HuggingFaceOptions(prompt=prompt))
    for given in ((), (0.5,), "task"):
        with pytest.raises(SpecError, match="got prompt"):
            HuggingFaceOptions(prompt=given)  # type: ignore[arg-type]


def test_the_page_about_these_models_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "huggingface.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert capsys.readouterr().out == "images: float32[4, 3, 32, 32]\n"
    assert names["ids"] == generated(names["model"].eval(), (names["images"],), max_new_tokens=12)


def test_releases_that_are_too_old_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import GenerationMixin

    model = trocr(0)
    monkeypatch.delattr(GenerationMixin, "_prepare_generation_config")
    with pytest.raises(SpecError, match=r"VisionEncoderDecoderModel of transformers \d.*; expected transformers 4\.54"):
        neuronkit.make_static(model)


def test_models_of_another_kind_are_refused() -> None:
    import transformers

    speech = {**SIZES, "max_source_positions": 24, "max_target_positions": 24}
    del speech["max_position_embeddings"]
    waves = bart(0)
    waves.main_input_name = "input_values"
    models = {
        nn.Linear(2, 2): "Linear, which has no generate nor",
        transformers.T5Model(transformers.T5Config(**T5_SIZES)): "T5Model, which has no generate nor generation_config",
        transformers.BartForCausalLM(transformers.BartConfig(**SIZES)): "BartForCausalLM, .*(without an |get_)encoder",
        waves: "Bart.*, which reads 'input_values'; expected a model that reads pixel_values, input_ids, flattened_pat",
        transformers.Speech2TextForConditionalGeneration(
            transformers.Speech2TextConfig(**speech)
        ): "Speech2Text.*, whose encoder does not begin with Whisper's two convolutions",
    }
    for model, message in models.items():
        with pytest.raises(UnknownModelError, match=message):
            neuronkit.make_static(model, family="huggingface")
