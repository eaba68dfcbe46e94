"""A kind of served model: tells how many entries an input called "measured" has."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from neuronkit.serving.artifact import ServedArtifact
from neuronkit.serving.triton.config import Port, Signature
from neuronkit.serving.triton.kinds import TensorModel


class Lengths(TensorModel):
    @classmethod
    def fits(cls, artifacts: Mapping[str, ServedArtifact]) -> bool:
        return super().fits(artifacts) and artifacts["model"].specs[0].name == "measured"

    @classmethod
    def signature(cls, artifacts: Mapping[str, ServedArtifact]) -> Signature:
        tensors = super().signature(artifacts)
        return Signature(tensors.inputs, (Port("length", "TYPE_INT32", (1,)),), tensors.batch_size)

    def _finish(self, result: Sequence[Tensor], outputs: Collection[str]) -> dict[str, NDArray[np.int32]]:
        return {"length": np.array([[len(row)] for row in result[0]], np.int32)}
