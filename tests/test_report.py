"""What people see of results: text within 100 columns, HTML, colours; and what objects show of themselves."""

from __future__ import annotations

import doctest
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neuronkit
from neuronkit import CompileOptions, TensorSpec, report
from neuronkit.analysis import Problem
from neuronkit.analysis.operators.report import OperatorReport
from neuronkit.build.report import BuildReport, BuiltArtifact
from neuronkit.compile import parity
from neuronkit.compile.environment import EnvironmentReport
from neuronkit.models import PARSeq
from neuronkit.ocr import CraftProcessor, Line, OCRPipeline, Page, TextBox, Word
from neuronkit.report import WIDTH, Grid, Report

pytestmark = pytest.mark.tooling

OBJECTS = (Path(__file__).parent / "objects.txt").read_text(encoding="utf-8")


class Example(Report):
    def __init__(self, *parts: str | Grid) -> None:
        self._parts = parts

    def parts(self) -> tuple[str | Grid, ...]:
        return self._parts


def craft() -> torch.nn.Module:
    torch.manual_seed(0)
    return neuronkit.models.CRAFT(width=0.1)


def reader() -> torch.nn.Module:
    torch.manual_seed(0)
    return PARSeq("abc", max_label_length=3, embed_dim=16, enc_num_heads=2, enc_depth=1, dec_num_heads=2)


def objects() -> Iterator[tuple[str, object]]:
    """Name → one of the objects that a user prints."""
    static = neuronkit.StaticPARSeq(reader(), batch_size=2)
    yield "static", static
    detector = neuronkit.compile_for_inferentia(
        neuronkit.StaticCRAFT(craft(), height=64, width=96), target="cpu", processor=CraftProcessor(canvas=(64, 96))
    )
    yield "compiled", detector
    yield "pipeline", OCRPipeline(detector, neuronkit.compile_for_inferentia(static, target="cpu"))
    yield "fixed", neuronkit.FixedShape(detector)
    shapes = {
        (2, 3, 64, size): neuronkit.FixedShape(torch.nn.Sigmoid(), [TensorSpec("images", (2, 3, 64, size))])
        for size in (64, 128)
    }
    yield "buckets", neuronkit.Buckets(shapes)
    yield "plan", neuronkit.plan_buckets([(32, 64)] * 1000 + [(64, 320), (500, 500)], 2)
    yield "operators", OperatorReport(
        "inf1", "a list",
        {"aten::conv": 1204, "aten::sort": 2}, {"aten::conv": "supported", "aten::sort": "unsupported"},
        (Problem("aten::sort", "operator", 2, "main", "head", "model.py:12", "not on the list"),),
        {"aten::conv": "Supported " + "with two spatial dimensions " * 4},
    )  # fmt: skip
    output = parity.OutputParity("logits", (2, 4, 4), 2e-6, 1e-7, 1e-6, 1e-7, 123.4, 1.0, 0, (1, 2, 3), True, True)
    far = parity.OutputParity("tokens", (2, 4), 3.0, 1.0, 1.0, 1.0, 3.0, 0.5, 1, (1, 2), False, False)
    yield "parity", neuronkit.ParityReport((output, far), 3, 1e-4, 1e-5)
    yield (
        "environment",
        EnvironmentReport(
            "0.1.0", "3.11.7", "Linux x86_64", {"torch": "2.13.0"}, None, (), {"cpu": None, "inf1": "no wheel " * 20}
        ),
    )
    yield "build", BuildReport(
        (
            BuiltArtifact("reader[8]", "cpu", "built", 12.25, "out/reader.pt", 23_456_789),
            BuiltArtifact("finder", "inf2", "failed", 0.5, error="MissingSDKError: no SDK", log="out/finder.log"),
        )
    )  # fmt: skip
    yield "options", CompileOptions(auto_cast="all", auto_cast_type="bf16")
    cost = neuronkit.estimate(static, target="inf2")
    yield "cost", cost
    yield "costs", neuronkit.analysis.compare_costs([cost])
    quad = np.array([[0, 0], [40, 0], [40, 9], [0, 9]], np.float32)
    yield "page", Page((60, 80), (Line((Word("neuron", 0.987654, TextBox(quad, 0.9)),)),), "receipt.png", dpi=200)


def test_a_compile_ends_with_three_lines_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lines(**settings: bool) -> list[str]:
        neuronkit.compile_for_inferentia(torch.nn.ReLU(), torch.zeros(2, 3), target="cpu", **settings)
        return capsys.readouterr().err.replace("\r", "\n").splitlines()[-3:]

    assert lines() == []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    what, how, where = lines()
    assert what == "CompiledModel of plain for target 'cpu'"
    assert how == "  compared  greatest difference from the original: static 0.0e+00, compiled 0.0e+00"
    assert where == "  next      call it as the original; save(path) keeps it for load and neuronkit show"
    assert "with nothing here" in lines(verify=False)[1]
    assert not any("next" in line for line in lines(progress=True))


def test_objects_as_they_are_printed() -> None:
    printed = "".join(f"--- {name}\n{value}\n" for name, value in objects())
    assert [line for line in printed.splitlines() if len(line) > WIDTH] == []
    flags = doctest.ELLIPSIS | doctest.REPORT_NDIFF
    checker, example = doctest.OutputChecker(), doctest.Example("", OBJECTS)
    assert checker.check_output(OBJECTS, printed, flags), checker.output_difference(example, printed, flags)


TEXTS = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=300)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=4), TEXTS)
def test_text_stays_within_the_width_and_loses_no_word(rows: list[tuple[str, str]], line: str) -> None:
    shown = Example(line, Grid(["a", "b"], [("k" + first[:30], second) for first, second in rows]))
    text = str(shown)
    words = [word for row in rows for word in row[1].split()] + line.split()
    longest = max((len(word) for word in words), default=0)
    assert all(len(written) <= max(WIDTH, 40 + longest) for written in text.splitlines())
    assert all(word in text for word in words)


def test_html_escapes_and_marks() -> None:
    shown = Example("<head>", Grid(["a"], [["<b>"], ["c"]], marked=frozenset([1])))
    assert "<p>&lt;head&gt;</p>" in shown._repr_html_()
    assert "&lt;b&gt;" in shown._repr_html_()
    assert shown._repr_html_().count("color:#b00020") == 1


def test_colours_under_rich() -> None:
    from rich.console import Console

    stream = io.StringIO()
    shown = Example(
        "[head]", Grid(["a", "n"], [["[b]", "1"], ["c", "2"]], numbers=frozenset([1]), marked=frozenset([1]))
    )
    Console(file=stream, force_terminal=True, color_system="standard", width=80).print(shown)
    written = stream.getvalue()
    assert "[head]" in written
    assert "[b]" in written
    assert "\x1b[1;31m" in written


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (92417.3, "92,417"), (0.03921, "0.0392"), (1.2e-7, "1.2e-07"), (999.6, "1,000"), (-12.34, "-12.3")],
)
def test_numbers(value: float, text: str) -> None:
    assert report.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (20_030_000_000, "20.0 GB"), (5e15, "5,000 TB")]
)
def test_sizes(value: float, text: str) -> None:
    assert report.size(value) == text
