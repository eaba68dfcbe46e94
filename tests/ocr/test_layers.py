"""Importing neuronkit.ocr costs nothing, and what surrounds a model needs no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "cv2", "PIL", "torchvision")


def loaded_after(code):
    check = f"{code}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout.split()


def test_importing_the_package_loads_nothing() -> None:
    assert loaded_after("import neuronkit.ocr; dir(neuronkit.ocr)") == []


@pytest.mark.parametrize("name", ["CraftProcessor", "ParseqProcessor", "Page", "TextBox", "Letterbox", "crop_words"])
def test_processors_need_no_torch(name) -> None:
    assert loaded_after(f"from neuronkit.ocr import {name}") == []


def test_boxes_are_found_without_torch() -> None:
    code = "import numpy as np; from neuronkit.ocr import find_boxes; find_boxes(np.ones((9, 9)), np.ones((9, 9)))"
    assert loaded_after(code) == ["cv2"]


def test_this_check_can_fail() -> None:
    assert loaded_after("import PIL") == ["PIL"]
    assert "torch" in loaded_after("from neuronkit.ocr import OCRPipeline")


def test_every_public_name_is_there() -> None:
    import neuronkit.ocr

    for name in neuronkit.ocr.__all__:
        assert getattr(neuronkit.ocr, name).__name__.lower() == name.lower()
    with pytest.raises(AttributeError, match="it has Charset, CraftProcessor"):
        neuronkit.ocr.CRAFTProcessor  # noqa: B018
