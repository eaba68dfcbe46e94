"""Small artifacts of the demo's models, as files, for whatever serves them."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuronkit import StaticCRAFT, StaticPARSeq, compile_for_inferentia
from neuronkit.demo.weights import load_craft, load_parseq
from neuronkit.ocr import CraftProcessor, ParseqProcessor

CANVAS = (96, 224)
"""(height, width) of the detector's canvas: room for a line of a few words."""
BATCH_SIZE = 8


@pytest.fixture(scope="session")
def detector_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's CRAFT, one image of `CANVAS` at a time, for the CPU."""
    static = StaticCRAFT(load_craft(), height=CANVAS[0], width=CANVAS[1])
    compiled = compile_for_inferentia(static, target="cpu", processor=CraftProcessor(mag_ratio=1.0))
    return compiled.save(tmp_path_factory.mktemp("detector") / "craft.pt")


@pytest.fixture(scope="session")
def recognizer_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's PARSeq, `BATCH_SIZE` words at a time, for the CPU."""
    model = load_parseq()
    static = StaticPARSeq(model, batch_size=BATCH_SIZE)
    compiled = compile_for_inferentia(static, target="cpu", processor=ParseqProcessor(charset=model.charset))
    return compiled.save(tmp_path_factory.mktemp("recognizer") / "parseq.pt")
