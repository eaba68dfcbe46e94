"""A rule is added from outside the package: one file, and the line that imports it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from neuronkit.errors import SpecError
from neuronkit.static.exact import exact_padding
from neuronkit.static.exact.rules import registry

from .networks import Net, conv, lively, worst_error

FILE = '''
import torch
from torch import nn
from neuronkit.static.exact import rule


class Shares(nn.Module):
    """What each channel has of the image's sum, in code that no tracer can follow."""

    def __init__(self, offset):
        super().__init__()
        self.offset = offset

    def forward(self, x):
        return torch.stack([row / (float(row.abs().sum()) + self.offset) for row in x])


@torch.fx.wrap
def tripled(x, by=3.0):
    return x * by if x.sum() > 0 or by else x


@rule("shares", modules=[Shares])
def shares(call, offset):
    x, dims = call.image()
    total = call.emit(torch.sum, call.emit(torch.abs, call.builder.zeroed(x)), (1, 2, 3), True)
    return call.builder.output(call.emit(torch.div, x, call.emit(torch.add, total, offset)), dims)


@rule("tripled", functions=[tripled])
def three_times(call, by=3.0):
    return call.same(fill=call.input.fill)


@rule("sinc")
def sinc(call):
    return call.same()


class Uses(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last, self.shares = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1), Shares(0.5)

    def forward(self, x):
        return self.last(torch.sinc(tripled(self.shares(self.first(x)), by=2.0)))
'''


TABLES: tuple[dict[Any, Any], ...] = (registry.RULES, registry.MODULES, registry.FUNCTIONS)


@pytest.fixture(autouse=True)
def rules_stay_as_they_were() -> Iterator[None]:
    known = [dict(table) for table in TABLES]
    yield
    for table, before in zip(TABLES, known):
        table.clear()
        table.update(before)


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "rules_of_mine.py").write_text(FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("rules_of_mine")
    sys.modules.pop("rules_of_mine")


def test_a_rule_from_outside(rules: ModuleType) -> None:
    torch.manual_seed(0)
    model = lively(rules.Uses()).double()
    assert worst_error(model, exact_padding(model), [(9, 12), (16, 5), (16, 20)], (16, 20)) < 1e-12


def test_without_it_the_operator_is_refused() -> None:
    with pytest.raises(SpecError, match=r"node 'sinc.*not a known operator"):
        exact_padding(Net(lambda x, c: torch.sinc(c(x)), conv(3, 4)))


def test_settings_of_modules_and_functions_look_alike() -> None:
    seen = []

    @registry.rule("max_pool2d", modules=[nn.MaxPool2d])
    def watch(call: object, kernel_size: object, stride: object = None, ceil_mode: bool = False) -> None:
        seen.append((kernel_size, stride, ceil_mode))
        raise RuntimeError("seen")

    for layer in (
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Net(lambda x: torch.nn.functional.max_pool2d(x, 3, stride=2, ceil_mode=True)),
    ):
        with pytest.raises(RuntimeError, match="seen"):
            exact_padding(nn.Sequential(layer))
    assert seen == [(3, 2, True)] * 2
