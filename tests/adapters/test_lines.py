"""Line recognisers on a canvas give for each line what the originals give for the line alone."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import neuronkit
from neuronkit import LineOptions
from neuronkit.adapters.lines.model import StaticLine
from neuronkit.errors import OptionError, SpecError
from neuronkit.ocr import Charset, CtcProcessor, ParseqProcessor
from neuronkit.ocr.doctr import DoctrProcessor
from neuronkit.ocr.pipeline.calls import ModelCall
from neuronkit.ocr.pipeline.recognizing import WordRecognizer
from neuronkit.testing import PaddedConformance
from tests.adapters import line_models

WIDTH = 160
FEW_BYTES = LineOptions(width=96, raw_images=True, outputs="tokens")
Original = Callable[[nn.Module, Tensor], Tensor]


def _with_text(model: nn.Module, images: Tensor) -> Tensor:
    return model(images, torch.zeros(len(images), 26, dtype=torch.int64))


def _of_doctr(model: nn.Module, images: Tensor) -> Tensor:
    return model(images, return_model_output=True)["out_map"]


# Family → how a model of it is made, how its users call it, and its smallest width.
FAMILIES: dict[str, tuple[Callable[[], nn.Module], Original, int]] = {
    "easyocr, generation 1": (lambda: line_models.easyocr(1), _with_text, 4),
    "easyocr, generation 2": (lambda: line_models.easyocr(2), _with_text, 8),
    "crnn_vgg16_bn": (lambda: line_models.doctr("crnn_vgg16_bn"), _of_doctr, 4),
    "crnn_mobilenet_v3_small": (lambda: line_models.doctr("crnn_mobilenet_v3_small"), _of_doctr, 1),
    "crnn_mobilenet_v3_large": (lambda: line_models.doctr("crnn_mobilenet_v3_large"), _of_doctr, 1),
    "crnn": (line_models.crnn, lambda model, images: model(images), 4),
    "crnn, time first": (
        lambda: line_models.crnn(time_first=True),
        lambda model, images: model(images).transpose(0, 1),
        4,
    ),
    "benchmark VGG": (lambda: line_models.benchmark("VGG", "CTC"), _with_text, 8),
    "benchmark RCNN": (lambda: line_models.benchmark("RCNN", "CTC"), _with_text, 4),
    "benchmark ResNet": (lambda: line_models.benchmark("ResNet", "CTC"), _with_text, 4),
    "benchmark VGG without recurrence": (lambda: line_models.benchmark("VGG", "CTC", "None"), _with_text, 8),
}
OF_PEERS = ("easyocr", "crnn_")
SLOW = ("crnn_vgg16_bn",)
NAMES = [
    pytest.param(name, marks=[*[pytest.mark.peers] * name.startswith(OF_PEERS), *[pytest.mark.slow] * (name in SLOW)])
    for name in FAMILIES
]


def error(name: str, widths: list[int], seed: int, dtype: torch.dtype) -> float:
    """How far any row is from what its line gives alone, over the range."""
    make, call, _ = FAMILIES[name]
    model = make().to(dtype)
    static = neuronkit.make_static(model, batch_size=len(widths), options=LineOptions(width=WIDTH))
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(static.specs[0].shape, generator=generator).to(dtype)
    valid = torch.tensor(widths, dtype=torch.int32)
    with torch.no_grad():
        alone = [call(model, images[i : i + 1, :, :, :width])[0] for i, width in enumerate(widths)]
        for i, (image, width) in enumerate(zip(images, widths)):
            image[:, :, width:] = float("nan") if i % 2 else 1e3
        rows = static(images, valid)
    sizes = static.valid_output_sizes(valid)[:, 0].tolist()
    assert sizes == [len(row) for row in alone]
    behind = torch.arange(rows.shape[1]) >= torch.tensor(sizes)[:, None]
    assert rows.softmax(2)[:, :, static.interface.blank_id][behind].eq(1).all()
    return max(float((row[: len(own)] - own).abs().max() / own.abs().max()) for row, own in zip(rows, alone))


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_what_lines_give_alone(name: str) -> None:
    smallest = FAMILIES[name][2]
    widths = [smallest, WIDTH, smallest + 1, 67, 121]
    assert error(name, widths, 0, torch.float64) <= 1e-12
    assert error(name, widths, 1, torch.float32) <= 5e-6


@pytest.mark.parametrize("name", [name for name in NAMES if name.values[0] not in SLOW])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_at_any_width_and_batch(name: str, data: st.DataObject) -> None:
    widths = data.draw(st.lists(st.integers(FAMILIES[name][2], WIDTH), min_size=1, max_size=8))
    assert error(name, widths, data.draw(st.integers(0, 1 << 20)), torch.float64) <= 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_width_is_the_originals(name: str) -> None:
    make, call, smallest = FAMILIES[name]
    model = make()
    static = neuronkit.make_static(model)
    assert isinstance(static, StaticLine)
    assert static.smallest_width == smallest
    channels, height = static.specs[0].shape[1:3]
    with pytest.raises(RuntimeError):
        call(model, torch.zeros(1, channels, height, smallest - 1))
    if smallest == 1:
        return
    with pytest.raises(SpecError, match=f"got lines of width {smallest - 1} for .*; expected at least {smallest} p"):
        static(torch.zeros(static.specs[0].shape), torch.tensor([smallest - 1], dtype=torch.int32))
    with pytest.raises(SpecError, match=f"got width={smallest - 1} for .*; expected at least {smallest} pixels"):
        neuronkit.make_static(model, options=LineOptions(width=smallest - 1))


class Lines(PaddedConformance):
    options = LineOptions(width=96)
    seeds = (0, 1)


class TestCRNN(Lines):
    def make_model(self) -> nn.Module:
        return line_models.crnn(time_first=True)


class TestBenchmark(Lines):
    def make_model(self) -> nn.Module:
        return line_models.benchmark("ResNet", "CTC")


class TestBenchmarkAttention(Lines):
    def make_model(self) -> nn.Module:
        return line_models.benchmark("VGG", "Attn")


class TestBenchmarkTokens(TestBenchmark):
    options = FEW_BYTES


class TestBenchmarkAttentionTokens(TestBenchmarkAttention):
    options = FEW_BYTES


@pytest.mark.peers
class TestEasyOCR(Lines):
    def make_model(self) -> nn.Module:
        return line_models.easyocr(2)


@pytest.mark.peers
class TestEasyOCRTokens(TestEasyOCR):
    options = FEW_BYTES


@pytest.mark.peers
class TestDoctrCRNN(Lines):
    def make_model(self) -> nn.Module:
        return line_models.doctr("crnn_mobilenet_v3_large")

    def expected_results(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Any]:
        images, (width,) = inputs
        return [text for text, _ in model.eval()(images[:, :, :, : int(width)])["preds"]]


@pytest.mark.peers
class TestDoctrCRNNTokens(TestDoctrCRNN):
    options = FEW_BYTES

    def expected_results(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Any]:
        images, width = inputs
        return super().expected_results(model, (self.make_static(model, 1).normalized((images,))[0], width))


@pytest.mark.parametrize("features", ["VGG", "RCNN", "ResNet"])
@pytest.mark.parametrize("sequence", ["BiLSTM", "None"])
def test_attention_sees_the_line_alone(features: str, sequence: str) -> None:
    model = line_models.benchmark(features, "Attn", sequence).double()
    static = neuronkit.make_static(model, batch_size=4, options=LineOptions(width=WIDTH))
    images, valid = static.example_inputs(3)
    expected = static.reference(images, valid)
    for image, width in zip(images, valid.tolist()):
        image[:, :, width:] = float("nan")
    with torch.no_grad():
        logits = static.meaningful(static(images, valid), (images, valid))
    assert float((logits - static.meaningful(expected, (images, valid))).abs().max()) <= 1e-11
    assert static.interface.characters == "0123456789"


def test_rectification_is_refused() -> None:
    model = line_models.benchmark("VGG", "CTC")
    model.stages["Trans"] = "TPS"  # type: ignore[index,operator,union-attr]
    with pytest.raises(SpecError, match="got a model with Transformation='TPS'; expected 'None'"):
        neuronkit.make_static(model)


def test_from_crops_to_text() -> None:
    model = line_models.benchmark("VGG", "CTC")
    static = neuronkit.make_static(model, batch_size=2, options=LineOptions(width=WIDTH))
    compiled = neuronkit.compile_for_inferentia(static, target="cpu")
    processor = compiled.processor
    assert processor == CtcProcessor(Charset("0123456789"), (32, WIDTH), channels=1, keep_ratio=True)
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (40, width, 3), np.uint8) for width in (150, 60, 400, 3, 91)]
    widths = processor.valid_widths(crops)
    assert widths.tolist() == [120, 48, WIDTH, 8, 73]
    # One by one, as the original reads them.
    lines = processor.lines(crops)
    with torch.no_grad():
        alone = [_with_text(model, torch.from_numpy(line[None])) for line in lines]
    expected = [processor.postprocess(logits)[0].text for logits in alone]
    assert len(set(expected)) > 2
    canvas = torch.from_numpy(processor.preprocess(crops))
    read = neuronkit.FixedShape(compiled)(canvas, torch.from_numpy(widths))
    assert [result.text for result in processor.postprocess(read)] == expected
    buckets = neuronkit.Buckets({(2, 1, 32, WIDTH): compiled, (1, 1, 32, 80): _compiled(model, 80)})
    results = buckets([torch.from_numpy(line) for line in lines])
    assert [len(logits) for logits in results] == [len(logits[0]) for logits in alone]
    assert [processor.postprocess(logits[None])[0].text for logits in results] == expected


def _compiled(model: nn.Module, width: int, **options: Any) -> neuronkit.CompiledModel:
    static = neuronkit.make_static(model, options=LineOptions(width=width, **options))
    return neuronkit.compile_for_inferentia(static, target="cpu")


def test_bytes_and_tokens_through_an_artifact_and_buckets(tmp_path: Path) -> None:
    model = line_models.benchmark("VGG", "CTC")
    rng = np.random.default_rng(3)
    crops = [rng.integers(0, 256, (40, width, 3), np.uint8) for width in (150, 60, 400, 91)]
    floats = CtcProcessor(Charset("0123456789"), (32, WIDTH), channels=1, keep_ratio=True)
    with torch.no_grad():
        alone = [_with_text(model, torch.from_numpy(line[None])) for line in floats.lines(crops)]
    expected = [floats.postprocess(logits)[0] for logits in alone]
    few = _compiled(model, WIDTH, raw_images=True, outputs="tokens")
    compiled = neuronkit.load(few.save(tmp_path / "lines.pt"))
    processor = compiled.processor
    assert processor == dataclasses.replace(floats, raw_images=True)
    assert [str(spec) for spec in compiled.specs] == [f"images: uint8[1, 1, 32, {WIDTH}]", "valid_width: int32[1]"]
    assert [spec.name for spec in compiled.output_specs] == ["tokens", "probabilities"]
    widths = torch.from_numpy(processor.valid_widths(crops))
    read = neuronkit.FixedShape(compiled)(torch.from_numpy(processor.preprocess(crops)), widths)
    found = processor.postprocess(read)
    assert [word.text for word in found] == [word.text for word in expected]
    np.testing.assert_allclose([w.confidence for w in found], [w.confidence for w in expected], rtol=1e-4)
    narrow = _compiled(model, 80, raw_images=True, outputs="tokens")
    buckets = neuronkit.Buckets({(1, 1, 32, WIDTH): compiled, (1, 1, 32, 80): narrow})
    for (ids, _), logits in zip(buckets([torch.from_numpy(line) for line in processor.lines(crops)]), alone):
        assert ids.tolist() == logits[0].argmax(-1).tolist()


@pytest.mark.parametrize("prediction", ["CTC", "Attn"])
def test_an_artifact_refuses_lines_that_are_too_narrow(prediction: str, tmp_path: Path) -> None:
    static = neuronkit.make_static(line_models.benchmark("VGG", prediction), options=LineOptions(width=64))
    compiled = neuronkit.load(neuronkit.compile_for_inferentia(static, target="cpu").save(tmp_path / "lines.pt"))
    with pytest.raises(SpecError, match=r"valid_width.*7"):
        compiled(torch.zeros(1, 1, 32, 64), torch.tensor([7], dtype=torch.int32))


def test_bytes_become_what_the_processors_give() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    for model in (line_models.benchmark("VGG", "CTC"), line_models.benchmark("VGG", "Attn"), line_models.crnn()):
        static = neuronkit.make_static(model, options=LineOptions(width=64, raw_images=True))
        (found,) = static.normalized((images.expand(1, static.specs[0].shape[1], 16, 16),))
        assert np.array_equal(found[0, 0].flatten().numpy(), CtcProcessor("36").normalization.table()[0])


@pytest.mark.parametrize("raw", [False, True])
def test_a_pipeline_reads_lines(raw: bool) -> None:
    model = line_models.crnn()
    options = LineOptions(width=WIDTH, raw_images=raw, outputs="tokens" if raw else "logits")
    static = neuronkit.make_static(model, batch_size=3, options=options)
    processor = CtcProcessor(Charset("0123456789"), (32, WIDTH), keep_ratio=True)
    fitting = dataclasses.replace(processor, raw_images=raw)
    recognizer = WordRecognizer(ModelCall(static, "recognizer", 1), fitting, vertical_ratio=None)
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (30, width, 3), np.uint8) for width in (100, 47, 12, 300)]
    with torch.no_grad():
        alone = [processor.postprocess(model(torch.from_numpy(line[None])))[0] for line in processor.lines(crops)]
    read = recognizer.recognize(crops)
    assert [result.text for result in read] == [result.text for result in alone]
    assert [result.confidence for result in read] == pytest.approx([result.confidence for result in alone], rel=1e-4)
    assert recognizer.recognize([]) == []


def test_processors_that_read_another_blank_are_refused() -> None:
    static = neuronkit.make_static(line_models.benchmark("VGG", "CTC"))
    for wrong in (DoctrProcessor("0123456789", (32, 100), ctc=True), ParseqProcessor("0123456789", (32, 100))):
        with pytest.raises(OptionError, match=r"expected images \(N, 3|takes .* for the blank; expected class 0"):
            neuronkit.compile_for_inferentia(static, target="cpu", processor=wrong)
    with pytest.raises(OptionError, match=r"takes no class for the blank; expected class 0, as in the model"):
        neuronkit.compile_for_inferentia(
            neuronkit.make_static(line_models.crnn()), target="cpu", processor=ParseqProcessor("0123456789", (32, 320))
        )


@pytest.mark.peers
def test_docTRs_own_post_processing_reads_the_same() -> None:
    model = line_models.doctr("crnn_mobilenet_v3_small")
    static = neuronkit.make_static(model, batch_size=3)
    compiled = neuronkit.compile_for_inferentia(static, target="cpu")
    assert compiled.processor == DoctrProcessor("abcdefghij", (32, 128), "minimum", ctc=True)
    images = static.example_inputs()[0]
    with torch.no_grad():
        expected = model(images)["preds"]
    results = compiled.processor.postprocess(compiled(images, torch.full((3,), 128, dtype=torch.int32)))
    assert [result.text for result in results] == [text for text, _ in expected]
    assert [result.confidence for result in results] == pytest.approx([float(p) for _, p in expected], rel=1e-4)


def test_texts_of_a_trained_reader_stay_where_plain_padding_changes_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    lines = importlib.import_module("lines")
    model, rng = lines.trained(None), np.random.default_rng(2)
    written = [lines.line(rng, int(length)) for length in np.exp(rng.uniform(0, np.log(90), 120))]
    images = [image for image, _ in written]
    processor = CtcProcessor(Charset(lines.CHARACTERS), (32, 1024), channels=1, keep_ratio=True)
    static = neuronkit.make_static(model, batch_size=8, options=LineOptions(width=1024))
    with torch.no_grad():
        rows = neuronkit.FixedShape(static).run([(image[None],) for image in images])
        plain = [model(lines.pad(image, 1024, "plain")[None]) for image in images]
        own = [model(image[None]) for image in images]
    assert max(float((row - logits).abs().max() / logits.abs().max()) for row, logits in zip(rows, own)) <= 5e-6
    alone, exact, changed = ([processor.postprocess(logits)[0].text for logits in read] for read in (own, rows, plain))
    assert sum(map(str.__eq__, alone, (text for _, text in written))) > 110
    assert exact == alone
    assert sum(map(str.__ne__, changed, alone)) > 10
