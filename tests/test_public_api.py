"""What users may rely on is written down, and changes with a review."""

import difflib
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.tooling

ROOT = Path(__file__).parent.parent


def test_the_inventory_of_public_names_is_up_to_date() -> None:
    run = subprocess.run(
        [sys.executable, ROOT / "tools" / "public_api.py"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    known = (ROOT / "tests" / "public_api.txt").read_text(encoding="utf-8")
    changes = "\n".join(difflib.unified_diff(known.splitlines(), run.stdout.splitlines(), n=0, lineterm=""))
    assert not changes, f"{changes}\nIf this is meant: python tools/public_api.py --write, and say so in CHANGELOG.md"
