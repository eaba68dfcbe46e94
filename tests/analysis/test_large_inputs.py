"""Large inputs are analysed by shapes alone, with the counts and places of a run that computes."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

import neuronkit
from neuronkit import StaticCRAFT, TensorSpec, analyze
from neuronkit.models import CRAFT


class Seen(nn.Module):
    """Notes whether it got values; copies of it note in the same place."""

    values: ClassVar[list[bool]] = []

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        self.values.append(not x.is_meta)
        out: Tensor = self.inner(x)
        return out


def layers() -> nn.Module:
    relu = nn.ReLU(inplace=True)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), relu, nn.MaxPool2d(2), nn.Upsample(scale_factor=2)
    )


@pytest.mark.parametrize("target", ["inf1", "inf2", "cpu"])
def test_counts_and_places_are_those_of_a_run(target: str) -> None:
    model = Seen(layers().eval())
    model.values.clear()
    small, large = (analyze(model, [TensorSpec("x", (1, 3, size, size))], target=target) for size in (64, 640))
    assert large.to_dict() == small.to_dict()
    assert large.counts["aten::_convolution"] == 1
    assert model.values[0]
    assert not all(model.values)


def test_a_static_detector_has_the_operators_of_a_run_that_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    static = StaticCRAFT(CRAFT(width=0.02), height=640, width=640)
    shapes_alone = analyze(static, target="inf1")
    monkeypatch.setattr("neuronkit.capture.shapes._LARGE", 1 << 40)
    assert analyze(static, target="inf1").to_dict() == shapes_alone.to_dict()


def test_the_craft_of_the_published_log_is_counted_within_seconds() -> None:
    report = analyze(CRAFT(width=0.02), [TensorSpec("images", (1, 3, 2400, 2400))], target="inf1")
    assert (report.total, len(report.counts)) == (95, 9)


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x


def test_values_that_python_reads_are_told_all_the_same() -> None:
    (problem,) = analyze(Branches(), [torch.ones(1 << 20)], target="inf1").problems
    assert problem.nature == "value"
    with pytest.raises(neuronkit.errors.SpecError, match="cannot be traced"):
        analyze(nn.Linear(4, 3), [torch.ones(1 << 10, 1 << 10)], target="inf1")
