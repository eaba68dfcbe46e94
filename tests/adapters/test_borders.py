"""What crosses the border of a graph: images as bytes, tokens in place of logits, score maps alone; exact as ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neuronkit import (
    CRAFTOptions,
    PARSeqOptions,
    StaticPARSeq,
    TRBAOptions,
    analyze,
    compile_for_inferentia,
    load,
    make_static,
    static_greedy_decoder,
)
from neuronkit.demo.render import render_word
from neuronkit.demo.weights import load_craft, load_parseq
from neuronkit.errors import OptionError
from neuronkit.models import PARSeq
from neuronkit.ocr import CraftProcessor, OCRPipeline, ParseqProcessor
from neuronkit.static.decoding.loops import until_eos
from neuronkit.testing import AdapterConformance
from tests.adapters import test_conformance, test_trba
from tests.static.running import Running

METHODS = ("fixed_point", "stepwise", "unrolled", "fused")


def words(count: int, seed: int) -> list[Any]:
    return [render_word(np.random.default_rng([seed, i]))[0] for i in range(count)]


class TestPARSeqTokens(test_conformance.TestPARSeq):
    options = PARSeqOptions(outputs="tokens", raw_images=True)

    def results(self, static: Any, outputs: Any) -> list[Any]:
        return list(static.decoded(outputs))


class TestPARSeqTokensStepwise(TestPARSeqTokens):
    options = PARSeqOptions(method="stepwise", outputs="tokens", raw_images=True)


class TestPARSeqTokensFused(TestPARSeqTokens):
    options = PARSeqOptions(method="fused", passes=2, outputs="tokens", raw_images=True)


class TestTRBATokens(test_trba.TestTRBA):
    options = TRBAOptions(max_length=9, outputs="tokens", raw_images=True)

    def make_inputs(self, batch: int, seed: int) -> tuple[Tensor, ...]:
        return (((test_trba.blurred(batch, seed) * 0.5 + 0.5) * 255).clamp(0, 255).to(torch.uint8),)


class TestRawCRAFT(test_conformance.TestCRAFT):
    options = CRAFTOptions(96, 128, features=False, raw_images=True)
    paddings = (0, 255)

    def results(self, static: Any, outputs: Any) -> list[Any]:
        return super().results(static, (outputs, outputs))


class TestTokensOfADecoder(AdapterConformance):
    """A decoder without a guess, and without a mask of its own: fused goes on from empty rows."""

    distinct_results = 2
    method = "fused"

    def make_model(self) -> nn.Module:
        torch.manual_seed(5)
        return Running(eos_bias=3.0)

    def make_static(self, model: nn.Module, batch_size: int) -> Any:
        ids = {"max_length": 6, "bos_id": 1, "eos_id": 0}
        memory = torch.randn(batch_size, 8, generator=torch.Generator().manual_seed(3))
        return static_greedy_decoder(model, **ids, memory=memory, method=self.method, outputs="tokens")

    def results(self, static: Any, outputs: Any) -> list[Any]:
        return until_eos(outputs, 0)


@pytest.mark.parametrize("method", METHODS)
def test_tokens_read_as_logits_do_with_their_probabilities(method: str) -> None:
    model = load_parseq()
    crops = words(24, 11)
    logits = StaticPARSeq(model, batch_size=8)
    tokens = make_static(model, batch_size=8, options=PARSeqOptions(method=method, outputs="tokens", raw_images=True))
    floats, raw = (ParseqProcessor(model.charset, raw_images=flag) for flag in (False, True))
    with torch.no_grad():
        expected = floats.postprocess(logits(torch.from_numpy(floats.preprocess(crops))))
        ids, probabilities = tokens(torch.from_numpy(raw.preprocess(crops)))
    found = raw.postprocess((ids, probabilities))
    assert [word.text for word in found] == [word.text for word in expected]
    np.testing.assert_allclose([w.confidence for w in found], [w.confidence for w in expected], rtol=1e-5, atol=1e-6)
    assert (ids.dtype, probabilities.dtype, ids.shape) == (torch.int32, torch.float32, probabilities.shape)
    for row, chances, word in zip(ids.tolist(), probabilities.tolist(), found):
        assert not any(row[len(word.text) :])
        assert not any(chances[len(word.text) + 1 :])
        assert all(chances[: len(word.text) + 1])


def test_bytes_give_the_bits_that_normalised_images_give() -> None:
    images = torch.randint(0, 256, (2, 3, 32, 128), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    model = load_parseq()
    raw = make_static(model, batch_size=2, options=PARSeqOptions(raw_images=True))
    normalised = torch.from_numpy(ParseqProcessor(model.charset).normalization.table()[0][images.numpy()])
    with torch.no_grad():
        assert torch.equal(raw(images), StaticPARSeq(model, batch_size=2)(normalised))
    pages = [np.random.default_rng(i).integers(0, 256, (60 + 30 * i, 90, 3), dtype=np.uint8) for i in range(2)]
    canvases, boxes = zip(*(CraftProcessor(canvas=(128, 160), raw_images=f).preprocess(pages) for f in (True, False)))
    valid = torch.tensor([box.valid_size for box in boxes[0]], dtype=torch.int32)
    craft = load_craft()
    with torch.no_grad():
        scores = make_static(craft, batch_size=2, options=CRAFTOptions(128, 160, raw_images=True, features=False))
        both = make_static(craft, batch_size=2, options=CRAFTOptions(128, 160))
        assert torch.equal(scores(torch.from_numpy(canvases[0]), valid), both(torch.from_numpy(canvases[1]), valid)[0])


def test_artifacts_name_what_they_take_and_give_and_bring_the_processor(tmp_path: Path) -> None:
    static = make_static(
        load_parseq(), batch_size=4, options=PARSeqOptions(method="fused", outputs="tokens", raw_images=True)
    )
    compiled = load(compile_for_inferentia(static, target="cpu").save(tmp_path / "parseq.pt"))
    assert [spec.name for spec in compiled.output_specs] == ["tokens", "probabilities"]
    assert [str(spec) for spec in compiled.specs] == ["images: uint8[4, 3, 32, 128]"]
    assert compiled.processor.raw_images
    assert [spec["name"] for spec in compiled.manifest["graphs"]["fused"]] == ["images", "start"]
    crops = words(6, 3)
    read = compiled.processor.postprocess(compiled(torch.from_numpy(compiled.processor.preprocess(crops))))
    assert len({word.text for word in read}) == 6
    craft = make_static(load_craft(), options=CRAFTOptions(64, 64, features=False, raw_images=True))
    detector = compile_for_inferentia(craft, target="cpu", processor=CraftProcessor(canvas=(64, 64), raw_images=True))
    assert [spec.name for spec in detector.output_specs] == ["score_maps"]
    (area,) = [output.valid for output in detector.interface.outputs]
    assert area is not None
    assert torch.equal(torch.as_tensor(detector.valid_output_sizes(torch.tensor([[32, 64]]))), torch.tensor([[16, 32]]))


def test_a_processor_of_the_other_kind_is_refused() -> None:
    raw = make_static(load_parseq(), options=PARSeqOptions(raw_images=True))
    charset = load_parseq().charset
    with pytest.raises(OptionError, match=r"normalises images for a model that takes images: uint8.*raw_images=True"):
        compile_for_inferentia(raw, target="cpu", processor=ParseqProcessor(charset))
    with pytest.raises(OptionError, match=r"got raw_images=True for a model that takes images: float32"):
        compile_for_inferentia(
            StaticPARSeq(load_parseq()), target="cpu", processor=ParseqProcessor(charset, raw_images=True)
        )
    craft = make_static(load_craft(), options=CRAFTOptions(64, 64, raw_images=True))
    with pytest.raises(OptionError, match=r"give CraftProcessor\(raw_images=True\)"):
        OCRPipeline(
            craft,
            raw,
            detector_processor=CraftProcessor(),
            recognizer_processor=ParseqProcessor(charset, raw_images=True),
        )


def test_inf1_takes_no_bytes() -> None:
    with pytest.raises(OptionError, match=r"takes images: uint8.*target 'inf1'.*without raw_images"):
        compile_for_inferentia(make_static(load_parseq(), options=PARSeqOptions(raw_images=True)), target="inf1")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"outputs": "text"}, "outputs"),
        ({"raw_images": 1}, "raw_images"),
        ({"passes": 0}, "passes"),
    ],
)
def test_options_that_are_none_are_refused(option: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        PARSeqOptions(**option)


def test_auto_is_settled_where_the_model_meets_the_target() -> None:
    static = StaticPARSeq(load_parseq())
    assert static.method == "fixed_point"
    assert static.for_target(is_neuron=True).method == "fused"
    assert static.for_target(is_neuron=False) is static
    assert list(static.for_target(is_neuron=True).graphs()) == ["fused"]
    assert StaticPARSeq(load_parseq(), method="stepwise").for_target(is_neuron=True).method == "stepwise"
    assert list(compile_for_inferentia(static, target="cpu").manifest["graphs"]) == ["encode", "decode"]


@pytest.mark.parametrize(("passes", "most"), [(3, 450), (5, 530)])
@pytest.mark.parametrize("border", [{}, {"outputs": "tokens", "raw_images": True}])
def test_the_fused_graph_stays_small(passes: int, most: int, border: dict[str, Any]) -> None:
    sizes: dict[str, Any] = {"embed_dim": 48, "enc_num_heads": 2, "dec_num_heads": 2}
    model = PARSeq(94, max_label_length=25, **sizes).eval()
    report = analyze(make_static(model, options=PARSeqOptions(method="fused", passes=passes, **border)), target="inf1")
    assert report.total <= most
    assert report.unsupported == {}
    assert not {"prim::Loop", "prim::If"} & set(report.counts)


def test_a_start_outside_the_vocabulary_reaches_no_decoder_of_ones_own() -> None:
    class Embedding(nn.Module):
        """A table that fails beyond its end."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table = nn.Embedding(9, 9)

        def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
            return self.table(tokens) * 3 + memory[:, :1, None]

    given = {"max_length": 6, "bos_id": 1, "eos_id": 0, "memory": torch.zeros(2, 3)}
    static = static_greedy_decoder(Embedding().eval(), method="fused", **given)
    compiled = compile_for_inferentia(static, target="cpu")
    for step in (static.graphs()["fused"][0], compiled.step):
        with torch.no_grad():
            found, expected = (
                step(torch.zeros(2, 3), torch.full((2, 7), t, dtype=torch.int32)) for t in (2**31 - 1, 8)
            )
        assert all(torch.equal(a, b) for a, b in zip(found, expected))


def test_a_start_outside_the_vocabulary_reaches_no_product() -> None:
    model = load_parseq()
    fused, _ = StaticPARSeq(model, batch_size=4, method="fused").graphs()["fused"]
    images = torch.from_numpy(ParseqProcessor(model.charset).preprocess(words(4, 2)))
    last = model.head.out_features - 1
    with torch.no_grad():
        found, expected = (fused(images, torch.full((4, 26), t, dtype=torch.int32)) for t in (2**31 - 1, last))
    assert all(torch.equal(a, b) for a, b in zip(found, expected))
