"""docTR's ViPTR in fixed shapes equals docTR's ViPTR."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import neuronkit
from neuronkit import DoctrOptions, LineOptions
from neuronkit.errors import OptionError
from neuronkit.ocr.doctr import DoctrProcessor
from tests.adapters import doctr_models

pytestmark = pytest.mark.peers


class TestViPTR(doctr_models.Reads):
    batch_size = 2
    seeds = (0, 1)

    def make_model(self) -> nn.Module:
        return doctr_models.viptr(0)


def test_bytes_in_and_tokens_out_are_read_as_docTR_reads_them() -> None:
    model = doctr_models.viptr(0)
    static = neuronkit.make_static(model, batch_size=2, options=DoctrOptions(raw_images=True, outputs="tokens"))
    assert static.interface.blank_id == len(doctr_models.VOCAB)
    compiled = neuronkit.compile_for_inferentia(static, target="cpu")
    assert isinstance(compiled.processor, DoctrProcessor)
    assert compiled.processor.ctc
    (images,) = static.example_inputs()
    expected = doctr_models.predictions(model, static.normalized((images,))[0])
    words = compiled.processor.postprocess(compiled(images))
    assert [word.text for word in words] == [text for text, _ in expected]
    assert [word.confidence for word in words] == pytest.approx([confidence for _, confidence in expected], abs=1e-5)


def test_another_width_is_the_originals_at_that_width() -> None:
    model = doctr_models.viptr(0).double()
    static = neuronkit.make_static(model, options=DoctrOptions(width=192))
    (images,) = static.example_inputs()
    with torch.no_grad():
        assert float((static(images) - model(images, return_model_output=True)["out_map"]).abs().max()) <= 1e-12


def test_it_is_no_reader_of_lines() -> None:
    with pytest.raises(OptionError, match="family 'doctr_viptr' takes DoctrOptions, got LineOptions"):
        neuronkit.make_static(doctr_models.viptr(0), options=LineOptions())
    with pytest.raises(OptionError, match="got method='unrolled' for VIPTR, which reads all characters at once"):
        neuronkit.make_static(doctr_models.viptr(0), options=DoctrOptions(method="unrolled"))
