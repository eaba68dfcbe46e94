"""Beam search and the settings of real checkpoints give what `generate` gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import neuronkit
from neuronkit.adapters.huggingface import HuggingFaceOptions
from neuronkit.errors import OptionError
from tests.adapters.generation_cases import CASES, FAMILIES, OWN, compare
from tests.adapters.huggingface_models import generated, lively, marian, text_model, trocr

pytestmark = pytest.mark.peers


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
def test_mixtures_of_settings_are_reproduced(family: str) -> None:
    found = compare(family, (5 * FAMILIES.index(family)) % CASES)
    # Refused is only what the release itself gives NaN for.
    assert found == "" or (found.startswith("refused") and "NaN" in found)


def usual(model: Any) -> Any:
    """The settings of most fine-tuned checkpoints."""
    settings = {"num_beams": 4, "no_repeat_ngram_size": 3, "length_penalty": 2.0, "early_stopping": True}
    for name, value in settings.items():
        setattr(model.generation_config, name, value)
    return model


def test_the_usual_settings_compile_with_one_position_a_call(tmp_path: Path) -> None:
    model: Any = usual(lively(marian(1), 4.0, 8.0))
    static: Any = neuronkit.make_static(model, batch_size=3, options=HuggingFaceOptions(source_length=9))
    inputs = static.example_inputs(3)
    compiled = neuronkit.compile_for_inferentia(static, target="cpu", progress=False)
    tokens, scores = static.reference(*inputs)
    for function in (compiled, neuronkit.load(compiled.save(tmp_path / "beams.pt"))):
        given = function(*inputs)
        assert torch.equal(given[0], tokens)
        assert torch.allclose(given[1], scores, atol=1e-4)
    assert static.decoded(compiled(*inputs)) == generated(model, inputs)
    whole = model.generate(input_ids=inputs[0].long(), attention_mask=inputs[1].long())
    assert torch.equal(compiled.generate(*inputs), whole)
    calls = static.passes(*inputs)
    assert calls.positions == calls
    assert [output["name"] for output in compiled.manifest["outputs"]] == ["tokens", "scores"]
    # What goes over the link is what was written, not the cache.
    step, specs = static.graphs()["step"]
    with torch.no_grad():
        *_, entry = step(*(spec.example() for spec in specs))
    assert entry.shape == (3, 1, specs[4].shape[2])


def test_beams_of_the_options_and_none() -> None:
    model: Any = usual(lively(trocr(0), 2.0, 16.0))
    for beams in (1, 2):
        static: Any = neuronkit.make_static(model, batch_size=2, options=HuggingFaceOptions(num_beams=beams))
        images = static.example_inputs(1)
        expected = model.generate(pixel_values=images[0], num_beams=beams).tolist()
        with torch.no_grad():
            decoded = static.decoded(static(*images))
        assert decoded == [row[1 : row.index(2, 1)] if 2 in row[1:] else row[1:] for row in expected]
    with pytest.raises(OptionError, match="got method='fixed_point' for a beam search"):
        neuronkit.make_static(model, options=HuggingFaceOptions(method="fixed_point"))


def test_a_prompt_is_not_counted_in_the_length() -> None:
    model: Any = usual(lively(trocr(0), 2.0, 16.0))
    static: Any = neuronkit.make_static(model, batch_size=3, options=HuggingFaceOptions(prompt=(2, 9, 11)))
    images = static.example_inputs(1)
    with torch.no_grad():
        tokens, scores = static(*images)
    expected = static.reference(*images)
    assert torch.equal(tokens, expected[0])
    assert torch.allclose(scores, expected[1], atol=1e-4)
    assert tokens[:, 0, :2].tolist() == [[9, 11]] * 3


NOT_STATIC = {"prim::Loop", "prim::If", "aten::gather", "aten::index", "aten::index_select", "aten::scatter"}
RULES = {"no_repeat_ngram_size": 2, "repetition_penalty": 1.3, "sequence_bias": [[[5], 3.0], [[6, 7], -4.0]]}


@pytest.mark.parametrize(
    ("family", "method", "beams"),
    [("vit-roberta", "stepwise", 1), ("pix2struct", "windowed", 1), ("whisper", "auto", 2), ("M2M100", "auto", 1)],
)
def test_graphs_hold_no_gather_but_that_of_embeddings(family: str, method: str, beams: int) -> None:
    model: Any = OWN[family]() if family in OWN else lively(text_model(family, 1), 2.0, 4.0)
    for name, value in RULES.items():
        setattr(model.generation_config, name, value)
    static: Any = neuronkit.make_static(model, options=HuggingFaceOptions(max_length=6, method=method, num_beams=beams))
    assert not neuronkit.analyze(static, target="inf2").counts.keys() & NOT_STATIC


@pytest.mark.xla
def test_xla_takes_the_graphs_and_none_scatters() -> None:
    model: Any = usual(lively(marian(1), 4.0, 8.0))
    model.generation_config.repetition_penalty = 1.3
    model.generation_config.bad_words_ids = [[5, 6], [7]]
    options = HuggingFaceOptions(source_length=7, max_length=5)
    static: Any = neuronkit.make_static(model, batch_size=2, options=options)
    counts = neuronkit.analyze(static, target="inf2").counts
    assert not counts.keys() & NOT_STATIC
    compiled: Any = neuronkit.compile_for_inferentia(static, target="xla", progress=False)
    inputs = static.example_inputs(3)
    assert torch.equal(compiled(*inputs)[0], static.reference(*inputs)[0])
    # Every gather is an embedding: masks are read without one.
    assert sum(graph.hlo.count(" gather(") for graph in compiled._graphs.values()) <= counts["aten::embedding"]
