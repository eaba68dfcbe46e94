"""Decoders of transformers decode one position a call, on caches in fixed buffers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neuronkit
from neuronkit.adapters.huggingface import HuggingFaceOptions
from neuronkit.capture.onnx import OPSET, export, output_names, trace_flat
from neuronkit.errors import OptionError
from tests.adapters.generation_cases import compare
from tests.adapters.huggingface_models import bart, generated, lively, marian, roberta, text_model, trocr

pytestmark = pytest.mark.peers

MODELS = {
    "trocr": lambda: lively(trocr(0), 2.0, 16.0),
    "sinusoidal": lambda: lively(trocr(2, use_learned_position_embeddings=False), 4.0, 8.0),
    "roberta": lambda: lively(roberta(0), -0.5, 8.0),
    "marian": lambda: lively(marian(1), 4.0, 8.0),
    "bart": lambda: lively(bart(1), 2.0, 8.0),
    "t5": lambda: lively(text_model("T5"), 2.0, 4.0),
}


def make(model: nn.Module, method: str = "stepwise", **options: Any) -> Any:
    return neuronkit.make_static(model, batch_size=6, options=HuggingFaceOptions(method=method, **options))


@pytest.mark.parametrize("name", MODELS)
def test_one_position_of_each_row_is_computed_in_a_call(name: str) -> None:
    model: Any = MODELS[name]()
    static = make(model)
    inputs = static.example_inputs(3)
    sizes: list[tuple[int, ...]] = []

    def record(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        sizes.append(tuple(given[0].shape[:2]))

    weight = model.get_output_embeddings().weight
    copied = static.decoder(static.source).model.modules()
    head = next(m for m in copied if isinstance(m, nn.Linear) and m.weight is weight)
    handle = head.register_forward_pre_hook(record)
    calls = static.passes(*inputs)
    handle.remove()
    # One more before them, which makes what all calls share.
    assert sizes == [(6, 1)] * (calls + 1)
    assert calls.positions == calls
    assert make(model, "fixed_point").passes(*inputs).positions % static.steps == 0


@pytest.mark.parametrize("own", ["sdpa", "eager"])
def test_steps_attend_as_the_model_does_and_graphs_spell_it_out(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = MODELS["bart"]()
    model.set_attn_implementation(own)
    static, calls = make(model), []
    attend = nn.functional.scaled_dot_product_attention

    def record(*args: Any, **named: Any) -> Tensor:
        calls.append(args[0].shape)
        return attend(*args, **named)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", record)
    inputs = static.example_inputs(3)
    outputs, calls_of_steps = static(*inputs), len(calls)
    assert bool(calls_of_steps) == (own == "sdpa")
    module, specs = static.graphs()["step"]
    graph = trace_flat(module, specs)[0]
    assert len(calls) == calls_of_steps
    assert "scaled_dot_product" not in str(graph.inlined_graph)
    assert model.config._attn_implementation == own
    assert static.decoded(outputs) == static.decoded(static.reference(*inputs))


@pytest.mark.parametrize("method", ["stepwise", "windowed"])
@pytest.mark.parametrize("name", MODELS)
def test_compiled_it_gives_what_generate_gives(name: str, method: str) -> None:
    model: Any = MODELS[name]()
    static = make(model, method, max_length=9, window=4 if method == "windowed" else None)
    inputs = static.example_inputs(3)
    compiled = neuronkit.compile_for_inferentia(static, target="cpu", progress=False)
    expected = generated(model, inputs, max_new_tokens=9)
    assert len({tuple(row) for row in expected}) > 1
    assert static.decoded(compiled(*inputs)) == expected
    step = "step" if method == "stepwise" else "step_5"
    assert sorted(compiled.manifest["graphs"]) == ["encode", "start", step]


@pytest.mark.parametrize("name", MODELS)
def test_windows_take_no_more_calls_than_steps(name: str) -> None:
    model: Any = MODELS[name]()
    windows, steps = (make(model, method) for method in ("windowed", "stepwise"))
    inputs = windows.example_inputs(3)
    with torch.no_grad():
        assert windows.decoded(windows(*inputs)) == generated(model, inputs)
    calls = windows.passes(*inputs)
    assert calls <= steps.passes(*inputs)
    assert calls.positions == calls * min(16, windows.steps)


def test_long_texts_that_repeat_themselves_come_several_tokens_a_call() -> None:
    # Seldom EOS; weights so large that the text falls into a circle.
    model: Any = lively(text_model("T5"), -2.0, 4.0)
    static = make(model, "windowed", max_length=512, source_length=9)
    inputs = static.example_inputs(3)
    expected = generated(model, inputs, max_new_tokens=512)
    assert max(map(len, expected)) == 512
    with torch.no_grad():
        assert static.decoded(static(*inputs)) == expected
    assert 512 / static.passes(*inputs) >= 2
    assert static.decoding.caches == (31, 124, 496)


@pytest.mark.parametrize(("family", "case"), [("vit-gpt2", 7), ("whisper", 20), ("pix2struct", 41), ("UMT5", 63)])
def test_windows_with_mixed_settings_give_what_generate_gives(family: str, case: int) -> None:
    assert compare(family, case, "windowed") == ""


@pytest.mark.parametrize("method", ["stepwise", "windowed"])
def test_rules_that_look_at_earlier_tokens_see_them(method: str) -> None:
    model: Any = lively(trocr(0), 2.0, 16.0)
    model.generation_config.no_repeat_ngram_size = 2
    model.generation_config.repetition_penalty = 1.3
    static = make(model, method, max_length=20)
    images = static.example_inputs(3)
    expected = generated(model, images, max_new_tokens=20)
    model.generation_config.no_repeat_ngram_size = None
    assert expected != generated(model, images, max_new_tokens=20)
    model.generation_config.no_repeat_ngram_size = 2
    assert static.decoding.prefix == 0
    compiled = neuronkit.compile_for_inferentia(static, target="cpu", progress=False)
    assert static.decoded(compiled(*images)) == expected


def test_a_graph_gives_back_what_it_wrote_and_no_more() -> None:
    static = make(lively(trocr(0), 2.0, 16.0))
    step, specs = static.graphs()["step"]
    with torch.no_grad():
        _, written = step(*(spec.example() for spec in specs))
    tokens, position, cache, context = specs
    assert tuple(written.shape) == (6, 1, cache.shape[2])
    assert (tokens.shape, position.shape, cache.shape[1]) == ((6, 1), (6,), static.steps - 1)
    # Two layers of keys and values of 32 numbers.
    assert (cache.shape[2], context.shape[2]) == (128, 128)


def test_positions_after_padding_count_as_in_generate_without_caches() -> None:
    model: Any = lively(roberta(0), -0.5, 8.0)
    with torch.no_grad():
        model.get_output_embeddings().weight[1] *= 4
    for cached in (True, False):
        model.generation_config.use_cache = cached
        static = make(model)
        images = static.example_inputs()
        with torch.no_grad():
            ids = static.decoded(static(*images))
        assert any(1 in row[:-2] for row in ids)
        assert ids == generated(model, images)
        # Without them, positions are numbered by all tokens before, which a call does not see.
        assert (static.decoding.prefix is None) == (not cached)


def test_a_decoder_of_other_caches_computes_all_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    def refuse(*caches: Any) -> None:
        raise TypeError("other caches")

    model = lively(trocr(0), 2.0, 16.0)
    monkeypatch.setattr(transformers, "EncoderDecoderCache", refuse)
    static = make(model)
    images = static.example_inputs()
    assert static.decoding.prefix is None
    assert static.passes(*images).positions == static.passes(*images) * static.steps
    with pytest.raises(
        OptionError, match="the decoder of 'huggingface' takes no such caches, or not with its settings"
    ):
        make(model, "windowed")


def test_rounding_that_layers_enlarge_is_no_other_result() -> None:
    static = make(lively(trocr(0), 2.0, 24.0), "windowed", max_length=20, window=3)
    inputs = static.example_inputs(3)
    with torch.no_grad():
        assert static.decoded(static(*inputs)) == generated(static.original, inputs, max_new_tokens=20)


@pytest.mark.xla
@pytest.mark.parametrize("method", ["stepwise", "windowed"])
def test_xla_takes_the_graphs(method: str) -> None:
    model = lively(marian(1), 4.0, 8.0)
    static = make(model, method, max_length=6, source_length=7, window=3 if method == "windowed" else None)
    inputs = static.example_inputs(3)
    compiled = neuronkit.compile_for_inferentia(static, target="xla", progress=False)
    assert static.decoded(compiled(*inputs)) == generated(model, inputs, max_new_tokens=6)


@pytest.mark.parametrize("method", ["stepwise", "windowed"])
def test_graphs_with_caches_are_exported_to_onnx(method: str) -> None:
    static = make(MODELS["t5"](), method, max_length=9, window=4 if method == "windowed" else None)
    for name, (module, specs) in static.graphs().items():
        model, outputs = export(trace_flat(module, specs)[0], specs, output_names(module), OPSET)
        assert [value.name for value in model.graph.output] == [output.name for output in outputs], name
