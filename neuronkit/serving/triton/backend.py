"""What model.py does, without Triton: arrays in, arrays or an error out, for each request alone."""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name

from neuronkit.artifact import load
from neuronkit.serving.artifact import ServedArtifact
from neuronkit.serving.triton.base import Request as Request
from neuronkit.serving.triton.base import Served as Served
from neuronkit.serving.triton.kinds import find_kind
from neuronkit.serving.triton.metering import Metered


def load_served(directory: Path, kind: str | None = None, *, max_pixels: int) -> Served:
    """Load a version of a model that `export_repository` wrote.

    Args:
        directory: Of the version.
        kind: What serves it, as config.pbtxt says: the name of a subclass of `Served`. None finds it out:
            repositories of earlier exports do not say.
        max_pixels: Larger images are refused.

    Raises:
        ArtifactError: If an artifact is not sound.
        MissingSDKError: If it needs an SDK that is not installed here.
    """
    paths = sorted(directory.glob("*.pt"), key=lambda path: path.stem)
    models = {path.stem: Metered(load(path)) for path in paths}
    if kind is None:
        kind = find_kind({path.stem: ServedArtifact.of(path.name, path) for path in paths})
    served: Served = resolve_name(kind)(models, max_pixels)
    return served
