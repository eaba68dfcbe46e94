"""The images of `read_dataset` as a Ray data set of names and images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from neuronkit.errors import ImageError, OptionError
from neuronkit.ocr.images import image_endings

CONTENTS = ("bytes", "image")


def list_paths(images: Any) -> list[str]:
    """Absolute paths, each once: those of a folder's images, in order; or those given.

    Raises:
        ImageError: If a single path is not a folder.
        OptionError: If something given is not a path.
    """
    if isinstance(images, (str, os.PathLike)):
        return sorted(_walk(Path(images).absolute()))
    if isinstance(images, bytes) or not isinstance(images, Iterable):
        raise OptionError(f"images are a {type(images).__name__}; give a folder, a list of paths, or a Ray Dataset")
    return list(dict.fromkeys(map(_absolute, images)))


def _walk(root: Path) -> Iterator[str]:
    if not root.is_dir():
        raise ImageError(f"{str(root)!r} is not a folder; give the one that holds the images, or a list of paths")
    endings = image_endings()
    for folder, _, files in os.walk(root):
        yield from (os.path.join(folder, file) for file in files if os.path.splitext(file)[1].lower() in endings)


def _absolute(path: Any) -> str:
    if not isinstance(path, (str, os.PathLike)):
        raise OptionError(f"images hold a {type(path).__name__}; give paths, or a Ray Dataset")
    text = os.fspath(path)
    if not isinstance(text, str) or "://" in text:
        raise OptionError(
            f"{text!r} is no path of a file; give ray.data.read_binary_files(..., include_paths=True) instead"
        )
    # Workers start in other directories.
    return os.path.abspath(text)


def dataset_of_paths(paths: list[str], rows: int) -> Any:
    """A data set with the column ``path``, encoded as the system does, cut into blocks of that many rows."""
    import pyarrow  # type: ignore[import-not-found, unused-ignore]
    import ray.data

    # As bytes, since a file's name need not be text.
    table = pyarrow.table({"path": pyarrow.array(map(os.fsencode, paths), pyarrow.binary())})
    # Not from_arrow, which starts a task for each block to find out its size.
    return ray.data.from_blocks([table.slice(i, rows).combine_chunks() for i in range(0, len(paths), rows)])


def check_columns(dataset: Any) -> bool:
    """Make sure that a data set names its images.

    Returns:
        Whether it has any rows, without which it has no columns.

    Raises:
        OptionError: If it has no column ``path``.
    """
    columns = dataset.columns()
    if columns is None:
        return False
    if "path" not in columns:
        raise OptionError(
            f"the dataset has the columns {columns}; it needs 'path', a name for each image, and 'bytes' or 'image' "
            "where that is not the path of a file. ray.data.read_binary_files(..., include_paths=True) gives both"
        )
    return True
