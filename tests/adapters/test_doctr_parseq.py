"""docTR's PARSeq in fixed shapes equals docTR's PARSeq."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import neuronkit
from neuronkit.adapters.doctr.recognizer import DoctrOptions
from tests.adapters import doctr_models

pytestmark = pytest.mark.peers


class TestDoctrPARSeq(doctr_models.Reads):
    batch_size = 4
    distinct_results = 8

    def make_model(self) -> nn.Module:
        return doctr_models.parseq(1)


class TestDoctrPARSeqFusedTokens(TestDoctrPARSeq):
    options = DoctrOptions(method="fused", outputs="tokens", raw_images=True)


class TestSquarePatches(TestDoctrPARSeq):
    """Their positions are interpolated."""

    def make_model(self) -> nn.Module:
        return doctr_models.parseq(0, patch_size=(8, 8), eos_bias=1.0)


def test_words_end_early_and_late_and_need_several_passes() -> None:
    # Otherwise the comparison with the original would show little.
    static = neuronkit.make_static(doctr_models.parseq(1), batch_size=16)
    images = static.example_inputs()
    lengths = [len(text) for text, _ in static.decoded(static(*images))]
    assert min(lengths) <= 3
    assert max(lengths) == 13
    assert len(set(lengths)) >= 4
    assert static.passes(*images) > 5


def test_graphs_hold_only_operators_of_inf1() -> None:
    assert neuronkit.analyze(neuronkit.make_static(doctr_models.parseq(0)), target="inf1").unsupported == {}


@pytest.mark.slow
def test_the_published_size_reads_what_the_original_reads() -> None:
    from doctr.models import parseq

    torch.manual_seed(0)
    doctr_models.check_published_size(parseq(pretrained=False), 2)


def test_half_precision_reads_what_docTR_reads() -> None:
    doctr_models.check_half_precision(doctr_models.parseq(0, eos_bias=2.0))
