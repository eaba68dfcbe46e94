"""CompiledModel: a compiled graph and its manifest, in one file that is whole or is not there."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import uuid
import zipfile
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuronkit.artifact_directory import MANIFEST, save_directory
from neuronkit.artifact_directory import read_manifest as _read_directory
from neuronkit.capture.serialize import save_script
from neuronkit.errors import ArtifactError, NeuronCoreError, OptionError, SpecError
from neuronkit.specs import TensorSpec
from neuronkit.static.replicas import Replicas
from neuronkit.targets import find_target
from neuronkit.targets.sdk.packages import taken_cores_explained

FORMAT = 1
# A zip file may end in a comment. Ours is the hash of everything before it, so that any changed byte shows.
_SEAL = b"neuronkit:sha256:"
_SEAL_LENGTH = len(_SEAL) + 64


class CompiledModel:
    """What `compile_for_inferentia` gives: called like the model, saved to one file, loaded by `neuronkit.load`.

    Attributes:
        manifest: Everything known about it, as plain JSON types: format, target, versions, specs, options, operators,
            parity, weight hash, processor settings.
        specs: Its inputs, in order.
        processor: The pre- and post-processor it was compiled with, or None.
    """

    def __init__(self, function: Callable[..., Any], manifest: Mapping[str, Any], processor: Any = None) -> None:
        self._function = function
        self.manifest = dict(manifest)
        self.specs = tuple(TensorSpec.from_dict(spec) for spec in manifest["inputs"])
        self.processor = processor
        graphs = {name: [TensorSpec.from_dict(spec) for spec in specs] for name, specs in manifest["graphs"].items()}
        self._run = find_target(manifest["target"]).accelerate(function, graphs)

    def __call__(self, *inputs: Tensor) -> Any:
        """Run the compiled graph.

        Args:
            *inputs: Tensors exactly as `specs` say.

        Returns:
            What the original model returns.

        Raises:
            SpecError: If the number, a shape or a dtype differs.
            NeuronCoreError: If another process has the cores.
        """
        if len(inputs) != len(self.specs):
            raise SpecError(f"got {len(inputs)} inputs, expected {len(self.specs)}: {', '.join(map(str, self.specs))}")
        for spec, tensor in zip(self.specs, inputs):
            if not isinstance(tensor, Tensor):
                raise SpecError(
                    f"{spec.name}: got {type(tensor).__name__}, expected a tensor; use torch.as_tensor(...)"
                )
            spec.check(tensor)
        with torch.no_grad(), taken_cores_explained():
            return self._run(*inputs)

    def replicate(self, copies: int) -> Replicas:
        """Spread batches over several cores of this machine, in one process.

        On Neuron this is the SDK's DataParallel, one copy a core; on the CPU, threads that share the weights. Unlike
        either SDK's own, it takes any number of rows: the last batches are filled up and cut off.

        Args:
            copies: How many batches to compute at once: on Neuron, of the cores that this process may use.

        Returns:
            A callable that takes what the model takes, with any number of rows, and can stand in its place in an
            `OCRPipeline`.

        Raises:
            OptionError: If `copies` is no positive integer, the model spans several cores by itself, or the target
                cannot place copies.
            SpecError: If its inputs have no common number of rows.
        """
        if not isinstance(copies, int) or isinstance(copies, bool) or copies < 1:
            raise OptionError(f"copies={copies!r}: expected a positive integer")
        spans = self.manifest["options"]["neuroncores"] or 1
        if copies > 1 and spans > 1:
            raise OptionError(
                f"one copy spans {spans} cores already, and DataParallel takes models of one core; "
                "compile with neuroncores=1, or run one process for each copy"
            )
        with taken_cores_explained():
            functions = find_target(self.manifest["target"]).replicate(self._run, copies)
        return Replicas(functions, self.specs, copies=copies, processor=self.processor)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the artifact, whole or not at all.

        The file is a TorchScript archive that plain `torch.jit.load` opens too; for TorchNeuron it is a directory with
        the compile cache. An existing one is replaced at once, at the end.

        Raises:
            ArtifactError: If the target makes nothing that can be saved, or the file cannot be written.
        """
        path = Path(path)
        target = find_target(self.manifest["target"])
        if target.saves_directory:
            save_directory(path, self.manifest, lambda directory: target.save_directory(self._function, directory))
            return path
        if not isinstance(self._function, torch.jit.ScriptModule):
            raise ArtifactError(
                f"target {self.manifest['target']!r} only checks; what it makes lives in this process and cannot be "
                "saved. Compile for 'cpu' or a Neuron target to get an artifact"
            )
        extra = {MANIFEST: json.dumps(self.manifest)}
        # Not mkstemp: its files can be read by their owner alone, and an artifact is for servers to read.
        work = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            work.touch(exist_ok=False)
        except OSError as error:
            raise ArtifactError(
                f"{path}: cannot write there ({error}); choose an existing, writable directory"
            ) from error
        try:
            save_script(self._function, work, extra)
            _seal(work)
            os.replace(work, path)
        except (OSError, RuntimeError) as error:
            raise ArtifactError(
                f"{path}: was not written ({error}); free some space or choose another directory"
            ) from error
        finally:
            work.unlink(missing_ok=True)
        return path

    def __repr__(self) -> str:
        inputs = ", ".join(map(str, self.specs))
        return f"CompiledModel({self.manifest['family']} for {self.manifest['target']}, {inputs})"


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
    _check_format(path, manifest)
    return manifest


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
    _check_seal(path)
    with zipfile.ZipFile(path) as archive:
        name = next((n for n in archive.namelist() if n.endswith(f"/extra/{MANIFEST}")), None)
        if name is None:
            raise ArtifactError(f"{path}: has no neuronkit manifest; compile it again with compile_for_inferentia")
        manifest: dict[str, Any] = json.loads(archive.read(name))
    return manifest


def _check_format(path: Path, manifest: Mapping[str, Any]) -> None:
    if manifest["format"] > FORMAT:
        raise ArtifactError(
            f"{path}: is of format {manifest['format']}, this neuronkit reads up to {FORMAT}; update neuronkit, "
            f"or compile again with this one"
        )


def _processor(manifest: Mapping[str, Any]) -> Any:
    if manifest["processor"] is None:
        return None
    from neuronkit.ocr.processors import processor_from_dict

    return processor_from_dict(manifest["processor"])


def _seal(path: Path) -> None:
    """Append the hash as the zip archive's comment, and flush it to the disk."""
    with open(path, "r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(struct.pack("<H", _SEAL_LENGTH))
        file.seek(0)
        digest = _hash(file, os.path.getsize(path))
        file.seek(0, os.SEEK_END)
        file.write(_SEAL + digest.encode())
        file.flush()
        os.fsync(file.fileno())


def _check_seal(path: Path) -> None:
    try:
        with open(path, "rb") as file:
            body = max(0, os.path.getsize(path) - _SEAL_LENGTH)
            digest = _hash(file, body)
            seal = file.read()
    except OSError as error:
        raise ArtifactError(
            f"{path}: cannot be read ({error.strerror}); give the path of a file that save() wrote"
        ) from error
    if seal != _SEAL + digest.encode():
        raise ArtifactError(
            f"{path}: is not a whole artifact of neuronkit: it was cut or changed, or something else wrote it. "
            "Copy it again, or compile again with compile_for_inferentia"
        )


def _hash(file: Any, length: int) -> str:
    """SHA-256 of the next `length` bytes, in hex."""
    digest = hashlib.sha256()
    while length > 0 and (block := file.read(min(length, 1 << 20))):
        digest.update(block)
        length -= len(block)
    return digest.hexdigest()
