"""README's lines for the published weights, with stand-ins for what is fetched, of the same signatures."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from neuronkit import CRAFT, StaticCRAFT, StaticPARSeq
from neuronkit.demo.weights import load_parseq
from neuronkit.integrations import doctr, easyocr

from .test_docs import ROOT, parse

(LINES,) = [block.text for block in parse((ROOT / "README.md").read_text("utf-8")) if "torch.hub.load" in block.text]


# As EasyOCR 1.7.2 and docTR 1.1 declare them; a test with these libraries compares.
def reader(
    lang_list: Any,
    gpu: Any = True,
    model_storage_directory: Any = None,
    user_network_directory: Any = None,
    detect_network: Any = "craft",
    recog_network: Any = "standard",
    download_enabled: Any = True,
    detector: Any = True,
    recognizer: Any = True,
    verbose: Any = True,
    quantize: Any = True,
    cudnn_benchmark: Any = False,
) -> Any:
    return "a Reader"


def ocr_predictor(
    det_arch: Any = "fast_base", reco_arch: Any = "crnn_vgg16_bn", pretrained: Any = False, **settings: Any
) -> Any:
    return "a predictor"


def recorded(function: Callable[..., Any], calls: list[dict[str, Any]], result: Any = None) -> Callable[..., Any]:
    """A function that takes what `function` takes, notes it with its name, and gives `result`, or what that gives."""

    def call(*args: Any, **kwargs: Any) -> Any:
        bound = inspect.signature(function).bind(*args, **kwargs)
        calls.append(dict(bound.arguments))
        return function(*args, **kwargs) if result is None else result(bound.arguments)

    return call


@pytest.mark.slow
def test_the_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    thin = {f"module.{name}": value for name, value in CRAFT(width=0.1).state_dict().items()}
    torch.save(thin, tmp_path / "craft_mlt_25k.pth")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, "load", recorded(torch.hub.load, calls, lambda given: load_parseq()))
    for module, name, value in (("easyocr", "Reader", reader), ("doctr.models", "ocr_predictor", ocr_predictor)):
        stand_in = ModuleType(module)
        setattr(stand_in, name, recorded(value, calls))
        monkeypatch.setitem(sys.modules, module, stand_in)
    monkeypatch.setitem(sys.modules, "doctr", ModuleType("doctr"))
    monkeypatch.setattr(easyocr, "accelerate", recorded(easyocr.accelerate, calls, lambda given: given["reader"]))
    monkeypatch.setattr(doctr, "accelerate", recorded(doctr.accelerate, calls, lambda given: given["predictor"]))
    made: dict[str, Any] = {}
    exec(LINES, made)
    assert isinstance(made["parseq"], StaticPARSeq)
    assert isinstance(made["craft"], StaticCRAFT)
    assert (made["reader"], made["predictor"]) == ("a Reader", "a predictor")
    hub, read, accelerated, predict, _ = calls
    assert (hub["repo_or_dir"], hub["model"], hub["kwargs"]) == ("baudm/parseq", "parseq", {"pretrained": True})
    # EasyOCR quantises its recogniser otherwise, of which no exact graph can be made.
    assert (read["quantize"], read["gpu"], accelerated["target"]) == (False, False, "cpu")
    assert predict["pretrained"] is True


@pytest.mark.peers
def test_the_stand_ins_have_the_signatures_of_the_libraries() -> None:
    from doctr.models import ocr_predictor as real_predictor
    from easyocr import Reader

    ours, theirs = inspect.signature(reader).parameters, inspect.signature(Reader).parameters
    assert {name: p.default for name, p in ours.items()} == {name: p.default for name, p in theirs.items()}
    named = [name for name in inspect.signature(ocr_predictor).parameters if name != "settings"]
    theirs = inspect.signature(real_predictor).parameters
    assert list(theirs)[: len(named)] == named
    assert all(theirs[name].default == inspect.signature(ocr_predictor).parameters[name].default for name in named)
