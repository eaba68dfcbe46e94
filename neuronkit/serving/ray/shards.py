"""The worker of `read_dataset`: reads a shard of images, writes one part of results."""

from __future__ import annotations

import os
from typing import Any

from neuronkit.errors import ModelError
from neuronkit.ocr.page import Page
from neuronkit.ocr.pipeline import OCRPipeline
from neuronkit.serving.artifact import ServedArtifact
from neuronkit.serving.ray.inputs import CONTENTS
from neuronkit.serving.ray.journal import Journal
from neuronkit.serving.ray.options import FAILURES_OF_A_BROKEN_MODEL
from neuronkit.serving.ray.results import ResultStore

Image = tuple[str, Any]


class ShardReader:
    """Reads shards, one after the other, in a process of its own.

    Args:
        detector: Its artifact.
        recognizer: Its artifact.
        store: Where parts go.
        done: Names of images that have a result already.
        attempts: Workers that may die with an image before it is given up.
        max_pixels: Largest image that is decoded, in pixels.
    """

    def __init__(
        self,
        detector: ServedArtifact,
        recognizer: ServedArtifact,
        store: ResultStore,
        *,
        done: set[str],
        attempts: int,
        max_pixels: int,
    ) -> None:
        self._batch_size = max(detector.batch_size, recognizer.batch_size)
        self._reader = OCRPipeline(detector.load(), recognizer.load(), max_pixels=max_pixels)
        self._store, self._done, self._attempts = store, done, attempts
        self._failures = 0

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Read a shard.

        Args:
            batch: Column → values: ``path`` and, where that is only a name, ``bytes`` or ``image``.

        Returns:
            One row: name of the part ("" when nothing was left to read), images read, failed, and read before.
        """
        names = [os.fsdecode(name) if isinstance(name, bytes) else str(name) for name in batch["path"]]
        column = next((column for column in CONTENTS if column in batch), None)
        contents = names if column is None else batch[column]
        left = [(n, c) for n, c in zip(names, contents, strict=True) if n not in self._done]
        if not left:
            return {"part": [""], "read": [0], "failed": [0], "skipped": [len(names)]}
        journal = Journal(self._store.parts, names)
        chunks = [left[i : i + self._batch_size] for i in range(0, len(left), self._batch_size)]
        pages = [page for chunk in chunks for page in self._read_surviving(chunk, journal)]
        part = self._store.write_part(zip((name for name, _ in left), pages))
        journal.close()
        failed = sum(page["error"] is not None for page in pages)
        return {"part": [part], "read": [len(left)], "failed": [failed], "skipped": [len(names) - len(left)]}

    def _read_surviving(self, images: list[Image], journal: Journal) -> list[dict[str, Any]]:
        """Read images; those with which workers died are read alone, and given up in the end."""
        deaths = [journal.deaths(name) for name, _ in images]
        if any(deaths) and len(images) > 1:
            return [page for image in images for page in self._read_surviving([image], journal)]
        if max(deaths) >= self._attempts:
            return [_failed(f"{self._attempts} workers died with this image")]
        journal.begin([name for name, _ in images])
        return self._read(images)

    def _read(self, images: list[Image]) -> list[dict[str, Any]]:
        pages = self._reader.read_batch([content for _, content in images]).pages
        for page in pages:
            self._failures = self._failures + 1 if isinstance(page.error, ModelError) else 0
            if self._failures >= FAILURES_OF_A_BROKEN_MODEL:
                raise page.error  # type: ignore[misc]
        return [page.to_dict() for page in pages]


def _failed(message: str) -> dict[str, Any]:
    return {**Page((0, 0), ()).to_dict(), "error": message}
