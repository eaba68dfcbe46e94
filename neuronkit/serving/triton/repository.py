"""export_repository: artifacts in, a model repository for Triton out."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuronkit.artifact import CompiledModel, read_manifest
from neuronkit.errors import ArtifactError, OptionError
from neuronkit.serving.triton.config import (
    MARK,
    Queue,
    config_text,
    cores_in,
    cpu_instances,
    neuron_instances,
)
from neuronkit.serving.triton.files import CONFIG, locked, next_version, publish
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


def export_repository(
    artifacts: Artifacts,
    directory: str | os.PathLike[str],
    *,
    reader: str | None = "reader",
    instances: int | Mapping[str, int] = 1,
    max_queue_delay_us: int = 2_000,
    max_queue_size: int = 1_024,
    queue_timeout_s: float = 30.0,
    max_pixels: int = 40_000_000,
) -> dict[str, Path]:
    """Write a model repository for Triton's Python backend, or add new versions to one.

    Everything in it comes from the artifacts' manifests; neither Triton nor a Neuron SDK is needed here. A server may
    read the repository meanwhile: a model's new version appears whole and takes over in one step, and an export that
    fails or is killed changes nothing. Older versions stay, unserved.

    Args:
        artifacts: By the names of the models to be: paths of artifacts or `CompiledModel`s. A pair (detector,
            recogniser) makes a reader of whole pages. Of a list, or a single artifact, detectors are called
            "detector", recognisers "recognizer", and others after their file.
        directory: The repository; made if it is not there. It must not be the root of a mounted volume.
        reader: Name of the reader that is added where `artifacts` hold no pair, but exactly one detector and one
            recogniser, each with its processor; None adds none.
        instances: Processes that serve a model: a number for each, or numbers by name. Those of a Neuron artifact get
            NeuronCores of their own, the lowest that no other model of the repository has.
        max_queue_delay_us: How long the first request of a batch waits for others, in microseconds.
        max_queue_size: Requests that may wait for a model; the server refuses more.
        queue_timeout_s: How long a request may wait before it is refused; a request may ask for less.
        max_pixels: Images of more pixels are refused before they are decoded.

    Returns:
        For each model the directory of its new version.

    Raises:
        ArtifactError: If an artifact is not sound, was made for a target that cannot be saved, or the repository
            cannot be written.
        OptionError: If a name or a number is bad, or a model of that name exists that something else wrote.
    """
    queue = Queue(max_queue_delay_us, max_queue_size, queue_timeout_s)
    if max_pixels < 1:
        raise OptionError(f"max_pixels={max_pixels}: give at least 1 pixel")
    models = _models(artifacts, reader)
    counts = _counts(instances, models)
    directory = Path(directory)
    with locked(directory) as staging:
        taken = {name: cores_in(path) for path in directory.glob(f"*/{CONFIG}") for name in (path.parent.name,)}
        versions: dict[str, Path] = {}
        for model in models:
            target = directory / model.name
            _check_ours(target)
            version = next_version(target)
            taken.pop(model.name, None)
            entries = cpu_instances(counts[model.name])
            if model.neuroncores:
                others = set().union(*taken.values())
                before = set(others)
                entries = neuron_instances(counts[model.name], model.neuroncores, others)
                taken[model.name] = others - before
            text = config_text(model.name, version, model.signature, queue, entries, max_pixels)
            model.stage(staging / model.name, version, text)
            versions[model.name] = target / str(version)
        for model in models:
            publish(staging / model.name, directory / model.name, int(versions[model.name].name))
    return versions


@dataclass(frozen=True)
class _Artifact:
    """An artifact to be served: its source, and its manifest."""

    source: Source
    manifest: Mapping[str, Any]

    @classmethod
    def read(cls, source: Any) -> _Artifact:
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
        return kind_of(self.manifest)

    @property
    def default_name(self) -> str:
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
        if isinstance(self.source, CompiledModel):
            self.source.save(path)
        elif Path(self.source).is_dir():
            shutil.copytree(self.source, path)
        else:
            shutil.copyfile(self.source, path)


@dataclass(frozen=True)
class _Model:
    """A model to be: its name, its signature, and its files by their names in a version."""

    name: str
    signature: Signature
    files: Mapping[str, _Artifact]

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


def _models(artifacts: Any, reader: str | None) -> list[_Model]:
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
        sources = [artifacts] if isinstance(artifacts, (CompiledModel, str, os.PathLike)) else list(artifacts)
        read = [_Artifact.read(source) for source in sources]
        named = {artifact.default_name: artifact for artifact in read}
        if len(named) < len(read):
            raise OptionError(
                f"several artifacts would be called the same, {[artifact.default_name for artifact in read]}; "
                "give a mapping from names to artifacts"
            )
    if not named:
        raise OptionError("there is no artifact; give at least one")
    return named


def _model(name: Any, source: Any) -> _Model:
    if isinstance(source, (tuple, list)):
        if len(source) != 2:
            raise OptionError(f"{name!r} has {len(source)} artifacts; give one, or a pair (detector, recogniser)")
        return _reader(name, *map(_Artifact.read, source))
    artifact = source if isinstance(source, _Artifact) else _Artifact.read(source)
    _check_name(name)
    try:
        return _Model(name, signature_of(artifact.manifest), {"model.pt": artifact})
    except ArtifactError as error:
        raise ArtifactError(f"{name!r} cannot be served: {error}") from error


def _reader(name: Any, detector: _Artifact, recognizer: _Artifact) -> _Model:
    _check_name(name)
    for artifact, kind in ((detector, DETECTOR), (recognizer, RECOGNIZER)):
        if artifact.kind != kind or artifact.manifest["processor"] is None:
            raise OptionError(
                f"{name!r} is to read pages, and its {kind} is a {artifact.manifest['family']!r} "
                f"{'without a processor' if artifact.kind == kind else f'({artifact.kind})'}; give the pair (detector, "
                "recogniser), each compiled with its processor"
            )
    return _Model(name, reader_signature(detector.manifest), {"detector.pt": detector, "recognizer.pt": recognizer})


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise OptionError(
            f"model name {name!r}: use letters, digits, '_', '-' and '.', beginning with a letter or digit"
        )


def _counts(instances: int | Mapping[str, int], models: Sequence[_Model]) -> dict[str, int]:
    names = [model.name for model in models]
    given = instances if isinstance(instances, Mapping) else dict.fromkeys(names, instances)
    for name, count in given.items():
        if name not in names:
            raise OptionError(f"instances has {name!r}, which is no model; they are {names}")
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise OptionError(f"instances: {name!r} has {count!r}; give a number of processes, at least 1")
    return {name: given.get(name, 1) for name in names}


def _check_ours(model: Path) -> None:
    config = model / CONFIG
    if model.exists() and not (config.exists() and config.read_text(encoding="utf-8").startswith(MARK)):
        raise OptionError(
            f"{model} exists, and neuronkit did not write it; choose another name for the model, or another repository"
        )
