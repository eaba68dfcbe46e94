"""docTR's predictors give the same with compiled networks."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neuronkit import CompiledModel, TensorSpec, compile_for_inferentia, load
from neuronkit.errors import OptionError
from neuronkit.integrations import doctr
from tests.integrations.doctr_predictors import pages, predictor
from tests.integrations.page import run_block

pytestmark = pytest.mark.peers

PAIRS = [("linknet_resnet18", "parseq"), ("fast_tiny", "crnn_mobilenet_v3_small")]


def words(document: Any) -> list[Any]:
    """Text, confidence, geometry of every word."""
    blocks = [block for page in document.pages for block in page.blocks]
    found = [word for block in blocks for line in block.lines for word in line.words]
    return [(word.value, word.confidence, word.objectness_score, word.geometry) for word in found]


def assert_same_maps_and_boxes(predictor: Any, images: list[Any], expected: tuple[Any, Any]) -> None:
    """Maps within 5e-6, boxes equal unless a score lies within 1e-5 of the threshold."""
    boxes, maps = predictor(images, return_maps=True)
    threshold = predictor.model.postprocessor.bin_thresh
    for ours, theirs, our_boxes, their_boxes in zip(maps, expected[1], boxes, expected[0]):
        assert np.abs(ours - theirs).max() <= 5e-6
        if np.abs(theirs - threshold).min() > 1e-5:
            np.testing.assert_allclose(our_boxes["words"], their_boxes["words"], atol=1e-5)


@pytest.mark.parametrize(("detector", "recognizer"), PAIRS)
def test_pages_are_read_as_before(detector: str, recognizer: str) -> None:
    model, images = predictor(detector, recognizer), pages(3)
    networks = model.det_predictor.model, model.reco_predictor.model
    maps, expected = model.det_predictor(images, return_maps=True), words(model(images))
    assert len(expected) >= 15
    assert len({text for text, *_ in expected}) >= 5
    assert doctr.accelerate(model, verify=False) is model
    assert_same_maps_and_boxes(model.det_predictor, images, maps)
    found = words(model(images))
    assert [text for text, *_ in found] == [text for text, *_ in expected]
    for ours, theirs in zip(found, expected):
        assert ours[1:3] == pytest.approx(theirs[1:3], abs=1e-4)
        assert np.allclose(ours[3], theirs[3], atol=1e-5)
    assert doctr.restore(model) is model
    assert (model.det_predictor.model, model.reco_predictor.model) == networks


def test_models_compiled_before_are_taken_and_others_refused(tmp_path: Path) -> None:
    model, (image,) = predictor("linknet_resnet18", "vitstr", det_bs=1, reco_bs=1), pages(1)
    doctr.accelerate(model, verify=False)
    expected = words(model([image]))
    found, read = model.det_predictor.model.compiled, model.reco_predictor.model.compiled
    saved = load(read[0].save(tmp_path / "reads.pt"))
    doctr.accelerate(model, detector=found, recognizer=saved)
    assert model.reco_predictor.model.compiled == (saved,)
    assert words(model([image])) == expected
    with torch.no_grad():
        model.reco_predictor.model.original.head.bias.add_(1)
    with pytest.raises(OptionError, match="got recognizer, compiled of other weights than this pipeline's"):
        doctr.accelerate(model, detector=found, recognizer=saved)
    other = compile_for_inferentia(nn.ReLU(), TensorSpec("x", (1, 2)), target="cpu")
    for given, message in (
        (other, "expected one that takes images"),
        ("a.pt", "expected a sequence of compiled models"),
    ):
        with pytest.raises(OptionError, match=message):
            doctr.accelerate(model, detector=given)  # type: ignore[arg-type]


def test_what_is_not_compiled_goes_to_the_original_or_is_refused() -> None:
    model = predictor("linknet_resnet18", "vitstr", det_bs=1, reco_bs=1)
    network = model.det_predictor.model
    doctr.accelerate(model, verify=False)
    stand_in = model.det_predictor.model
    images = torch.rand(1, 3, 128, 256)
    with pytest.warns(
        RuntimeWarning, match="got an input of 128x256; compiled are 256x256; .*the original network computes it"
    ):
        ours = stand_in(images, return_model_output=True)
    assert torch.equal(ours["out_map"], network(images, return_model_output=True)["out_map"])
    with pytest.raises(OptionError, match="got target; expected none: a compiled network is not trained"):
        stand_in(images, target=[])
    assert stand_in.assume_straight_pages is True
    assert stand_in.class_names == ["words"]
    with pytest.raises(AttributeError, match="nonsense"):
        _ = stand_in.nonsense
    with pytest.raises(OptionError, match=r"expected one with detection and recognition; give what doctr\.models"):
        doctr.accelerate(model.det_predictor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        quantised = torch.ao.quantization.quantize_dynamic(doctr.restore(model))
    with pytest.raises(OptionError, match=r"got a recognizer with quantised modules .* expected float weights"):
        doctr.accelerate(quantised)


def test_the_page_about_integrations_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = predictor("linknet_resnet18", "vitstr", det_bs=1, reco_bs=1)
    monkeypatch.setattr("doctr.models.ocr_predictor", lambda *architectures, pretrained: model)
    names = run_block("docTR", pages=pages(1))
    assert [text for text, *_ in words(names["document"])] == [text for text, *_ in words(model(pages(1)))]
    assert isinstance(load(tmp_path / "recognizer-1.pt"), CompiledModel)
