"""The adapters of this library's own models pass the conformance that is asked of anybody's."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuronkit.adapters.craft import CRAFTOptions
from neuronkit.adapters.parseq import PARSeqOptions, StaticPARSeq
from neuronkit.adapters.registry import Family, families, make_static, register
from neuronkit.errors import OptionError
from neuronkit.models import CRAFT, PARSeq
from neuronkit.ocr.craft import find_boxes
from neuronkit.static.families import ADAPTER_MODULES
from neuronkit.static.model import StaticModel
from neuronkit.testing import AdapterConformance, PaddedConformance
from tests.adapters.parseq_models import TINY, lively

# Line recognisers have one file of tests: which class is whose.
LINES = {
    "lines.easyocr": "TestEasyOCR", "lines.crnn": "TestCRNN", "lines.benchmark": "TestBenchmark",
    "doctr.crnn": "TestDoctrCRNN",
}  # fmt: skip


class TestPARSeq(AdapterConformance):
    distinct_results = 5

    def make_model(self) -> nn.Module:
        return lively(26, max_label_length=9, dec_depth=2, eos_bias=0.25).train()

    def results(self, static: StaticModel, outputs: Any) -> list[Any]:
        rows = outputs.argmax(-1).tolist()
        return [row[: row.index(0)] if 0 in row else row for row in rows]


class TestPARSeqStepwise(TestPARSeq):
    options = PARSeqOptions(method="stepwise")


class TestPARSeqUnrolled(TestPARSeq):
    options = PARSeqOptions(method="unrolled")


class TestPARSeqFused(TestPARSeq):
    options = PARSeqOptions(method="fused")


class TestCRAFT(PaddedConformance):
    batch_size = 2
    seeds = (0, 1)
    options = CRAFTOptions(height=96, width=128)

    def make_model(self) -> nn.Module:
        torch.manual_seed(0)
        model = CRAFT(width=0.125)
        with torch.no_grad():
            for layer in model.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.running_mean.normal_(0, 0.2)  # type: ignore[union-attr]
                    layer.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
        return model.eval()

    def results(self, static: StaticModel, outputs: tuple[Tensor, Tensor]) -> list[Any]:
        """Boxes of each row, at thresholds that random score maps reach."""
        maps = outputs[0].detach().numpy()
        middle = float(outputs[0].median())
        thresholds = {"text_threshold": middle + 0.01, "link_threshold": middle + 0.01, "low_text": middle}
        rows = [find_boxes(*row.transpose(2, 0, 1), **thresholds) for row in maps]
        return [[box.quad.tolist() for box in boxes] for boxes in rows]


@pytest.mark.parametrize("module", ADAPTER_MODULES)
def test_every_registered_adapter_is_held_to_conformance(module: str) -> None:
    family = importlib.import_module(f"neuronkit.adapters.{module}").FAMILY
    assert family in families()
    if module in ("craft", "parseq"):
        return
    if module in LINES:
        lines = (Path(__file__).parent / "test_lines.py").read_text()
        assert re.search(rf"^class {LINES[module]}\(Lines\)", lines, re.MULTILINE)
        return
    tests = (Path(__file__).parent / f"test_{module.replace('.', '_')}.py").read_text()
    bases = "AdapterConformance|PaddedConformance|Generates|doctr_models.Reads"
    assert re.search(rf"^class Test\w+\(({bases})\)", tests, re.MULTILINE)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuronkit.static.families._registered", [])


@pytest.mark.usefixtures("registered")
def test_a_family_of_ones_own_is_found_by_class_and_by_name() -> None:
    class Mine(PARSeq):
        pass

    made: list[str] = []

    def family(name: str, classes: tuple[str, ...]) -> Family:
        def build(model: nn.Module, *, batch_size: int, options: object) -> StaticModel:
            made.append(name)
            return StaticPARSeq(model, batch_size=batch_size)

        return Family(name, classes, lambda model: False, object, build)

    register(family("first", ("elsewhere.Model",)))
    register(family("mine", ()))
    register(family("mine", ("elsewhere.Model",)))
    assert [f.name for f in families()][-2:] == ["first", "mine"]
    model = Mine(36, max_label_length=5, **TINY)
    make_static(model, family="mine")
    # Mine is a PARSeq by its base class.
    assert make_static(model).family == "parseq"
    assert made == ["mine"]
    with pytest.raises(OptionError, match="family 'craft' is one of neuronkit's own; choose another name"):
        register(family("craft", ()))


@pytest.mark.parametrize("name", sorted(set(dir(AdapterConformance)) - set(dir(object))))
def test_every_public_name_is_documented(name: str) -> None:
    if not name.startswith("_") and callable(getattr(AdapterConformance, name)):
        assert getattr(AdapterConformance, name).__doc__
