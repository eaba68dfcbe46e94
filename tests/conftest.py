"""What tests of several packages use, and the same hypothesis examples in every run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

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
