"""The weights that ship: small, plain, and refused when they are broken."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from neuronkit.demo.weights import FOLDER, load_craft, load_parseq
from neuronkit.errors import CheckpointError
from neuronkit.models import CRAFT, PARSeq


def test_they_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in FOLDER.glob("*.pt")}
    assert sizes.keys() == {"craft.pt", "parseq.pt"}
    assert sum(sizes.values()) <= 4_000_000


@pytest.mark.parametrize("name", ["craft", "parseq"])
def test_they_are_plain_data(name) -> None:
    saved = torch.load(FOLDER / f"{name}.pt", weights_only=True)
    assert saved.keys() == {"hyper_parameters", "state_dict"}
    assert all(isinstance(value, (str, int, list)) for value in saved["hyper_parameters"].values())
    assert {value.dtype for value in saved["state_dict"].values()} <= {torch.float16, torch.int64}


def test_they_load_in_eval_mode_as_float32() -> None:
    craft, parseq = load_craft(), load_parseq()
    assert isinstance(craft, CRAFT)
    assert isinstance(parseq, PARSeq)
    for model in (craft, parseq):
        assert not model.training
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    whole = (FOLDER / "craft.pt").read_bytes()
    cut = tmp_path / "cut.pt"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"cut\.pt"):
        load_craft(cut)


def test_weights_of_the_other_model_are_refused() -> None:
    with pytest.raises(CheckpointError, match="expected the weights of a PARSeq"):
        load_parseq(FOLDER / "craft.pt")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pt"):
        load_craft(tmp_path / "none.pt")
