"""The gallery shows every picture that its tool draws, and the tool still draws."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from tools import gallery

pytestmark = pytest.mark.tooling

PAGE = Path(__file__).parent.parent.parent / "docs" / "gallery.md"


def test_the_page_shows_every_picture() -> None:
    shown = re.findall(r"\(images/gallery/(\w+)\.(\w+)\)", PAGE.read_text(encoding="utf-8"))
    assert dict(shown) == {name: "png" if name in gallery.PLOTS else "jpg" for name in gallery.PICTURES}
    assert len(shown) == 10
    for name in gallery.README:
        assert f"](docs/images/gallery/{name}.jpg)" in (PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
    assert all((gallery.FOLDER / f"{name}.{ending}").is_file() for name, ending in shown)


@pytest.mark.slow
def test_pictures_are_drawn_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "FOLDER", tmp_path)
    gallery.draw(["heat_map", "padding", "buckets"])
    for path in tmp_path.iterdir():
        pixels = Image.open(path).convert("L")
        low, high = pixels.getextrema()
        assert high > low, path
    assert len(list(tmp_path.iterdir())) == 3
