"""EasyOCR's Reader gives the same with compiled networks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neuronkit.errors import OptionError
from neuronkit.integrations import easyocr
from tests.integrations.easyocr_reader import pages, reader
from tests.integrations.page import run_block

pytestmark = [
    pytest.mark.peers,
    # EasyOCR asks for pinned memory whether or not there is a GPU.
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning"),
]
# Of pages with at least five boxes each.
PAGES = 11
CALLS: list[dict[str, Any]] = [
    {},
    {"batch_size": 8, "rotation_info": [180]},
    {"paragraph": True},
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        yield reader(tmp_path_factory.mktemp("models"), patch, width=0.5, hidden=64)


@pytest.fixture(scope="module")
def compiled(plain: Any) -> tuple[Any, Any]:
    """The compiled models of its networks, and the Reader left as it was."""
    networks = plain.detector, plain.recognizer
    assert plain.recognizer.training
    easyocr.accelerate(plain, canvases=[(350, 350)], widths=[448], batch_size=8, verify=False)
    models = plain.detector.compiled, plain.recognizer.compiled
    assert [model.specs[0].shape for model in models[0]] == [(1, 3, 352, 352)]
    assert [model.specs[0].shape for model in models[1]] == [(n, 1, 64, w) for n, w in ((1, 448), (8, 448))]
    assert easyocr.restore(plain) is plain
    assert (plain.detector, plain.recognizer) == networks
    assert plain.recognizer.training
    return models


class ModulatedDeformConvPack(nn.Module):
    """Of EasyOCR's DBNet, by its name."""


class DBNet:
    """EasyOCR's, which is no module, and holds one."""

    def __init__(self) -> None:
        self.model = nn.Sequential(ModulatedDeformConvPack())


def same(ours: Any, theirs: Any) -> bool:
    """Boxes and texts equal, confidences within 1e-4."""
    return (
        np.array_equal(ours[0], theirs[0])
        and ours[1] == theirs[1]
        and ours[2:] == pytest.approx([float(confidence) for confidence in theirs[2:]], abs=1e-4)
    )


def test_pages_are_read_as_before(plain: Any, compiled: Any) -> None:
    images = pages(2, seed=PAGES)
    expected = [[plain.readtext(image, **call) for image in images] for call in CALLS]
    assert all(len(page) >= 5 for page in expected[0])
    assert np.mean([word[2] > 0.1 for page in expected[0] for word in page]) > 0.8
    easyocr.accelerate(plain, detector=compiled[0], recognizer=compiled[1])
    try:
        for call, wanted in zip(CALLS, expected):
            for image, theirs in zip(images, wanted):
                ours = plain.readtext(image, **call)
                assert len(ours) == len(theirs)
                assert all(map(same, ours, theirs))
    finally:
        easyocr.restore(plain)


def test_lines_and_pages_that_fit_no_shape_go_to_the_original(plain: Any, compiled: Any) -> None:
    detector, recognizer = plain.detector, plain.recognizer.eval()
    page, line = torch.randn(1, 3, 64, 384), torch.rand(2, 1, 64, 512)
    easyocr.accelerate(plain, detector=compiled[0], recognizer=compiled[1][0])
    try:
        with pytest.warns(RuntimeWarning, match=r"got an input of 64x384; compiled are 352x352; .*the original"):
            assert torch.equal(plain.detector(page)[0], detector(page)[0])
        with pytest.warns(RuntimeWarning, match=r"got an input of 64x512; compiled are 64x448; .*the original"):
            assert torch.equal(plain.recognizer(line, None), recognizer(line, None))
    finally:
        easyocr.restore(plain)


def test_what_cannot_be_compiled_is_refused(plain: Any, compiled: Any) -> None:
    class Other(nn.Module):
        pass

    class Reader:
        detector: Any = None
        recognizer: Any = None

        def readtext(self) -> None: ...

    other = Reader()
    with pytest.raises(OptionError, match=r"expected an easyocr\.Reader with a detector or a recogniser"):
        easyocr.accelerate(other)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        other.recognizer = torch.ao.quantization.quantize_dynamic(plain.recognizer)
    with pytest.raises(OptionError, match=r"got a recognizer with quantised modules .*quantize=False"):
        easyocr.accelerate(other)
    with pytest.raises(OptionError, match=r"got canvases=\[\]; expected sizes, at least 1"):
        easyocr.accelerate(plain, canvases=[])
    other.recognizer = Other()
    with pytest.raises(OptionError, match="with the recogniser Other; expected EasyOCR's generation 1 or 2"):
        easyocr.accelerate(other)
    other.recognizer, other.detector = None, Other()
    with pytest.raises(OptionError, match=r'with the detector Other; expected CRAFT.*detect_network="craft"'):
        easyocr.accelerate(other)
    other.detector = DBNet()
    message = "with the detector DBNet; expected CRAFT.*deformable convolutions .* EasyOCR's detect_network='dbnet18'"
    for other.recognizer in (None, plain.recognizer):
        with pytest.raises(OptionError, match=message):
            easyocr.accelerate(other)
    other.recognizer, other.detector = None, nn.DataParallel(plain.detector)
    easyocr.accelerate(other, detector=compiled[0][0])
    assert isinstance(easyocr.restore(other).detector, nn.DataParallel)
    for settings, name in (({"canvas_size": 0}, "canvas_size"), ({"batch_size": 0}, "batch_size")):
        with pytest.raises(OptionError, match=f"got {name}=0"):
            easyocr.accelerate(plain, **settings)


def test_the_page_about_integrations_runs(plain: Any, compiled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pages(1, seed=PAGES)[0]
    expected = plain.readtext(image)
    accelerate = easyocr.accelerate
    monkeypatch.setattr("easyocr.Reader", lambda languages, gpu, quantize: plain)
    # Compiled above: all that the page leaves out is the time.
    given = dict(zip(("detector", "recognizer"), compiled))
    monkeypatch.setattr(easyocr, "accelerate", lambda reader, **settings: accelerate(reader, **{**settings, **given}))
    names = run_block("EasyOCR", page=image)
    assert all(map(same, names["result"], expected))
