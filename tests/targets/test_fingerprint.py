"""Two graphs have one fingerprint only if they compute the same and give it in the same form."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuronkit.capture.exporting import export_graph
from neuronkit.capture.fingerprint import fingerprint
from neuronkit.capture.tracing import trace
from neuronkit.specs import TensorSpec

X = (TensorSpec("x", (2, 4)),)
FORWARDS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "tensor": lambda linear, x: linear(x),
    "tuple of one": lambda linear, x: (linear(x),),
    "pair": lambda linear, x: (linear(x), x),
    "swapped pair": lambda linear, x: (x, linear(x)),
    "list": lambda linear, x: [linear(x), x],
    "dictionary": lambda linear, x: {"a": linear(x)},
    "other key": lambda linear, x: {"b": linear(x)},
    "constant": lambda linear, x: linear(x) + torch.tensor([1.0, 2.0, 3.0, 4.0]),
    "other constant": lambda linear, x: linear(x) + torch.tensor([1.0, 2.0, 3.0, 5.0]),
    "number": lambda linear, x: linear(x) + 1e-8,
    "nearly the same number": lambda linear, x: linear(x) + 1.0000001e-8,
    "zero": lambda linear, x: linear(x) * 0.0,
    "negative zero": lambda linear, x: linear(x) * -0.0,
    "rows": lambda linear, x: linear(x).sum(0),
    "columns": lambda linear, x: linear(x).sum(1),
    "greater": lambda linear, x: linear(x) > 0,
    "not less": lambda linear, x: linear(x) >= 0,
}


class Model(nn.Module):
    def __init__(self, forward: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear, self._forward = nn.Linear(4, 4), forward

    def forward(self, x: Tensor) -> Any:
        return self._forward(self.linear, x)


@pytest.mark.parametrize("capture", [trace, pytest.param(export_graph, marks=pytest.mark.torch2)])
def test_every_difference_shows_and_nothing_else(capture: Callable[..., Any]) -> None:
    prints = {name: fingerprint(capture(Model(forward).eval(), X)) for name, forward in FORWARDS.items()}
    assert len(set(prints.values())) == len(FORWARDS)
    assert len({found.weights for found in prints.values()}) == 1
    for name in ("tensor", "dictionary"):
        assert fingerprint(capture(Model(FORWARDS[name]).eval(), X)) == prints[name]
