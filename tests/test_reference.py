"""The docstrings of public names: what they must hold, and that their examples are true."""

from __future__ import annotations

import doctest
import functools
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neuronkit
from neuronkit import FixedShape, TensorSpec
from neuronkit.demo.picture import IMAGE
from neuronkit.demo.weights import load_craft, load_parseq
from neuronkit.ocr import CraftProcessor, OCRPipeline, ParseqProcessor
from tools import public_api

pytestmark = pytest.mark.tooling

ROOT = Path(__file__).parent.parent


def public_names() -> dict[str, Any]:
    """Path → every public function and class, each once."""
    found: dict[int, tuple[str, Any]] = {}
    for module in public_api.MODULES:
        for name, value in public_api.public_names(module).items():
            if callable(value):
                found.setdefault(id(value), (f"{module}.{name}", value))
    return dict(found.values())


NAMES = public_names()
# What the examples of docstrings may use beside the name that they belong to.
GIVEN = {
    **{"neuronkit": neuronkit, "torch": torch, "np": np, "Path": Path, "IMAGE": IMAGE, "PARSeq": neuronkit.PARSeq},
    **{cls.__name__: cls for cls in (TensorSpec, FixedShape, OCRPipeline, CraftProcessor, ParseqProcessor)},
}
EXAMPLES = {name: value for name, value in NAMES.items() if ">>>" in (inspect.getdoc(value) or "")}


@functools.cache
def models() -> dict[str, Any]:
    return {"craft": load_craft(), "parseq": load_parseq()}


def is_error(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, Exception)


@pytest.mark.parametrize("name", NAMES)
def test_docstrings_are_complete(name: str) -> None:
    value = NAMES[name]
    doc = inspect.getdoc(value) or ""
    missing = []
    parameters = [] if is_error(value) else list(inspect.signature(value).parameters)
    if parameters and "Args:" not in doc and "Attributes:" not in doc:
        missing.append("Args")
    if inspect.isfunction(value) and inspect.signature(value).return_annotation not in (None, "None"):
        missing += [] if "Returns:" in doc or "Yields:" in doc else ["Returns"]
    if not is_error(value) and ">>>" not in doc and "Examples:" not in doc:
        missing.append("Example")
    if not is_error(value) and "Raises:" not in doc and raises(value):
        missing.append("Raises")
    assert missing == []


def raises(value: Any) -> bool:
    """Whether a function, or what makes or calls an object of a class, raises or checks something itself."""
    methods = ("__init__", "__post_init__", "__call__")
    made = [value.__dict__.get(name) for name in methods] if inspect.isclass(value) else [value]
    # Those that dataclasses make have no file.
    written = [
        function for function in made if inspect.isfunction(function) and Path(inspect.getfile(function)).is_file()
    ]
    sources = [inspect.getsource(function) for function in written]
    return any(re.search(r"\braise \w|\bchecks\.\w", source) and "Raises:" not in source for source in sources)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_true(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    given = {**GIVEN, **models(), name.rpartition(".")[2]: EXAMPLES[name]}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(EXAMPLES[name]) or "", given, name, None, None)
    written: list[str] = []
    runner = doctest.DocTestRunner(optionflags=flags)
    with torch.no_grad():
        runner.run(test, out=written.append)
    assert runner.failures == 0, "".join(written)
