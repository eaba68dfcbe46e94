"""The models to be made of what `export_repository` is given."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from neuronkit import checks
from neuronkit.checks import shown
from neuronkit.errors import ArtifactError, OptionError
from neuronkit.interface import DETECTOR, RECOGNIZER
from neuronkit.serving.artifact import ArtifactLike, ServedArtifact
from neuronkit.serving.triton.config import CONFIG, Signature
from neuronkit.serving.triton.kinds import MODEL, find_kind

Artifacts = ArtifactLike | Sequence[ArtifactLike] | Mapping[str, ArtifactLike | tuple[ArtifactLike, ArtifactLike]]

TEMPLATE = Path(__file__).with_name("model.py")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Model:
    """A model to be: its name, what serves it, and its artifacts by their names."""

    name: str
    kind: str
    artifacts: Mapping[str, ServedArtifact]

    @property
    def signature(self) -> Signature:
        """What its clients see."""
        try:
            signature: Signature = resolve_name(self.kind).signature(self.artifacts)
        except ArtifactError as error:
            raise ArtifactError(f"{self.name!r} cannot be served: {error}") from error
        return signature

    @property
    def neuroncores(self) -> int:
        """Cores that an instance needs: the two models of a reader share theirs."""
        return max(artifact.neuroncores for artifact in self.artifacts.values())

    def stage(self, folder: Path, version: int, config: str) -> None:
        """Write it whole, with one version, where no server looks."""
        home = folder / str(version)
        home.mkdir(parents=True)
        for name, artifact in self.artifacts.items():
            artifact.write(home / f"{name}.pt")
        shutil.copyfile(TEMPLATE, home / TEMPLATE.name)
        (folder / CONFIG).write_text(config, encoding="utf-8")


def find_models(artifacts: Any, reader: str | None) -> list[Model]:
    """What `export_repository` is to write; see its arguments.

    Raises:
        ArtifactError: If an artifact is not sound, or cannot be served.
        OptionError: If a name is bad, or what was given is not an artifact.
    """
    if reader is not None:
        _check_name(checks.text("reader", reader))
    named = _named(artifacts)
    found = [_model(name, source) for name, source in named.items()]
    singles = [model.artifacts[MODEL] for model in found if MODEL in model.artifacts]
    pair = [[a for a in singles if a.role == role] for role in (DETECTOR, RECOGNIZER)]
    alone = len(singles) == len(found) and all(len(artifacts) == 1 for artifacts in pair)
    if reader is not None and alone and all(artifact.manifest["processor"] is not None for (artifact,) in pair):
        if reader in named:
            raise OptionError(
                f"got reader={shown(reader)}, which is the name of another model; expected a free one; or give None"
            )
        found.append(_model(reader, tuple(artifact for (artifact,) in pair)))
    for model in found:
        # Whatever cannot be served is found before anything is written.
        _ = model.signature
    return found


def _named(artifacts: Any) -> dict[str, Any]:
    """The sources by the names of the models to be."""
    if isinstance(artifacts, Mapping):
        named = dict(artifacts)
    else:
        several = isinstance(artifacts, Iterable) and not isinstance(artifacts, (str, bytes))
        sources = checks.items("artifacts", artifacts, "artifacts") if several else [artifacts]
        read = [ServedArtifact.of("artifact", source) for source in sources]
        names = [_default_name(artifact) for artifact in read]
        named = dict(zip(names, read))
        if len(named) < len(read):
            raise OptionError(
                f"got several artifacts that would be called the same, {names}; expected a name for each; give a "
                "mapping from names to artifacts"
            )
    if not named:
        raise OptionError("got no artifact; expected at least one; give the path that CompiledModel.save wrote")
    return named


def _default_name(artifact: ServedArtifact) -> str:
    if artifact.role in (DETECTOR, RECOGNIZER):
        return artifact.role
    return str(artifact.manifest["family"]) if artifact.path is None else artifact.path.stem


def _model(name: Any, source: Any) -> Model:
    _check_name(name)
    if isinstance(source, (tuple, list)):
        if len(source) != 2:
            raise OptionError(
                f"{name}: got {len(source)} artifacts; expected one, or a pair (detector, recognizer); give either"
            )
        artifacts = {role: _read(name, given, role) for role, given in zip((DETECTOR, RECOGNIZER), source)}
    else:
        artifacts = {MODEL: _read(name, source)}
    return Model(name, find_kind(artifacts), artifacts)


def _read(name: str, source: Any, role: str | None = None) -> ServedArtifact:
    if isinstance(source, ServedArtifact):
        return source
    return ServedArtifact.of(name if role is None else f"{name}'s {role}", source, role=role)


def _check_name(name: Any) -> None:
    # A folder has this name, and the server files beside it longer ones.
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > 128:
        raise OptionError(
            f"model name {shown(name)}: use at most 128 letters, digits, '_', '-' and '.', beginning with a letter or "
            "digit"
        )
