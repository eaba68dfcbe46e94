"""docTR's ViTSTR in fixed shapes equals docTR's ViTSTR."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import neuronkit
from neuronkit.adapters.doctr.recognizer import DoctrOptions
from neuronkit.errors import SpecError
from tests.adapters import doctr_models

pytestmark = pytest.mark.peers


class TestViTSTR(doctr_models.Reads):
    batch_size = 4
    distinct_results = 8

    def make_model(self) -> nn.Module:
        return doctr_models.vitstr(0)


def test_graphs_hold_only_operators_of_inf1() -> None:
    assert neuronkit.analyze(neuronkit.make_static(doctr_models.vitstr(0)), target="inf1").unsupported == {}


@pytest.mark.slow
def test_the_published_size_reads_what_the_original_reads() -> None:
    from doctr.models import vitstr_small

    torch.manual_seed(0)
    doctr_models.check_published_size(vitstr_small(pretrained=False), 2)


def test_a_model_made_to_be_exported_gives_the_same() -> None:
    model = doctr_models.vitstr(0)
    static = neuronkit.make_static(model, batch_size=2)
    images = static.example_inputs()
    expected = static.reference(*images)
    model.exportable = True
    with torch.no_grad():
        torch.testing.assert_close(static.reference(*images), expected, rtol=0, atol=0)


def test_sizes_that_are_none_are_refused() -> None:
    with pytest.raises(SpecError, match="got height='32'; expected a whole number of at least 1"):
        DoctrOptions(height="32")  # type: ignore[arg-type]
