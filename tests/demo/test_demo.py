"""The demo: its picture, its comparisons, and the whole of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from neuronkit import StaticPARSeq
from neuronkit.cli.main import main as command_line
from neuronkit.demo import __main__ as module
from neuronkit.demo import picture, reading
from neuronkit.demo.__main__ import main
from neuronkit.demo.picture import SIZE, Truth, load_truth, render_receipt
from neuronkit.demo.reading import BATCH_SIZE, compile_and_reload, disagreements, match_words
from neuronkit.models import PARSeq
from neuronkit.ocr.geometry import TextBox
from neuronkit.ocr.page import Line, Page, Word

FORMS = ("static", "reloaded")


def square(x, y, size=10):
    return np.array([(x, y), (x + size, y), (x + size, y + size), (x, y + size)], dtype=np.float32)


def word(text, x, y):
    return Word(text, 1.0, TextBox(square(x, y)))


def page(*words):
    return Page((100, 100), (Line(words),))


def size_of(path):
    with Image.open(path) as image:
        return image.size


def committed(mode):
    with Image.open(picture.IMAGE) as image:
        return np.asarray(image.convert(mode), dtype=float)


def untrained():
    torch.manual_seed(0)
    return PARSeq(36, embed_dim=32, enc_depth=1, enc_num_heads=2, dec_num_heads=2).eval()


def test_the_committed_picture_is_the_rendered_one() -> None:
    rendered, truth = render_receipt(), load_truth()
    assert [w.text for w in rendered.words] == [w.text for w in truth]
    # Releases of FreeType round a glyph's edges in their own ways.
    for made, true in zip(rendered.words, truth):
        np.testing.assert_allclose(made.quad, true.quad, atol=1.5)
    image = committed("RGB")
    assert image.shape == (*SIZE, 3)
    assert np.abs(image - rendered.image).mean() < 8


def test_the_picture_is_small_and_holds_a_dozen_words_turned_and_noisy() -> None:
    truth = load_truth()
    assert picture.IMAGE.stat().st_size <= 300_000
    assert len(truth) >= 12
    tops = np.array([t.quad[1] - t.quad[0] for t in truth])
    angles = np.degrees(np.arctan2(tops[:, 1], tops[:, 0]))
    assert np.abs(angles).max() > 2
    assert np.std(angles) > 0.5
    noise = np.diff(committed("L")[:40, :40], axis=1)
    assert noise.std() > 2


def test_saving_and_loading_the_truth(tmp_path: Path) -> None:
    page = render_receipt(2)
    picture.save(page, tmp_path / "a.png", tmp_path / "a.json")
    assert size_of(tmp_path / "a.png") == SIZE[::-1]
    assert '"subtotal"' in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_words_are_matched_by_place_and_each_only_once() -> None:
    truth = [Truth("a", square(0, 0)), Truth("b", square(50, 0)), Truth("c", square(51, 1))]
    words = [word("x", 49, 0), word("y", 2, 1), word("z", 80, 80)]
    assert [None if m is None else m.text for m in match_words(truth, words)] == ["y", "x", None]
    assert match_words(truth, []) == [None, None, None]


def test_pages_that_agree_have_no_disagreements() -> None:
    same = page(word("tea", 0, 0), word("pot", 30, 0))
    moved = page(word("tea", 0.4, 0), word("pot", 30, 0))
    assert disagreements({"dynamic": same, "static": moved}) == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (page(word("tea", 0, 0)), "found 1 words"),
        (page(word("tea", 0, 0), word("pat", 30, 0)), "'pat'"),
        (page(word("tea", 0, 0), word("pot", 33, 0)), "3.00 pixels"),
    ],
)
def test_a_disagreement_is_told(other, said) -> None:
    same = page(word("tea", 0, 0), word("pot", 30, 0))
    (found,) = disagreements({"dynamic": same, "static": same, "reloaded": other})
    assert found.startswith("reloaded")
    assert said in found


@pytest.mark.slow
def test_the_whole_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "demo.png"
    status = command_line(["demo", "--out", str(out), "--json"])
    result, printed = capsys.readouterr()
    assert status == 0, printed
    found = json.loads(result)
    assert found["problems"] == []
    receipt, sign = found["pictures"]
    assert (receipt["words"], receipt["picture"]) == (len(load_truth()), str(out))
    assert sign["words"] == len(load_truth(picture.SIGN))
    for read in (receipt, sign):
        assert set(read["parity"]) == {f"{name}, {form}" for name in ("CRAFT", "PARSeq") for form in FORMS}
    assert [line[0] for line in printed.splitlines() if line[1:3] == "/4"] == list("123434")
    assert size_of(out) == SIZE[::-1]
    assert size_of(out.with_name("demo-sign.png")) == size_of(picture.SIGN)
    assert {path.name for path in out.parent.iterdir()} == {"demo.png", "demo-sign.png", "craft.pt", "parseq.pt"}
    for true in (*load_truth(), *load_truth(picture.SIGN)):
        assert true.text in printed
    for name in ("CRAFT, static", "CRAFT, reloaded", "PARSeq, static", "PARSeq, reloaded"):
        assert f"{name} against dynamic" in printed


@pytest.mark.tooling
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*low confidence")
def test_a_bad_reader_fails_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "load_parseq", untrained)
    assert main(["--out", str(tmp_path / "demo.png")]) == 1
    printed = capsys.readouterr().out
    assert "receipt.png: 0.0% of the words were read right, 90% are required" in printed
    assert "sign.png: 0.0%" in printed


@pytest.mark.tooling
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*low confidence")
def test_a_disagreement_fails_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is loaded is another recogniser than the one that reads dynamically."""
    prepare = reading.Models.prepare

    def swapped(craft, parseq, folder):
        models = prepare(craft, parseq, folder)
        dynamic, static, reloaded = models.variants
        other = compile_and_reload(
            StaticPARSeq(untrained(), batch_size=BATCH_SIZE, options=models.parseq.options),
            models.recognizer_processor,
            tmp_path / "x",
        )
        wrong = dataclasses.replace(reloaded, recognizer=other)
        return dataclasses.replace(models, variants=(dynamic, static, wrong))

    monkeypatch.setattr(reading.Models, "prepare", staticmethod(swapped))
    assert main(["--out", str(tmp_path / "demo.png")]) == 1
    assert "reloaded read" in capsys.readouterr().out
