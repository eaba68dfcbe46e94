"""Pipelines of other libraries on the stand-in of Inf2's SDK, with one line each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from neuronkit.integrations import doctr, easyocr, huggingface
from tests.adapters.huggingface_models import lively, trocr
from tests.integrations import doctr_predictors, easyocr_reader

pytestmark = [pytest.mark.peers, pytest.mark.inf2]


def compiled_shapes(double: Any) -> set[tuple[int, ...]]:
    """Of the first input of each graph."""
    return {tuple(call["shapes"][0]) for call in double.calls if "shapes" in call}


def test_generate(install_double: Callable[..., Any], in_process: None) -> None:
    double, model = install_double("torch_neuronx"), lively(trocr(0), 2.0, 16.0)
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    expected = model.generate(pixel_values=images)
    huggingface.accelerate(model, target="inf2", batch_size=2, verify=False)
    assert torch.equal(model.generate(pixel_values=images), expected)
    assert {call["shapes"][0][0] for call in double.calls if "shapes" in call} == {2}


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning")
def test_readtext(
    install_double: Callable[..., Any], in_process: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double, reader = install_double("torch_neuronx"), easyocr_reader.reader(tmp_path, monkeypatch, 0.5, 64)
    (page,) = easyocr_reader.pages(1, seed=11)
    expected = reader.readtext(page)
    assert len(expected) >= 5
    easyocr.accelerate(reader, target="inf2", canvases=[(352, 352)], widths=[448], verify=False)
    for ours, theirs in zip(reader.readtext(page), expected, strict=True):
        assert (ours[0], ours[1]) == (theirs[0], theirs[1])
        assert ours[2] == pytest.approx(theirs[2], abs=1e-4)
    assert compiled_shapes(double) == {(1, 3, 352, 352), (1, 1, 64, 448)}


def test_a_predictor(install_double: Callable[..., Any], in_process: None) -> None:
    double = install_double("torch_neuronx")
    predictor = doctr_predictors.predictor("linknet_resnet18", "vitstr", det_bs=1, reco_bs=1)
    pages = doctr_predictors.pages(1)
    words = [[word.value for word in line.words] for line in predictor(pages).pages[0].blocks[0].lines]
    doctr.accelerate(predictor, target="inf2", verify=False)
    found = predictor(pages)
    assert [[word.value for word in line.words] for line in found.pages[0].blocks[0].lines] == words
    assert compiled_shapes(double) == {(1, 3, 256, 256), (1, 3, 32, 128)}
