"""docTR's MASTER in fixed shapes equals docTR's MASTER on each row alone, in text and in confidence."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import neuronkit
from neuronkit.adapters.doctr.recognizer import DoctrOptions
from tests.adapters import doctr_models

pytestmark = pytest.mark.peers


class TestMASTER(doctr_models.Reads):
    batch_size = 4
    distinct_results = 6

    def make_model(self) -> nn.Module:
        return doctr_models.master(0, eos_bias=2.0)


class TestMASTERFusedTokens(TestMASTER):
    options = DoctrOptions(method="fused", outputs="tokens", raw_images=True)


class TestPaddingInsideWords(TestMASTER):
    """A model that predicts PAD in the middle of a word hides it from itself."""

    def make_model(self) -> nn.Module:
        model = doctr_models.master(0, eos_bias=1.0)
        with torch.no_grad():
            model.linear.bias[len(doctr_models.VOCAB) + 2] += 2.5
        return model

    def test_padding_is_predicted(self) -> None:
        static = neuronkit.make_static(self.make_model(), batch_size=12)
        texts = [text for text, _ in static.decoded(static(*static.example_inputs()))]
        assert any("<pad>" in text[:-6] for text in texts)


def test_words_end_early_and_late_and_need_several_passes() -> None:
    static = neuronkit.make_static(doctr_models.master(0, eos_bias=2.0), batch_size=12)
    images = static.example_inputs()
    lengths = [len(text) for text, _ in static.decoded(static(*images))]
    assert min(lengths) == 0
    assert max(lengths) >= 12
    assert len(set(lengths)) >= 4
    assert static.passes(*images) > 5


def test_a_batch_of_the_original_changes_confidences_and_the_static_model_does_not() -> None:
    model = doctr_models.master(0, eos_bias=2.0)
    static = neuronkit.make_static(model, batch_size=12)
    (images,) = static.example_inputs()
    alone = [doctr_models.predictions(model, row)[0] for row in images.split(1)]
    together = doctr_models.predictions(model, images)
    ours = static.decoded(static(images))
    assert [text for text, _ in together] == [text for text, _ in alone] == [text for text, _ in ours]
    assert any(abs(a - b) > 1e-3 for (_, a), (_, b) in zip(together, alone))
    assert all(abs(a - b) < 1e-4 for (_, a), (_, b) in zip(ours, alone))


def test_graphs_hold_only_operators_of_inf1() -> None:
    assert neuronkit.analyze(neuronkit.make_static(doctr_models.master(0)), target="inf1").unsupported == {}


@pytest.mark.slow
def test_the_published_size_reads_what_the_original_reads() -> None:
    from doctr.models import master

    torch.manual_seed(0)
    doctr_models.check_published_size(master(pretrained=False, pretrained_backbone=False), 1)


def test_half_precision_reads_what_docTR_reads() -> None:
    doctr_models.check_half_precision(doctr_models.master(0, eos_bias=2.0))
