"""emulate_autocast on static models: only the graphs are rounded, and the result serves wherever the model did."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import neuronkit
from neuronkit import StaticCRAFT, StaticPARSeq, assert_parity, emulate_autocast
from neuronkit.analysis.autocast.rounding import to_bf16
from neuronkit.demo.render import render_word
from neuronkit.demo.weights import load_craft, load_parseq
from neuronkit.errors import ParityError, SpecError, UnknownModelError
from neuronkit.ocr import CraftProcessor, OCRPipeline, ParseqProcessor
from neuronkit.ocr.metrics import text_accuracy
from neuronkit.static.model import Foldable, StaticModel
from tests.adapters import line_models

METHODS = ("fixed_point", "stepwise", "unrolled")


@pytest.fixture(scope="module")
def parseq():
    return load_parseq()


@pytest.fixture(scope="module")
def words(parseq):
    crops = [render_word(np.random.default_rng([3, i]))[0] for i in range(4)]
    return torch.from_numpy(ParseqProcessor(charset=parseq.charset).preprocess(crops))


@pytest.mark.parametrize("auto_cast", ["matmult", "all"])
@pytest.mark.parametrize("method", METHODS)
def test_equals_its_emulated_graphs_joined(parseq, words, method, auto_cast) -> None:
    static = StaticPARSeq(parseq, batch_size=4, method=method, max_length=6)
    emulated = emulate_autocast(static, auto_cast=auto_cast)
    graphs = {name: emulate_autocast(graph, auto_cast=auto_cast) for name, (graph, _) in static.graphs().items()}
    # What the graphs fold, the live model computes without rounding, too.
    assert torch.equal(emulated(words), static.assemble(graphs)(words))
    assert not torch.equal(emulated(words), static(words))


def test_leaves_the_live_model_live(parseq, words) -> None:
    static = StaticPARSeq(parseq, batch_size=4)
    before = static(words)
    emulated = emulate_autocast(static)
    rounded = emulated(words)
    assert torch.equal(static(words), before)
    bias = parseq.head.bias
    with torch.no_grad():
        bias[0] += 100
        try:
            assert not torch.equal(emulated(words), rounded)
        finally:
            bias[0] -= 100
    assert torch.equal(emulated(words), rounded)
    assert not any(name.startswith("folded") for name, _ in parseq.named_buffers())


def test_a_large_static_craft_loses_what_the_dynamic_one_loses() -> None:
    """Coordinates of its resizes are whole numbers: as float32 they would lose their halves to bf16 beyond 128."""
    craft = load_craft().eval()
    static = StaticCRAFT(craft, height=96, width=640)
    images = torch.rand(1, 3, 96, 640, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for width in (640, 416):
        valid_size = torch.tensor([[96, width]], dtype=torch.int32)
        scores, _ = static.reference(images, valid_size)
        dynamic, _ = emulate_autocast(craft, auto_cast="all")(images[..., :width])
        rounded, _ = emulate_autocast(static, auto_cast="all")(images, valid_size)
        valid = scores[:, :, : width // 2]
        lost = (dynamic - valid).abs().max()
        assert (rounded[:, :, : width // 2] - valid).abs().max() < 2 * lost


def test_a_line_recogniser_can_be_called_after_it_was_emulated() -> None:
    static = neuronkit.make_static(line_models.crnn(), options=neuronkit.LineOptions(width=64))
    inputs = static.example_inputs()
    before, emulated = static(*inputs), emulate_autocast(static)
    assert torch.equal(emulated(*inputs), emulated(*inputs))
    assert torch.equal(static(*inputs), before)


class Scale(Foldable):
    """A product with a weight that is computed from others."""

    def __init__(self, layer) -> None:
        super().__init__()
        self.layer = layer

    def compute_constants(self):
        return (self.layer.weight @ self.layer.weight,)

    def forward(self, x):
        return x @ self.constants[0]


class Cached(StaticModel):
    """A static model that makes its graph once."""

    def __init__(self, layer) -> None:
        super().__init__(layer, [neuronkit.TensorSpec("x", (2, 4))])
        self.__dict__["graph"] = Scale(layer)

    def modules_by_name(self, source):
        return {"main": self.graph}

    def graph_specs(self):
        return {"main": self.specs}

    def run_original(self, source, *inputs):
        return inputs[0] @ (source.weight @ source.weight)


def test_a_graph_that_is_kept_is_not_left_folded() -> None:
    layer = torch.nn.Linear(4, 4)
    static = Cached(layer)
    (x,) = static.example_inputs()
    emulated = emulate_autocast(static)
    for _ in range(2):
        assert torch.equal(emulated(x), to_bf16(x) @ to_bf16(layer.weight @ layer.weight))
        assert list(static.graph.buffers()) == []
        with torch.no_grad():
            layer.weight.mul_(2)
            assert torch.equal(static(x), static.reference(x))


def test_words_are_read_alike(parseq, words) -> None:
    static = StaticPARSeq(parseq, batch_size=4)
    processor = ParseqProcessor(charset=parseq.charset)
    options = {"task": processor.postprocess, "agreement": text_accuracy}
    report = assert_parity(emulate_autocast(static), static, [(words,)], atol=5.0, **options)
    assert report.task_agreement == 1.0
    assert report.outputs[0].max_abs > 1e-3
    with pytest.raises(ParityError):
        assert_parity(emulate_autocast(static), static, [(words,)])


@pytest.mark.parametrize("auto_cast", ["none", "matmult", "all"])
def test_detector_gives_score_maps(auto_cast) -> None:
    static = StaticCRAFT(load_craft(), height=96, width=128)
    inputs = static.example_inputs()
    emulated = emulate_autocast(static, auto_cast=auto_cast)
    assert emulated.specs == static.specs
    with torch.no_grad():
        actual, expected = emulated(*inputs)[0], static(*inputs)[0]
    error = float((actual - expected).abs().max())
    assert error == 0 if auto_cast == "none" else 1e-5 < error < 0.1


def test_serves_in_a_pipeline(parseq) -> None:
    craft = StaticCRAFT(load_craft(), height=128, width=256)
    reader = OCRPipeline(
        emulate_autocast(craft),
        emulate_autocast(StaticPARSeq(parseq, batch_size=4)),
        detector_processor=CraftProcessor(mag_ratio=1.0),
        recognizer_processor=ParseqProcessor(charset=parseq.charset),
    )
    image, text = render_word(np.random.default_rng([1, 2]))
    canvas = np.full((128, 256, 3), image.reshape(-1, 3).mean(axis=0), dtype=np.uint8)
    height, width = min(image.shape[0], 64), min(image.shape[1], 220)
    canvas[32 : 32 + height, 16 : 16 + width] = image[:height, :width]
    assert len(reader(canvas).words) >= 1
    assert text


def test_serves_in_a_fixed_shape(parseq, words) -> None:
    emulated = emulate_autocast(StaticPARSeq(parseq, batch_size=4))
    fixed = neuronkit.FixedShape(emulated, emulated.specs)
    torch.testing.assert_close(fixed(words[:3]), emulated(words)[:3], rtol=0, atol=1e-3)
    with pytest.raises(SpecError):
        fixed(words[:, :2])


def test_a_compiled_model_is_refused(parseq) -> None:
    compiled = neuronkit.compile_for_inferentia(StaticPARSeq(parseq), target="cpu", verify=False)
    with pytest.raises(UnknownModelError, match=r"CompiledModel.*precision already"):
        emulate_autocast(compiled)


def test_an_artifact_as_torchscript_is_rounded(parseq, words, tmp_path: Path) -> None:
    static = StaticPARSeq(parseq, batch_size=4)
    path = neuronkit.compile_for_inferentia(static, target="cpu", verify=False).save(tmp_path / "parseq.pt")
    emulated = emulate_autocast(torch.jit.load(str(path)))
    torch.testing.assert_close(emulated(words), emulate_autocast(static)(words), rtol=0, atol=1e-3)


class _Products(TorchDispatchMode):
    """Notes whether the factors of products are rounded, from below the emulation."""

    def __init__(self) -> None:
        super().__init__()
        self.rounded: list[Any] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        factors = {"aten::mm": (0, 1), "aten::bmm": (0, 1), "aten::addmm": (1, 2), "aten::convolution": (0, 1)}
        positions = factors.get(func._schema.name, ())
        self.rounded += [torch.equal(args[i], to_bf16(args[i])) for i in positions]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", METHODS)
def test_a_mode_below_sees_rounded_factors_alone(parseq, words, method) -> None:
    emulated = emulate_autocast(StaticPARSeq(parseq, batch_size=4, method=method, max_length=4))
    emulated(words)
    with _Products() as seen:
        emulated(words)
    # Constants that a compile folds are products of weights, which no graph computes.
    assert len(seen.rounded) > 50
    assert sum(not rounded for rounded in seen.rounded) <= 8
