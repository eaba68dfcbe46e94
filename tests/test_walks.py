"""How many files a model or an image passes on its way: what somebody reads who follows it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neuronkit
from neuronkit import StaticPARSeq, TensorSpec, estimate
from neuronkit.demo.weights import load_parseq
from neuronkit.ocr import CraftProcessor, OCRPipeline, ParseqProcessor

pytestmark = pytest.mark.tooling

ROOT = Path(neuronkit.__file__).parent


def calls(run: Callable[[], Any]) -> list[tuple[str, str, list[Any]]]:
    """Every call of a function of the library: its file, that of its caller, and its arguments."""
    found = []

    def profile(frame: FrameType, event: str, _: Any) -> None:
        code, back = frame.f_code, frame.f_back
        if event == "call" and code.co_filename.startswith(str(ROOT)):
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            caller = back.f_code.co_filename if back is not None else ""
            found.append((code.co_filename, caller, [frame.f_locals[name] for name in names]))

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return found


def files_given(value: Any, run: Callable[[], Any]) -> set[str]:
    """The files with a function that gets this very object."""
    return {
        str(Path(file).relative_to(ROOT))
        for file, _, arguments in calls(run)
        if any(argument is value for argument in arguments)
    }


def test_a_model_passes_six_files_at_most_on_its_way_through_estimate() -> None:
    plain, static = nn.Linear(8, 8), StaticPARSeq(load_parseq())
    for model, inputs in ((plain, TensorSpec("x", (1, 8))), (static, None)):
        given = files_given(model, lambda model=model, inputs=inputs: estimate(model, inputs, target="inf2"))  # type: ignore[misc]
        assert "analysis/cost/estimator.py" in given
        assert len(given) <= 6, given


def test_images_enter_the_pipelines_reader_once() -> None:
    def detect(images: Tensor) -> Tensor:
        return torch.zeros(len(images), images.shape[2] // 2, images.shape[3] // 2, 2)

    pipeline = OCRPipeline(
        detect,
        lambda images: torch.zeros(len(images), 5, 95),
        detector_processor=CraftProcessor(),
        recognizer_processor=ParseqProcessor(),
    )
    image = np.full((64, 96, 3), 255, np.uint8)
    for run in (lambda: pipeline(image), lambda: pipeline([image]), lambda: list(pipeline.read([image]))):
        entered = [file for file, caller, _ in calls(run) if file.endswith("reader.py") and caller != file]
        assert len(entered) == 1
