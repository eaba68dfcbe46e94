"""The table of families and targets: what is published passes, and so does a small part of it made again."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.tooling

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compatibility", ROOT / "benchmarks" / "compatibility.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def published() -> dict[str, list[str]]:
    rows = re.findall(r"^\| (.+) \|$", (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {name: cells for name, *cells in (row.split(" | ") for row in rows)}


def passes(cell: str) -> bool:
    return cell == "equal" or bool(re.fullmatch(r"\d+e-\d+", cell) and float(cell) <= 1e-4)


def test_what_is_published_passes(benchmark: ModuleType) -> None:
    table = {name: cells for name, cells in published().items() if name in benchmark.CASES}
    assert "CRAFT" in table
    assert [name for name, cells in table.items() if not all(map(passes, cells))] == []


@pytest.mark.runtimes
def test_a_part_of_it_made_again_passes_too(benchmark: ModuleType) -> None:
    name, *cells = benchmark.row("PARSeq, fixed point", benchmark.CASES["PARSeq, fixed point"]).strip("| ").split(" | ")
    assert len(cells) == len(benchmark.TARGETS) == len(published()[name])
    assert all(map(passes, cells))
