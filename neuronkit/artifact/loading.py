"""load: an artifact's file or directory, back to a model that can be called."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from neuronkit.artifact.manifest import upgraded
from neuronkit.artifact.model import CompiledModel
from neuronkit.artifact.sealed import check_seal
from neuronkit.artifact_directory import MANIFEST
from neuronkit.artifact_directory import read_manifest as _read_directory
from neuronkit.errors import ArtifactError, NeuronCoreError
from neuronkit.targets import find_target
from neuronkit.targets.sdk.packages import taken_cores_explained


def load(path: str | PathLike[str], *, neuroncore: int | None = None) -> CompiledModel:
    """Load an artifact that `CompiledModel.save` wrote.

    Every byte of it is checked first: `torch.jit.load` does not notice changed weights.

    Args:
        path: The file, or the directory of a TorchNeuron artifact.
        neuroncore: The first core to place it on, of those that this process may use; None leaves it to the runtime.

    Raises:
        ArtifactError: If the file is missing, cut, changed, of a newer format, or not written by neuronkit.
        MissingSDKError: If it was compiled for a Neuron target whose SDK is not installed here.
        OptionError: If `neuroncore` is given for a target without cores.
        NeuronCoreError: If another process has the cores.
    """
    path = Path(path)
    manifest = read_manifest(path)
    target, options = find_target(manifest["target"]), manifest["options"]
    target.prepare_load()
    function = target.load_directory(path) if target.saves_directory else _load_torchscript(path, manifest)
    if neuroncore is not None:
        count, inline = options["neuroncores"] or 1, options["inline_weights"]
        with taken_cores_explained():
            target.place(function, neuroncore=neuroncore, count=count, inline_weights=inline)
    return CompiledModel(function, manifest, _processor(manifest))


def read_manifest(path: str | PathLike[str]) -> dict[str, Any]:
    """Read the manifest of an artifact, whose every byte is checked first; needs no SDK.

    Raises:
        ArtifactError: If the artifact is missing, cut, changed, of a newer format, or not written by neuronkit.
    """
    path = Path(path)
    manifest = _read_directory(path) if path.is_dir() else _read_manifest(path)
    return upgraded(path, manifest)


def _load_torchscript(path: Path, manifest: Mapping[str, Any]) -> Any:
    try:
        with taken_cores_explained():
            return torch.jit.load(str(path), map_location="cpu")
    except NeuronCoreError:
        raise
    except RuntimeError as error:
        raise ArtifactError(
            f"{path}: is sound, but torch {torch.__version__} cannot load it; "
            f"it was written with {manifest['versions']} ({str(error).splitlines()[0]})"
        ) from error


def _read_manifest(path: Path) -> dict[str, Any]:
    check_seal(path)
    with zipfile.ZipFile(path) as archive:
        name = next((n for n in archive.namelist() if n.endswith(f"/extra/{MANIFEST}")), None)
        if name is None:
            raise ArtifactError(f"{path}: has no neuronkit manifest; compile it again with compile_for_inferentia")
        manifest: dict[str, Any] = json.loads(archive.read(name))
    return manifest


def _processor(manifest: Mapping[str, Any]) -> Any:
    if manifest["processor"] is None:
        return None
    from neuronkit.ocr.processors import processor_from_dict

    return processor_from_dict(manifest["processor"])
