"""What tests of several packages use, and the same hypothesis examples in every run."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from torch import Tensor, nn

import neuronkit.tables

# A failure in CI is a failure at the desk. No deadline: a busy machine is no error.
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")


@pytest.fixture(scope="session")
def inf1_operators() -> frozenset[str]:
    """Operator kinds that Inf1 takes, wholly or with limits."""
    table = json.loads((Path(neuronkit.tables.__file__).parent / "inf1_ops.json").read_text())
    return frozenset([*table["supported"], *table["limited"]])


@pytest.fixture
def lower() -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[tuple[Tensor, ...], str]]:
    """Lower a module through torch-xla: its outputs, computed on XLA's CPU client, and the HLO text."""

    def run(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], str]:
        import torch
        import torch_xla

        device = torch_xla.device()
        with torch.no_grad():
            outputs = module.to(device)(*[tensor.to(device) for tensor in inputs])
            outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
            hlo = torch_xla._XLAC._get_xla_tensors_hlo(outputs)
        return tuple(output.cpu() for output in outputs), hlo

    return run


@pytest.fixture
def registries() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    from neuronkit import targets
    from neuronkit.serving.triton import kinds
    from neuronkit.static import families
    from neuronkit.static.decoding import methods
    from neuronkit.static.exact.rules import registry

    tables: list[Any] = [
        families._registered,
        methods._registered,
        targets._registered,
        kinds.KINDS,
        registry.RULES,
        registry.MODULES,
        registry.FUNCTIONS,
        registry.BATCH_ANYWHERE,
    ]
    known = [copy.copy(table) for table in tables]
    yield
    for table, before in zip(tables, known):
        table.clear()
        (table.extend if isinstance(table, list) else table.update)(before)
