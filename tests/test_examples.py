"""Every example runs as its docstring says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.tooling

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# What the last line says, where the example has a result to be right about.
LAST_LINE = {
    "any_size.py": "32 x 32: off by ",
    "from_a_checkpoint.py": "first characters as the model reads them: True",
    "korean_page.py": "every character is one of them: True",
    "read_a_page.py": "thank you",
}


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_it_runs(example: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(example)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(LAST_LINE.get(example.name, ""))
    assert list(tmp_path.iterdir()) == []


def test_each_says_how_to_run_it_and_the_readme_lists_it() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(EXAMPLES) >= 6
    for example in EXAMPLES:
        assert f"\npython examples/{example.name}" in example.read_text(encoding="utf-8")
        assert f"(examples/{example.name})" in readme, f"{example.name} is missing in README.md"
