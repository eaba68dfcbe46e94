"""The site builds without a warning, and its reference holds every public name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import public_api

pytestmark = pytest.mark.tooling

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_reference_holds_every_public_name(site: Path) -> None:
    names = {id(v): f"{m}.{n}" for m in reversed(public_api.MODULES) for n, v in public_api.public_names(m).items()}
    pages = "".join(page.read_text(encoding="utf-8") for page in (site / "reference").rglob("index.html"))
    anchors = set(re.findall(r'id="(neuronkit[\w.]*)"', pages))
    assert len(names) > 100
    assert sorted(set(names.values()) - anchors) == []


@pytest.mark.slow
def test_pages_of_the_root_and_linked_files_are_there(site: Path) -> None:
    assert "In fifteen lines" in (site / "project" / "overview" / "index.html").read_text(encoding="utf-8")
    assert (site / "files" / "examples" / "read_a_page.py").read_bytes() == (
        ROOT / "examples" / "read_a_page.py"
    ).read_bytes()
    assert "../../quickstart/" in (site / "project" / "overview" / "index.html").read_text(encoding="utf-8")
