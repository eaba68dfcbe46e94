"""Artifacts on their way to Ray's workers: as a path that every node knows, or as bytes that travel along."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

from neuronkit.artifact import CompiledModel, load, read_manifest
from neuronkit.errors import OptionError
from neuronkit.storage.atomic import temporary_directory

ArtifactLike = Union[str, "os.PathLike[str]", bytes, CompiledModel]


@dataclass(frozen=True)
class Artifact:
    """An artifact that a worker can load.

    Attributes:
        manifest: What is known about it; read without the SDK that it needs.
        path: Where it lies on every node; None when `content` travels.
        content: The file itself; None when every node has it.
    """

    manifest: Mapping[str, Any] = field(repr=False)
    path: str | None = None
    content: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, role: str, given: ArtifactLike) -> Artifact:
        """Check an artifact where the application is built.

        Args:
            role: ``"detector"`` or ``"recognizer"``.
            given: The path of a saved artifact, its bytes, or the compiled model itself.

        Raises:
            ArtifactError: If it is missing, cut or changed.
            OptionError: If it is no artifact at all, has no processor, or plays the other role.
        """
        if isinstance(given, CompiledModel):
            given = _saved(role, given)
        if isinstance(given, bytes):
            with _as_file(given) as path:
                artifact = cls(read_manifest(path), content=given)
        elif isinstance(given, (str, os.PathLike)):
            # A worker starts in another directory.
            path = Path(given).absolute()
            artifact = cls(read_manifest(path), path=str(path))
        else:
            raise OptionError(
                f"{role} is a {type(given).__name__}; give the path of an artifact, its bytes, or a CompiledModel"
            )
        _check_role(role, artifact.manifest)
        return artifact

    @property
    def batch_size(self) -> int:
        """Rows of a call."""
        return int(self.manifest["inputs"][0]["shape"][0])

    @property
    def neuron_cores(self) -> int:
        """NeuronCores that it needs; 0 on the CPU."""
        return 0 if self.manifest["target"] == "cpu" else int(self.manifest["options"]["neuroncores"] or 1)

    @property
    def identity(self) -> str:
        """What makes two artifacts read the same: weights, shapes, target and processor."""
        keys = ("weight_hash", "inputs", "target", "processor")
        return repr([self.manifest[key] for key in keys])

    def load(self) -> CompiledModel:
        """Load it in a worker; `neuronkit.load` checks every byte."""
        if self.content is None:
            return load(str(self.path))
        with _as_file(self.content) as path:
            return load(path)


def _check_role(role: str, manifest: Mapping[str, Any]) -> None:
    processor = manifest["processor"]
    if processor is None:
        raise OptionError(f"the {role} was compiled without a processor; give processor=... to compile_for_inferentia")
    if (processor["kind"] == "craft") != (role == "detector"):
        raise OptionError(
            f"the {role} is an artifact with a {processor['kind']!r} processor; "
            "detector and recognizer seem to be exchanged"
        )


def _saved(role: str, model: CompiledModel) -> bytes:
    with temporary_directory("ray") as folder:
        path = model.save(folder / "artifact.pt")
        if path.is_dir():
            raise OptionError(
                f"the {role} is for {model.manifest['target']!r}, whose artifacts are directories; save it where every "
                "node can read it, and give the path"
            )
        return path.read_bytes()


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[Path]:
    with temporary_directory("ray") as folder:
        path = folder / "artifact.pt"
        path.write_bytes(content)
        yield path
