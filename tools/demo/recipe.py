"""Training recipes: model, batches, loss and schedule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

Batch = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Recipe(ABC):
    """One model's training, as `tools.demo.train` runs it.

    Batches are drawn from seed and step alone, so that a resumed run sees the same data.

    Attributes:
        name: Of the model; files are named after it.
        steps: Length of the schedule.
        learning_rate: Its peak.
        warmup: Steps until the learning rate has risen to it.
        batch_size: Pictures in a step.
    """

    name: str
    steps: int
    learning_rate: float
    warmup: int
    batch_size: int

    @abstractmethod
    def hyper_parameters(self) -> dict[str, Any]:
        """Settings to store beside the weights: strings, integers, lists."""

    @abstractmethod
    def build(self) -> nn.Module:
        """Make the model, untrained."""

    @abstractmethod
    def batch(self, seed: int, step: int) -> Batch:
        """Render the batch of one step."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Compute loss and training accuracy, both scalar, of a batch."""

    def identity(self) -> dict[str, Any]:
        """What must be equal for a run to be resumed; the length of the schedule may differ."""
        return {**{field.name: getattr(self, field.name) for field in fields(self)}, "steps": None}
