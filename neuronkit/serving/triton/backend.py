"""What model.py does, without Triton: arrays in, arrays or an error out, for each request alone."""

from __future__ import annotations

from pathlib import Path

from neuronkit.artifact import load
from neuronkit.serving.triton.base import Request as Request
from neuronkit.serving.triton.base import Served as Served
from neuronkit.serving.triton.kinds import Reader, Recognizer, TensorModel
from neuronkit.serving.triton.metering import Metered
from neuronkit.serving.triton.signature import RECOGNIZER, kind_of


def load_served(directory: Path, *, max_pixels: int) -> Served:
    """Load a version of a model that `export_repository` wrote.

    Args:
        directory: Of the version.
        max_pixels: Larger images are refused.

    Raises:
        ArtifactError: If an artifact is not sound.
        MissingSDKError: If it needs an SDK that is not installed here.
    """
    if not (directory / "model.pt").exists():
        detector, recognizer = (Metered(load(directory / name)) for name in ("detector.pt", "recognizer.pt"))
        return Reader(detector, recognizer, max_pixels)
    model = load(directory / "model.pt")
    if kind_of(model.manifest) == RECOGNIZER:
        return Recognizer(Metered(model), model.manifest, max_pixels)
    return TensorModel(Metered(model), model.manifest)
