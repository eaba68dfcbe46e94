"""The two compile logs published in 2023 with CRAFT and PARSeq on Inf1 (torch-neuron, neuron-cc 1.15)."""

import pytest
from torch import nn

from neuronkit.analysis import analyze
from neuronkit.models import CRAFT, PARSeq
from neuronkit.specs import TensorSpec

CRAFT_LOG = {
    "aten::Int": 6,
    "aten::_convolution": 27,
    "aten::batch_norm": 20,
    "aten::cat": 4,
    "aten::max_pool2d": 5,
    "aten::permute": 1,
    "aten::relu_": 23,
    "aten::size": 6,
    "aten::upsample_bilinear2d": 3,
}

# Kinds of PARSeq's log whose counts do not depend on the release of torch or on how masks and scales are written.
PARSEQ_LOG = {
    "aten::_convolution": 1,
    "aten::add": 233,
    "aten::argmax": 51,
    "aten::baddbmm": 52,
    "aten::bmm": 156,
    "aten::cat": 54,
    "aten::chunk": 104,
    "aten::contiguous": 416,
    "aten::cumsum": 1,
    "aten::div": 208,
    "aten::embedding": 104,
    "aten::eq": 1,
    "aten::expand": 2,
    "aten::flatten": 1,
    "aten::gelu": 64,
    "aten::gt": 1,
    "aten::index_put_": 1,
    "aten::layer_norm": 285,
    "aten::linear": 516,
    "aten::matmul": 24,
    "aten::mul": 741,
    "aten::ones": 1,
    "aten::permute": 12,
    "aten::reshape": 25,
    "aten::select": 51,
    "aten::slice": 675,
    "aten::softmax": 116,
    "aten::split_with_sizes": 208,
    "aten::squeeze": 50,
    "aten::sub": 52,
    "aten::to": 1,
    "aten::transpose": 857,
    "aten::triu": 2,
    "aten::unbind": 12,
    "aten::unsqueeze": 52,
    "aten::view": 521,
}


@pytest.mark.inf1
@pytest.mark.slow
def test_craft_gives_the_95_operators_of_its_log() -> None:
    # The log's size; a narrower network has the same operators.
    report = analyze(CRAFT(width=0.125), TensorSpec("images", (1, 3, 2400, 2400)), target="inf1")
    assert report.counts == CRAFT_LOG
    assert report.total == 95
    assert report.supported_fraction == 1.0
    assert report.problems == ()


def test_craft_has_the_same_operators_on_every_torch() -> None:
    report = analyze(CRAFT(width=0.03), TensorSpec("images", (1, 3, 64, 64)), target="inf1")
    assert report.counts == CRAFT_LOG


class FixedLength(nn.Module):
    """The dynamic PARSeq as it was traced for the log: with a given number of steps."""

    def __init__(self, model: PARSeq, max_length: int) -> None:
        super().__init__()
        self.model = model
        self.max_length = max_length

    def forward(self, images):
        return self.model(images, self.max_length)


@pytest.mark.inf1
@pytest.mark.slow
def test_dynamic_parseq_gives_the_picture_of_its_log() -> None:
    model = FixedLength(PARSeq(94, max_label_length=50, embed_dim=48), 50)
    report = analyze(model, TensorSpec("images", (1, 3, 32, 128)), target="inf1")
    assert report.unsupported == {"aten::embedding": 104, "aten::index_put_": 1}
    assert {kind: report.counts.get(kind, 0) for kind in PARSEQ_LOG} == PARSEQ_LOG
    embedding = next(problem for problem in report.problems if problem.kind == "aten::embedding")
    assert embedding.module == "model.text_embed.embedding"
    assert "parseq_decoder.py:" in embedding.location
