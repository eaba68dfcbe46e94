"""A model repository that a server may read at any moment: what appears in it is whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from neuronkit.errors import ArtifactError

CONFIG = "config.pbtxt"


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
