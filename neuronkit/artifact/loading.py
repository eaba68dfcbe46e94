"""load: an artifact's file or directory, back to a model that can be called."""

from __future__ import annotations

import hashlib
import io
import json
import re
import warnings
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from neuronkit import checks
from neuronkit.artifact.consistency import check_described, check_graphs, is_for_neuron
from neuronkit.artifact.joined import load_graphs
from neuronkit.artifact.manifest import checked
from neuronkit.artifact.model import CompiledModel
from neuronkit.errors import ArtifactError, ChangedDefaultsWarning, NeuronCoreError, OptionError
from neuronkit.interface import Interface
from neuronkit.ocr.processors import check_processor, processor_from_dict
from neuronkit.shown import shown
from neuronkit.specs import TensorSpec
from neuronkit.storage.sealed import LARGEST_TEXT, MANIFEST, SUMS, check_file, read_text
from neuronkit.storage.sealed import read_manifest as _read_directory
from neuronkit.targets import find_target
from neuronkit.targets.base import Target
from neuronkit.targets.sdk.defaults import COMPILER, changed_defaults
from neuronkit.targets.sdk.packages import distribution_version, taken_cores_explained

_HASH = re.compile(r"[0-9a-f]{64}")


def load(path: str | PathLike[str], *, sha256: str | None = None, neuroncore: int | None = None) -> CompiledModel:
    """Load an artifact that `CompiledModel.save` wrote.

    Loading an artifact runs what its graphs say. **Load artifacts from sources that you trust only**, or give the
    digest that you noted when you saved it: the seal in the file shows damage, but anyone who can write the file can
    seal it again. Every byte is checked first: `torch.jit.load` does not detect changed weights.

    Args:
        path: The file, or the directory that a target of ONNX graphs or TorchNeuron writes.
        sha256: Digest that the artifact must have, as 64 hexadecimal digits, from a source other than the file itself:
            what ``sha256sum FILE`` prints, and for a directory ``sha256sum DIRECTORY/SHA256SUMS``. Of a file, what is
            checked is what is loaded, also where it is replaced meanwhile. None checks the seal alone.
        neuroncore: The first core to place it on, of those that this process may use; None leaves it to the runtime.

    Returns:
        The compiled model, with its processor where one was kept.

    Raises:
        ArtifactError: If the file is missing, cut, changed, of a newer format or another digest, not written by
            neuronkit, or if its manifest and its graphs contradict each other.
        MissingDependencyError: If it was compiled for a Neuron target whose SDK (MissingSDKError), or for a runtime
            that is not installed here.
        OptionError: If `sha256` is not a digest, or `neuroncore` not a core of this target.
        NeuronCoreError: If another process has the cores.

    Examples:
        >>> path = neuronkit.compile_for_inferentia(torch.nn.ReLU(), torch.zeros(2), target="cpu").save("relu.pt")
        >>> neuronkit.load(path)(torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """
    given = _existing(path)
    digest = _digest(sha256)
    if neuroncore is not None:
        neuroncore = checks.integer("neuroncore", neuroncore, 0)
    content = _read_verified(given, digest) if digest is not None else None
    manifest = read_manifest(given)
    target, options = find_target(manifest["target"]), manifest["options"]
    _check_target(given, target)
    if target.is_neuron:
        _tell_changed_defaults(given, manifest)
    target.prepare_load()
    if target.saves_directory:
        function, graphs = _load_directory(target, given, manifest)
        check_described(given, graphs, manifest)
    else:
        graphs = None
        function = _load_torchscript(given, content, manifest)
        if not target.is_neuron:
            check_graphs(given, function, manifest)
    if neuroncore is not None:
        count, inline = options["neuroncores"] or 1, options["inline_weights"]
        with taken_cores_explained():
            target.place(function, neuroncore=neuroncore, count=count, inline_weights=inline)
    model = CompiledModel(function, manifest, _processor(given, manifest), graphs=graphs)
    model._path = given.resolve()
    return model


def _check_target(given: Path, target: Target) -> None:
    """Refuse an artifact of another form than its target makes."""
    if target.saves_directory != given.is_dir() or not target.saves:
        kind = "a directory" if given.is_dir() else "a file"
        raise ArtifactError(
            f"{shown(given)}: is {kind}, and its manifest says that it is for {target.name!r}, which makes no such "
            "artifact; compile it again"
        )
    if not target.saves_directory and is_for_neuron(given) != target.is_neuron:
        raise ArtifactError(
            f"{shown(given)}: its manifest says that it is for {target.name!r}, and its graphs are "
            f"{'for the CPU' if target.is_neuron else 'for Neuron'}; compile it again"
        )


def _tell_changed_defaults(path: Path, manifest: Mapping[str, Any]) -> None:
    changes = changed_defaults(manifest["versions"], manifest["commands"].values())
    if changes:
        installed = distribution_version(COMPILER)
        warnings.warn(
            f"{shown(path)}: was built with {COMPILER} {manifest['versions'][COMPILER]}, and {installed} is installed: "
            f"{'; '.join(map(str, changes))}; the artifact keeps its programs, and compiling it again may give others",
            ChangedDefaultsWarning,
            stacklevel=3,
        )


def read_manifest(path: str | PathLike[str]) -> dict[str, Any]:
    """Read the manifest of an artifact, whose every byte is checked first; needs no SDK, and runs nothing.

    Returns:
        The manifest in the newest format, as plain JSON types.

    Raises:
        ArtifactError: If the artifact is missing, cut, changed, of a newer format, or not written by neuronkit.
    """
    given = _existing(path)
    return checked(given, _read_directory(given) if given.is_dir() else _read_member(given))


def described_artifact(path: str | PathLike[str]) -> CompiledModel:
    """Describe an artifact without loading or running its graphs; the result can be shown, but not called.

    Raises:
        ArtifactError: As `read_manifest`, or if its processor is none.
    """
    given, manifest = _existing(path), read_manifest(path)
    model = CompiledModel(_not_loaded, manifest, _processor(given, manifest))
    model._path = given.resolve()
    return model


def _not_loaded(*_: Any) -> Any:
    raise ArtifactError("got a call of an artifact that was described; expected one that was loaded; load it")


def _existing(path: Any) -> Path:
    given = checks.path("path", path, error=ArtifactError)
    return given if given.is_dir() else checks.input_file("path", given, error=ArtifactError)


def _digest(sha256: Any) -> str | None:
    if sha256 is None:
        return None
    digest = checks.text("sha256", sha256).strip().lower()
    if not _HASH.fullmatch(digest):
        raise OptionError(
            f"got sha256={shown(sha256)}; expected 64 hexadecimal digits, as sha256sum prints them; give those"
        )
    return digest


def _read_verified(path: Path, digest: str) -> bytes:
    """The content of a file, or of a directory's list of hashes, whose digest is the one given."""
    try:
        content = read_text(path / SUMS).encode() if path.is_dir() else path.read_bytes()
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"got {shown(path)}, which cannot be read ({shown(error)}); expected an artifact"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ArtifactError(
            f"{shown(path)}: has SHA-256 {found}; expected {digest}; do not load it, and copy it again from where that "
            "digest was noted"
        )
    return content


def _load_directory(target: Target, path: Path, manifest: Mapping[str, Any]) -> Any:
    try:
        return load_graphs(target, manifest, path)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(
            f"{shown(path)}: is whole, but cannot be loaded ({shown(error)}); compile it again"
        ) from error


def _load_torchscript(path: Path, content: bytes | None, manifest: Mapping[str, Any]) -> Any:
    try:
        with taken_cores_explained():
            return torch.jit.load(str(path) if content is None else io.BytesIO(content), map_location="cpu")
    except NeuronCoreError:
        raise
    except Exception as error:  # TorchScript's reader raises errors of many kinds for archives that it cannot read.
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ArtifactError(
            f"{shown(path)}: is sound, but torch {torch.__version__} cannot load it; "
            f"it was written with {manifest['versions']} ({shown(said[0])}); compile it again with this torch"
        ) from error


def _read_member(path: Path) -> Any:
    """The manifest in a sealed file."""
    check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            found = [entry for entry in archive.infolist() if entry.filename.endswith(f"/extra/{MANIFEST}")]
            if len(found) != 1 or found[0].file_size > LARGEST_TEXT:
                raise ArtifactError(
                    f"{shown(path)}: has {len(found) or 'no'} neuronkit manifest that can be read; expected one; "
                    "compile it again with compile_for_inferentia"
                )
            return json.loads(archive.read(found[0]))
    except ArtifactError:
        raise
    except Exception as error:  # zipfile and json raise errors of many kinds for archives that are none.
        raise ArtifactError(f"{shown(path)}: its manifest cannot be read ({shown(error)}); compile it again") from error


def _processor(path: Path, manifest: Mapping[str, Any]) -> Any:
    if manifest["processor"] is None:
        return None
    try:
        processor = processor_from_dict(manifest["processor"])
    except (ValueError, TypeError, ImportError) as error:
        raise ArtifactError(f"{shown(path)}: the processor in its manifest is none: {error}") from error
    if manifest["source"]["class"] is None:
        return processor  # Of format 1, which says too little of the model to compare.
    try:
        check_processor(processor, _Described(manifest), error=ArtifactError)
    except ArtifactError as error:
        raise ArtifactError(f"{shown(path)}: its processor does not belong to its graphs: {error}") from error
    return processor


class _Described:
    """A model as its manifest describes it."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self.interface = Interface.from_manifest(manifest)
        self.specs = [TensorSpec.from_dict(spec) for spec in manifest["inputs"]]
        self.output_specs = [TensorSpec.from_dict(spec) for spec in manifest["outputs"]]
