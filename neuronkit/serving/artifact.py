"""An artifact as a server needs it, from its manifest: graphs and SDK are not loaded."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

from neuronkit.artifact import CompiledModel, load, read_manifest
from neuronkit.checks import shown
from neuronkit.errors import ArtifactError, OptionError
from neuronkit.interface import DETECTOR, OTHER, RECOGNIZER, Interface
from neuronkit.specs import TensorSpec
from neuronkit.static.shapes.fixed import VALID_WIDTH
from neuronkit.storage.atomic import temporary_directory
from neuronkit.targets import find_target

ArtifactLike = Union[str, "os.PathLike[str]", bytes, CompiledModel]


@dataclass(frozen=True)
class ServedArtifact:
    """An artifact that a server can load.

    Attributes:
        manifest: What is known about it.
        path: Where it lies; None when `content` or `model` holds it.
        content: The file itself.
        model: The compiled model itself.
    """

    manifest: Mapping[str, Any] = field(repr=False)
    path: Path | None = None
    content: bytes | None = field(default=None, repr=False)
    model: CompiledModel | None = field(default=None, repr=False)

    @classmethod
    def of(cls, name: str, given: Any, *, role: str | None = None) -> ServedArtifact:
        """Read a manifest.

        Args:
            name: What to call it in messages.
            given: The path of a saved artifact, its bytes, or the compiled model itself.
            role: What it must be, with its processor; None takes any.

        Raises:
            ArtifactError: If it is missing, cut or changed, or was made for a target that saves nothing.
            OptionError: If it is not an artifact at all, or has another role, or no processor where `role` is given.
        """
        if isinstance(given, CompiledModel):
            artifact = cls(given.manifest, model=given)
        elif isinstance(given, bytes):
            with _as_file(given) as path:
                artifact = cls(read_manifest(path), content=given)
        elif isinstance(given, (str, os.PathLike)):
            # A server's process may start in another directory.
            artifact = cls(read_manifest(given), path=Path(given).absolute())
        else:
            raise OptionError(
                f"{name}: got {shown(given)}; expected an artifact; give the path that CompiledModel.save wrote, its "
                "bytes, or the CompiledModel"
            )
        target = artifact.manifest["target"]
        if not find_target(target).saves:
            raise ArtifactError(
                f"{name}: got an artifact for {target!r}, which only checks and makes nothing that can be served; "
                "expected another target; compile it for 'cpu' or a Neuron target"
            )
        if role is not None:
            artifact._check_role(name, role)
        return artifact

    @property
    def interface(self) -> Interface:
        """What it is for, and what its outputs mean."""
        return Interface.from_manifest(self.manifest)

    @property
    def role(self) -> str:
        """How it can be served: "detector"; "recognizer", of images with a processor; or "other"."""
        role = self.interface.role
        reads = self.manifest["processor"] is not None and all(spec.name == VALID_WIDTH for spec in self.specs[1:])
        return role if role == DETECTOR or (role == RECOGNIZER and reads) else OTHER

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """Its inputs."""
        return tuple(TensorSpec.from_dict(spec) for spec in self.manifest["inputs"])

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        """Its outputs."""
        return tuple(TensorSpec.from_dict(spec) for spec in self.manifest["outputs"])

    @property
    def batch_size(self) -> int:
        """Rows of a call."""
        return int(self.manifest["inputs"][0]["shape"][0])

    @property
    def neuroncores(self) -> int:
        """NeuronCores that a process needs; 0 on the CPU."""
        neuron = find_target(self.manifest["target"]).is_neuron
        return int(self.manifest["options"]["neuroncores"] or 1) if neuron else 0

    @property
    def identity(self) -> str:
        """What makes two artifacts read the same: weights, shapes, target and processor."""
        keys = ("weight_hash", "inputs", "target", "processor")
        return repr([self.manifest[key] for key in keys])

    def load(self) -> CompiledModel:
        """Load it; `neuronkit.load` checks every byte."""
        if self.model is not None:
            return self.model
        if self.content is None:
            return load(str(self.path))
        with _as_file(self.content) as path:
            return load(path)

    def write(self, path: Path) -> None:
        """Put a copy there."""
        if self.model is not None:
            self.model.save(path)
        elif self.content is not None:
            path.write_bytes(self.content)
        elif self.path is not None and self.path.is_dir():
            shutil.copytree(self.path, path)
        else:
            shutil.copyfile(str(self.path), path)

    def portable(self, name: str) -> ServedArtifact:
        """The same as something that can be sent to other processes: a path, or bytes.

        Raises:
            OptionError: If it is in memory alone, and its target saves directories.
        """
        if self.model is None:
            return self
        with temporary_directory("served") as folder:
            path = self.model.save(folder / "artifact.pt")
            if path.is_dir():
                raise OptionError(
                    f"{name}: got a CompiledModel for {self.manifest['target']!r}, whose artifacts are directories; "
                    "expected a path; save it where every node can read it, and give that"
                )
            return ServedArtifact(self.manifest, content=path.read_bytes())

    def _check_role(self, name: str, role: str) -> None:
        if self.interface.role != role:
            raise OptionError(
                f"{name}: got an artifact of role {self.interface.role} ({self.manifest['family']}); expected {role}; "
                "give the pair (detector, recognizer), which may be exchanged here"
            )
        if self.manifest["processor"] is None:
            raise OptionError(
                f"{name}: got a {role} without a processor; expected one with it; give processor=... to "
                "compile_for_inferentia"
            )


def portable_pair(detector: ArtifactLike, recognizer: ArtifactLike) -> tuple[ServedArtifact, ServedArtifact]:
    """A detector and a recogniser that can be sent to the processes which read with them.

    Raises:
        ArtifactError: If one is missing, cut or changed.
        OptionError: If one is not an artifact, has another role or no processor, or cannot be sent.
    """
    given = {DETECTOR: detector, RECOGNIZER: recognizer}
    first, second = (ServedArtifact.of(role, each, role=role).portable(role) for role, each in given.items())
    return first, second


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[Path]:
    with temporary_directory("served") as folder:
        path = folder / "artifact.pt"
        path.write_bytes(content)
        yield path
