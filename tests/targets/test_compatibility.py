"""The table of families and targets: what is published passes, and so does a small part of it made again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import compatibility

pytestmark = pytest.mark.tooling

ROOT = Path(__file__).parents[2]


def published() -> dict[str, list[str]]:
    rows = re.findall(r"^\| (.+) \|$", (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {name: cells for name, *cells in (row.split(" | ") for row in rows)}


def passes(cell: str) -> bool:
    return cell == "equal" or bool(re.fullmatch(r"\d+e-\d+", cell) and float(cell) <= 1e-4)


def test_what_is_published_passes() -> None:
    table = {name: cells for name, cells in published().items() if name in compatibility.CASES}
    assert "CRAFT" in table
    assert [name for name, cells in table.items() if not all(map(passes, cells))] == []


@pytest.mark.runtimes
def test_a_part_of_it_made_again_passes_too() -> None:
    row = compatibility.row("PARSeq, fixed point", compatibility.CASES["PARSeq, fixed point"])
    name, *cells = row.strip("| ").split(" | ")
    assert len(cells) == len(compatibility.TARGETS) == len(published()[name])
    assert all(map(passes, cells))
