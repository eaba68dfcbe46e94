"""What is given to export_repository, found out: artifacts, and the models to be made of them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuronkit.artifact import CompiledModel, read_manifest
from neuronkit.errors import ArtifactError, OptionError
from neuronkit.serving.triton.files import CONFIG
from neuronkit.serving.triton.signature import (
    DETECTOR,
    RECOGNIZER,
    Signature,
    kind_of,
    reader_signature,
    signature_of,
)
from neuronkit.targets import find_target

Source = CompiledModel | str | os.PathLike[str]
Artifacts = Source | Sequence[Source] | Mapping[str, Source | tuple[Source, Source]]

TEMPLATE = Path(__file__).with_name("model.py")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Artifact:
    """An artifact to be served: its source, and its manifest."""

    source: Source
    manifest: Mapping[str, Any]

    @classmethod
    def read(cls, source: Any) -> Artifact:
        """Find out what was given, without loading it."""
        if isinstance(source, CompiledModel):
            found = cls(source, source.manifest)
        elif isinstance(source, (str, os.PathLike)):
            found = cls(source, read_manifest(source))
        else:
            raise OptionError(
                f"an artifact is a {type(source).__name__}; give the path that CompiledModel.save wrote, or the "
                "CompiledModel"
            )
        target = found.manifest["target"]
        if not find_target(target).saves:
            raise ArtifactError(
                f"{found.manifest['family']!r} was compiled for {target!r}, which only checks and makes nothing that "
                "can be served; compile it for 'cpu' or a Neuron target"
            )
        return found

    @property
    def kind(self) -> str:
        """See `kind_of`."""
        return kind_of(self.manifest)

    @property
    def default_name(self) -> str:
        """What the model is called where nobody says."""
        if self.kind in (DETECTOR, RECOGNIZER):
            return self.kind
        return self.manifest["family"] if isinstance(self.source, CompiledModel) else Path(self.source).stem

    @property
    def neuroncores(self) -> int:
        """Cores that a process needs; 0 on the CPU."""
        if not find_target(self.manifest["target"]).is_neuron:
            return 0
        return self.manifest["options"]["neuroncores"] or 1

    def write(self, path: Path) -> None:
        """Put the artifact there."""
        if isinstance(self.source, CompiledModel):
            self.source.save(path)
        elif Path(self.source).is_dir():
            shutil.copytree(self.source, path)
        else:
            shutil.copyfile(self.source, path)


@dataclass(frozen=True)
class Model:
    """A model to be: its name, its signature, and its files by their names in a version."""

    name: str
    signature: Signature
    files: Mapping[str, Artifact]

    @property
    def neuroncores(self) -> int:
        """Cores that an instance needs: the two models of a reader share theirs."""
        return max(artifact.neuroncores for artifact in self.files.values())

    def stage(self, folder: Path, version: int, config: str) -> None:
        """Write it whole, with one version, where no server looks."""
        home = folder / str(version)
        home.mkdir(parents=True)
        for name, artifact in self.files.items():
            artifact.write(home / name)
        shutil.copyfile(TEMPLATE, home / TEMPLATE.name)
        (folder / CONFIG).write_text(config, encoding="utf-8")


def find_models(artifacts: Any, reader: str | None) -> list[Model]:
    """What `export_repository` is to write; see its arguments.

    Raises:
        ArtifactError: If an artifact is not sound, or cannot be served.
        OptionError: If a name is bad, or what was given is no artifact.
    """
    named = _named(artifacts)
    found = [_model(name, source) for name, source in named.items()]
    singles = {name: next(iter(model.files.values())) for (name, model) in zip(named, found) if len(model.files) == 1}
    detectors, recognizers = ([a for a in singles.values() if a.kind == kind] for kind in (DETECTOR, RECOGNIZER))
    complete = all(artifact.manifest["processor"] is not None for artifact in (*detectors, *recognizers))
    alone = len(singles) == len(found) and len(detectors) == len(recognizers) == 1
    if reader is not None and alone and complete:
        if reader in named:
            raise OptionError(f"reader={reader!r} is the name of another model; choose one that is free, or None")
        found.append(_reader(reader, detectors[0], recognizers[0]))
    return found


def _named(artifacts: Any) -> dict[str, Any]:
    """The sources by the names of the models to be."""
    if isinstance(artifacts, Mapping):
        named = dict(artifacts)
    else:
        several = isinstance(artifacts, Iterable) and not isinstance(artifacts, (str, bytes))
        sources = list(artifacts) if several else [artifacts]
        read = [Artifact.read(source) for source in sources]
        named = {artifact.default_name: artifact for artifact in read}
        if len(named) < len(read):
            raise OptionError(
                f"several artifacts would be called the same, {[artifact.default_name for artifact in read]}; "
                "give a mapping from names to artifacts"
            )
    if not named:
        raise OptionError("there is no artifact; give at least one")
    return named


def _model(name: Any, source: Any) -> Model:
    if isinstance(source, (tuple, list)):
        if len(source) != 2:
            raise OptionError(f"{name!r} has {len(source)} artifacts; give one, or a pair (detector, recogniser)")
        return _reader(name, *map(Artifact.read, source))
    artifact = source if isinstance(source, Artifact) else Artifact.read(source)
    _check_name(name)
    try:
        return Model(name, signature_of(artifact.manifest), {"model.pt": artifact})
    except ArtifactError as error:
        raise ArtifactError(f"{name!r} cannot be served: {error}") from error


def _reader(name: Any, detector: Artifact, recognizer: Artifact) -> Model:
    _check_name(name)
    for artifact, kind in ((detector, DETECTOR), (recognizer, RECOGNIZER)):
        if artifact.kind != kind or artifact.manifest["processor"] is None:
            raise OptionError(
                f"{name!r} is to read pages, and its {kind} is a {artifact.manifest['family']!r} "
                f"{'without a processor' if artifact.kind == kind else f'({artifact.kind})'}; give the pair (detector, "
                "recogniser), each compiled with its processor"
            )
    return Model(name, reader_signature(detector.manifest), {"detector.pt": detector, "recognizer.pt": recognizer})


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise OptionError(
            f"model name {name!r}: use letters, digits, '_', '-' and '.', beginning with a letter or digit"
        )
