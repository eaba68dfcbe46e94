"""Artifacts know at which sizes their original raises, and refuse them at every door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from neuronkit import (
    Buckets,
    FixedShape,
    StaticCRAFT,
    TensorSpec,
    compile_for_inferentia,
    exact_padding,
    load,
)
from neuronkit.artifact import read_manifest
from neuronkit.errors import ArtifactError, SpecError
from neuronkit.models import CRAFT
from neuronkit.static.shapes.refused import RefusedSizes
from neuronkit.storage.sealed import seal_file

HEIGHT, WIDTH = 12, 14


class Even(nn.Module):
    """Joins maps that fit for even sizes alone, and normalises more than one entry alone."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(1, 2, 2, stride=2), nn.ConvTranspose2d(2, 1, 2, stride=2)
        self.norm = nn.InstanceNorm2d(2, affine=True)

    def forward(self, images: Tensor) -> Tensor:
        joined: Tensor = images + self.up(self.norm(self.down(images)))
        return joined


def network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "even":
        return Even().eval()
    if kind == "mirrored":
        return nn.Sequential(nn.Conv2d(1, 2, 5, padding=2, padding_mode="reflect"), nn.MaxPool2d(3)).eval()
    return nn.Sequential(nn.Conv2d(1, 2, (3, 1)), nn.ReLU(), nn.InstanceNorm2d(2)).eval()


def runs(module: nn.Module, height: int, width: int) -> bool:
    try:
        with torch.no_grad():
            return bool(module(torch.randn(1, 1, height, width)).numel())
    except (RuntimeError, ValueError):
        return False


def takes(door: Any, inputs: tuple[Tensor, ...]) -> bool:
    try:
        door(*inputs)
    except SpecError as error:
        return "original model cannot run" not in str(error)
    return True


@pytest.mark.parametrize("kind", ["even", "mirrored", "flat"])
def test_every_door_refuses_the_sizes_at_which_the_original_raises(kind: str, tmp_path: Path) -> None:
    module = network(kind)
    specs = [TensorSpec("images", (1, 1, HEIGHT, WIDTH)), TensorSpec("valid_size", (1, 2), "int32")]
    compiled = compile_for_inferentia(exact_padding(module), specs, target="cpu")
    loaded = load(compiled.save(tmp_path / "model.pt"))
    images = torch.randn(1, 1, HEIGHT, WIDTH)
    with loaded.replicate(2) as replicas:
        doors: dict[str, Any] = {
            "the model": loaded,
            "FixedShape": FixedShape(loaded),
            "Buckets": Buckets({(HEIGHT, WIDTH): loaded}),
            "Replicas": replicas,
        }
        for height in range(1, HEIGHT + 1):
            for width in range(1, WIDTH + 1):
                valid = torch.tensor([[height, width]], dtype=torch.int32)
                whole, right = (images, valid), runs(module, height, width)
                calls = {"the fresh model": (compiled, whole)} | {name: (door, whole) for name, door in doors.items()}
                calls["a smaller image"] = doors["FixedShape"], (images[:, :, :height, :width],)
                took = [name for name, (door, inputs) in calls.items() if takes(door, inputs)]
                assert took == (list(calls) if right else []), (height, width)


def test_craft_is_as_small_as_the_original_takes(tmp_path: Path) -> None:
    static = StaticCRAFT(CRAFT(width=1 / 64), height=64, width=64)
    loaded = load(compile_for_inferentia(static, target="cpu").save(tmp_path / "craft.pt"))
    assert loaded.manifest["refused_sizes"] == {
        "input": "valid_size", "heights": [[1, 15]], "widths": [[1, 15]], "both": [],
    }  # fmt: skip
    with pytest.raises(SpecError, match=r"valid_size=\[15, 16\]"):
        FixedShape(loaded)(torch.zeros(1, 3, 15, 16))
    FixedShape(loaded)(torch.zeros(1, 3, 16, 16))


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 8), st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_ranges_hold_exactly_the_sizes_that_they_were_made_of(seed: int, height: int, width: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    table: NDArray[np.bool_] = rng.random((height, width)) < share
    refused = RefusedSizes.of("valid_size", table)
    if refused is None:
        assert table.all()
        return
    refused = RefusedSizes.from_manifest({"refused_sizes": refused.to_dict()})
    assert refused is not None
    for (row, column), taken in np.ndenumerate(table):
        size = torch.tensor([[row + 1, column + 1]])
        if taken:
            refused.check(size)
        else:
            with pytest.raises(SpecError):
                refused.check(size)


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": "nothing"},
        {"input": "valid_size", "heights": [[1]]},
        {"input": "valid_size", "heights": "all"},
        {"input": "valid_size", "depths": []},
        {"heights": [[1, 2]]},
        [1, 2],
    ],
    ids=str,
)
def test_a_manifest_that_says_nonsense_of_sizes_is_damaged(wrong: Any, tmp_path: Path) -> None:
    specs = [TensorSpec("images", (1, 1, 8, 8)), TensorSpec("valid_size", (1, 2), "int32")]
    compiled = compile_for_inferentia(exact_padding(network("flat")), specs, target="cpu")
    compiled.manifest["refused_sizes"] = wrong
    path = compiled.save(tmp_path / "model.pt")
    seal_file(path)
    with pytest.raises(ArtifactError, match="manifest is damaged"):
        read_manifest(path)
