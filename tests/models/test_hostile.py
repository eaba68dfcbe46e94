"""Hostile checkpoints run nothing, write nothing, change nothing, and cost little."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HOSTILE = Path(__file__).with_name("hostile.py")


def report(folder: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(HOSTILE), *arguments[:2], str(folder), *arguments[2:]]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500, check=True)
    result: dict[str, Any] = json.loads(run.stdout)
    return result


@pytest.mark.slow
@pytest.mark.parametrize("files", [100, pytest.param(500, marks=pytest.mark.tooling)])
def test_hostile_files_do_nothing_to_the_process(files: int, tmp_path: Path) -> None:
    found = report(tmp_path, str(files), "12")
    assert (found["files"], found["failures"], found["events"], found["changed"]) == (files, [], [], [])
    assert found["growth_mb"] < 500
    assert found["slowest_s"] < 20


def test_what_a_file_does_is_seen(tmp_path: Path) -> None:
    found = report(tmp_path, "1", "1", "torch")
    assert any("EXECUTED" in event for event in found["events"])
    assert found["changed"] == ["files"]
