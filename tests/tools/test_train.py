"""Training: it learns, and a run that was interrupted ends where an uninterrupted one does."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from neuronkit.demo.weights import load_craft, load_parseq
from neuronkit.errors import CheckpointError
from tools.demo import files
from tools.demo import train as module
from tools.demo.craft_recipe import CraftRecipe
from tools.demo.parseq_recipe import ParseqRecipe
from tools.demo.train import RECIPES, Run, main, schedule, train

pytestmark = pytest.mark.tooling

SMALL = {
    "parseq": ParseqRecipe(batch_size=4, warmup=1),
    "craft": CraftRecipe(batch_size=2, page_size=96, warmup=1),
}


def assert_same(a, b) -> None:
    state, other = a.model.state_dict(), b.model.state_dict()
    assert state.keys() == other.keys()
    for name in state:
        assert torch.equal(state[name], other[name]), name
    assert a.history == b.history


@pytest.mark.parametrize("name", SMALL)
def test_a_resumed_run_ends_as_an_uninterrupted_one_bit_for_bit(name, tmp_path: Path) -> None:
    options = {"steps": 3, "seed": 5, "workers": 0}
    whole = train(SMALL[name], out=tmp_path / "whole", **options)
    train(SMALL[name], out=tmp_path / "parts", stop_after=2, **options)
    assert not (tmp_path / "parts" / f"{name}.pt").exists()
    resumed = train(SMALL[name], out=tmp_path / "parts", **options)
    assert whole.step == resumed.step == 3
    assert_same(whole, resumed)
    other_seed = train(SMALL[name], out=tmp_path / "other", **{**options, "seed": 6})
    assert other_seed.history != whole.history


@pytest.mark.parametrize("name", SMALL)
def test_a_step_on_the_same_pictures_lowers_the_loss(name) -> None:
    recipe = dataclasses.replace(SMALL[name], learning_rate=1e-3)
    run = Run.begin(recipe, 0)
    batch = {key: torch.from_numpy(value) for key, value in recipe.batch(0, 0).items()}
    for _ in range(12):
        run.advance(batch, 1000, bf16=False)
    losses = [loss for loss, _ in run.history]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", SMALL)
def test_a_finished_run_leaves_weights_that_load_and_a_curve(name, tmp_path: Path) -> None:
    run = train(SMALL[name], out=tmp_path, steps=2, workers=0)
    loaded = {"parseq": load_parseq, "craft": load_craft}[name](tmp_path / f"{name}.pt")
    assert not loaded.training
    for key, value in loaded.state_dict().items():
        torch.testing.assert_close(value, run.model.state_dict()[key], rtol=1e-3, atol=1e-6)
    saved = torch.load(tmp_path / f"{name}.pt", weights_only=True)["state_dict"]
    assert {value.dtype for value in saved.values()} <= {torch.float16, torch.int64}
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_what_follows_the_end_of_a_word_is_hidden_from_it() -> None:
    recipe = dataclasses.replace(SMALL["parseq"], batch_size=8)
    torch.manual_seed(0)
    model = recipe.build().eval()
    batch = {key: torch.from_numpy(value) for key, value in recipe.batch(1, 0).items()}
    end, letter, padding = 0, 7, batch["tokens"] == 38
    assert padding.any()

    def loss(token):
        tokens = batch["tokens"].masked_fill(padding, token)
        return float(recipe.loss(model, {**batch, "tokens": tokens})[0].detach())

    assert loss(end) == loss(38)
    assert loss(letter) != loss(38)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    train(SMALL["parseq"], out=tmp_path, steps=1, workers=0)
    with pytest.raises(CheckpointError, match="another seed"):
        train(SMALL["parseq"], out=tmp_path, steps=2, seed=1, workers=0)
    with pytest.raises(CheckpointError, match="another recipe"):
        train(dataclasses.replace(SMALL["parseq"], batch_size=5), out=tmp_path, steps=2, workers=0)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.ckpt"
    files.write_whole(path, {"step": 1})

    def half(state, file) -> NoReturn:
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="disk full"):
        files.write_whole(path, {"step": 2})
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_the_schedule_rises_stays_and_falls() -> None:
    values = [schedule(step, 100, 10) for step in range(100)]
    assert values[0] == pytest.approx(0.1)
    assert set(values[9:71]) == {1.0}
    assert values[70:] == sorted(values[70:], reverse=True)
    assert 0 < values[-1] < 0.05
    # Before the fall, a longer run is the same run.
    assert values[:70] == [schedule(step, 200, 10) for step in range(70)]


def test_the_command_line_trains_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "RECIPES", SMALL)
    main(["--steps", "1", "--out", str(tmp_path), "--workers", "0"])
    assert {path.name for path in tmp_path.iterdir()} == {f"{n}.{s}" for n in SMALL for s in ("ckpt", "png", "pt")}
    assert "craft" in capsys.readouterr().err


@pytest.mark.slow
def test_a_worker_process_renders_the_same(tmp_path: Path) -> None:
    one = train(SMALL["parseq"], out=tmp_path / "one", steps=2, workers=1)
    none = train(SMALL["parseq"], out=tmp_path / "none", steps=2, workers=0)
    assert_same(one, none)


def test_recipes_are_those_of_the_weights_that_ship() -> None:
    for name, loader in (("parseq", load_parseq), ("craft", load_craft)):
        built, shipped = RECIPES[name].build().state_dict(), loader().state_dict()
        assert {k: v.shape for k, v in built.items()} == {k: v.shape for k, v in shipped.items()}
