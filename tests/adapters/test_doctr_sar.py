"""docTR's SAR in fixed shapes equals docTR's SAR, in text and in confidence."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import neuronkit
from neuronkit.adapters.doctr.sar import SAROptions
from neuronkit.errors import OptionError
from tests.adapters import doctr_models

pytestmark = pytest.mark.peers


class TestSAR(doctr_models.Reads):
    batch_size = 4
    distinct_results = 5

    def make_model(self) -> nn.Module:
        return doctr_models.sar(1, eos_bias=1.5)


class TestSARInOneGraph(TestSAR):
    options = SAROptions(method="unrolled")


def test_all_steps_run_because_confidence_counts_them() -> None:
    static = neuronkit.make_static(doctr_models.sar(1, eos_bias=20.0), batch_size=2)
    images = static.example_inputs()
    assert [text for text, _ in static.decoded(static(*images))] == ["", ""]
    assert static.passes(*images) == 11


@pytest.mark.parametrize("method", ["stepwise", "unrolled"])
def test_graphs_hold_only_operators_of_inf1(method: str) -> None:
    static = neuronkit.make_static(doctr_models.sar(0), options=SAROptions(method=method))
    assert neuronkit.analyze(static, target="inf1").unsupported == {}


def test_the_features_are_projected_once() -> None:
    static = neuronkit.make_static(doctr_models.sar(0), options=SAROptions(method="unrolled"))
    encoder, specs = neuronkit.make_static(doctr_models.sar(0)).graphs()["encode"]
    convolutions = [
        analyzed.counts["aten::_convolution"]
        for analyzed in (neuronkit.analyze(static, target="inf1"), neuronkit.analyze(encoder, specs, target="inf1"))
    ]
    assert convolutions[0] == convolutions[1] > 0


def test_a_recurrent_decoder_refuses_the_fixed_point() -> None:
    with pytest.raises(OptionError, match=r"the decoder of 'doctr_sar' gives step.*; choose 'stepwise' or 'unrolled'"):
        neuronkit.make_static(doctr_models.sar(0), options=SAROptions(method="fixed_point"))
    with pytest.raises(OptionError, match="got method='beam'"):
        neuronkit.make_static(doctr_models.sar(0), options=SAROptions(method="beam"))


@pytest.mark.slow
def test_the_published_size_reads_what_the_original_reads() -> None:
    from doctr.models import sar_resnet31

    torch.manual_seed(0)
    doctr_models.check_published_size(sar_resnet31(pretrained=False, pretrained_backbone=False), 1)
