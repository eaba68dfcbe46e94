"""Constants that stand for infinity leave nothing behind, in whatever type a compiler keeps a part of a sum."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import neuronkit
from neuronkit.static.sentinels import sentinel

ROOT = Path(neuronkit.__file__).parent
# Whose numbers get into graphs.
PACKAGES = ("static", "adapters", "models")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_a_sentinel_is_exact_in_its_type_and_in_bfloat16(dtype: torch.dtype) -> None:
    value = sentinel(dtype)
    for kept in (dtype, torch.bfloat16):
        assert torch.tensor(value, dtype=kept).item() == value
        assert torch.tensor(value, dtype=dtype) - torch.tensor(value, dtype=kept).to(dtype) == 0
    assert value > 1e4
    assert torch.tensor([0.0, -value], dtype=dtype).float().softmax(0).tolist() == [1.0, 0.0]
    assert torch.isfinite(torch.zeros(1, dtype=dtype) * torch.tensor(value, dtype=dtype))


@pytest.mark.parametrize("value", [1e30, 1e9, 6e4])
def test_powers_of_ten_do_leave_something(value: float) -> None:
    assert torch.tensor(value) - torch.tensor(value, dtype=torch.bfloat16).float() != 0


# The mark of beams that are dead, as generate has it; the loop on the host sets it, and no graph holds it.
ON_THE_HOST = ("static/decoding/beams.py", 1e9)


def _float_constants() -> list[tuple[str, float]]:
    """Every number of at least 1e4 in what graphs are made from, as Python computes it: `2.0**15`, `-1e9`."""
    found = []
    for path in (path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Constant, ast.BinOp)):
                value = _number(node)
                place = path.relative_to(ROOT).as_posix()
                if isinstance(value, float) and 1e4 <= abs(value) < math.inf and (place, value) != ON_THE_HOST:
                    found.append((f"{place}:{node.lineno}", value))
    return found


def _number(node: ast.expr) -> Any:
    if not all(isinstance(part, (ast.Constant, ast.BinOp, ast.operator)) for part in ast.walk(node)):
        return None
    try:
        return eval(compile(ast.Expression(node), "", "eval"))
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None


def test_every_large_constant_of_a_graph_survives_a_round_trip_through_bfloat16() -> None:
    constants = _float_constants()
    assert {value for _, value in constants} >= {2.0**15, 2.0**100}
    assert [where for where, value in constants if torch.tensor(value, dtype=torch.bfloat16).item() != value] == []


def test_the_scan_finds_what_is_no_power_of_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "bad.py").write_text("HIDDEN = -1e9\nSTEPS = 30000\n")
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    monkeypatch.setattr(f"{__name__}.PACKAGES", ("static",))
    assert _float_constants() == [("static/bad.py:1", 1e9)]
