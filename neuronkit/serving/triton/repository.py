"""export_repository: artifacts in, a model repository out, which a server may read at any moment."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from neuronkit import checks
from neuronkit.errors import ArtifactError, OptionError
from neuronkit.serving.triton.config import CONFIG, MARK, Queue, config_text, cpu_instances, neuron_instances
from neuronkit.serving.triton.models import Artifacts, Model, find_models
from neuronkit.serving.triton.placement import cores_in_config


def export_repository(
    artifacts: Artifacts,
    directory: str | os.PathLike[str],
    *,
    reader: str | None = "reader",
    instances: int | Mapping[str, int] = 1,
    max_queue_delay_us: int = 2_000,
    max_queue_size: int | None = None,
    queue_timeout_s: float = 30.0,
    max_pixels: int = 40_000_000,
) -> dict[str, Path]:
    """Write a model repository for Triton's Python backend, or add new versions to one.

    Everything in it comes from the artifacts' manifests; neither Triton nor a Neuron SDK is needed here. A server may
    read the repository at the same time: a model's new version appears whole and takes over in one step. If an export
    is interrupted, each model is wholly the old or wholly the new one. Older versions stay, unserved.

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
        max_queue_size: Requests that may wait for each instance; it refuses more, with status 503. Requests that a
            client over gRPC cancels leave the queue. Those whose client over HTTP has gone are computed all the same,
            since the server does not detect it: the queue bounds how long they hold up others. None takes four batches,
            but at least 10.
        queue_timeout_s: How long a request may wait before it is refused; a request may ask for less.
        max_pixels: Images of more pixels are refused before they are decoded.

    Returns:
        For each model the directory of its new version.

    Raises:
        ArtifactError: If an artifact is not sound, was made for a target that cannot be saved, or the repository
            cannot be written.
        OptionError: If a name or a number is bad, or a model of that name exists that something else wrote.

    Examples:
        ```python
        export_repository({"detector": "detector.pt", "recognizer": "recognizer.pt"}, "models")
        ```
    """
    queue = Queue(max_queue_delay_us, max_queue_size, queue_timeout_s)
    max_pixels = checks.integer("max_pixels", max_pixels, 1, 1 << 40)
    models = find_models(artifacts, reader)
    counts = _counts(instances, models)
    directory = checks.path("directory", directory)
    with locked(directory) as staging:
        versions = {model.name: directory / model.name / str(next_version(directory / model.name)) for model in models}
        taken = _cores_of_others(directory, versions)
        for model in models:
            _check_ours(directory / model.name)
            count = counts[model.name]
            entries = neuron_instances(count, model.neuroncores, taken) if model.neuroncores else cpu_instances(count)
            signature, version = model.signature, int(versions[model.name].name)
            parameters = {"kind": model.kind, "max_pixels": max_pixels, **queue.parameters(signature.batch_size)}
            text = config_text(model.name, version, signature, entries, parameters)
            model.stage(staging / model.name, version, text)
        for model in models:
            publish(staging / model.name, directory / model.name, int(versions[model.name].name))
    return versions


def _counts(instances: int | Mapping[str, int], models: Sequence[Model]) -> dict[str, int]:
    names = [model.name for model in models]
    given = instances if isinstance(instances, Mapping) else dict.fromkeys(names, instances)
    unknown = [name for name in given if name not in names]
    if unknown:
        raise OptionError(f"instances has {unknown}, which are no models; they are {names}")
    return {name: checks.integer(f"instances[{name!r}]", given.get(name, 1), 1, 1 << 10) for name in names}


def _cores_of_others(directory: Path, names: Collection[str]) -> set[int]:
    """The NeuronCores of the repository's models, but for those that are exported now and choose anew."""
    configs = [path for path in directory.glob(f"*/{CONFIG}") if path.is_file() and path.parent.name not in names]
    return set().union(*(cores_in_config(_read(path)) for path in configs))


def _check_ours(model: Path) -> None:
    config = model / CONFIG
    if model.exists() and not (config.is_file() and _read(config).startswith(MARK)):
        raise OptionError(
            f"{model} exists, and neuronkit did not write it; choose another name for the model, or another repository"
        )


def _read(config: Path) -> str:
    """A configuration, which others may have written, in whatever encoding."""
    return config.read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[Path]:
    """Hold a repository for one export, making it if need be; other exports wait.

    Yields:
        An empty directory on the same file system, to write into. It lies beside the repository: whatever directory
        lies in it is a model to Triton. What an export that was killed left there is removed.

    Raises:
        ArtifactError: If the repository cannot be written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise ArtifactError(f"{directory}: cannot be a repository ({error}); choose a writable directory") from error
    # Of "." the parent would be the repository itself.
    directory = directory.resolve()
    staging = directory.parent / f".{directory.name}.staging-{uuid.uuid4().hex}"
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _check_same_file_system(directory)
        for left in directory.parent.iterdir():
            if left.name[:-32] == staging.name[:-32]:
                shutil.rmtree(left)
        staging.mkdir()
        yield staging
    except OSError as error:
        raise ArtifactError(
            f"{directory}: was not updated ({error}); free some space or choose another directory"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        os.close(handle)


def _check_same_file_system(directory: Path) -> None:
    if directory.stat().st_dev != directory.parent.stat().st_dev:
        raise ArtifactError(
            f"{directory}: is a mounted volume itself, so that nothing can be moved into it from beside it in one "
            f"step; give a directory in it, such as {directory / 'models'}"
        )


def next_version(model: Path) -> int:
    """The number of the version after those that exist, whether they are served or not."""
    numbers = [int(path.name) for path in model.glob("[0-9]*") if path.name.isdecimal()] if model.exists() else []
    return max(numbers, default=0) + 1


def publish(staged: Path, model: Path, version: int) -> None:
    """Move a staged model, its configuration and one version, into the repository.

    A new model appears in one step. A new version of an existing one is moved in first, where nothing serves it yet;
    replacing the configuration, which names it, is the step that counts.
    """
    _sync_tree(staged)
    if model.exists():
        os.rename(staged / str(version), model / str(version))
        _sync(model)
        os.replace(staged / CONFIG, model / CONFIG)
        _sync(model)
    else:
        os.rename(staged, model)
    _sync(model.parent)


def _sync_tree(root: Path) -> None:
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            _sync(Path(folder, name))
        _sync(Path(folder))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
