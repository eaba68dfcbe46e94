"""The worker of `read_dataset`: reads a shard of images, writes one part of results."""

from __future__ import annotations

from typing import Any

import ray

from neuronkit.ocr.page import Page
from neuronkit.serving.ray.artifacts import Artifact
from neuronkit.serving.ray.inputs import CONTENTS
from neuronkit.serving.ray.pages import FAILURES_OF_A_BROKEN_MODEL, BatchReader
from neuronkit.serving.ray.results import ResultStore


class ShardReader:
    """Reads shards, one after the other, in a process of its own."""

    def __init__(self, shared: Any, store: ResultStore, max_pixels: int) -> None:
        models: tuple[Artifact, Artifact]
        models, self._done = ray.get(shared)
        self._batch_size = max(model.batch_size for model in models)
        self._reader = BatchReader(*(model.load() for model in models), max_pixels=max_pixels)
        self._store = store
        self._failures = 0

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Read a shard.

        Args:
            batch: Column → values: ``path`` and, where that is only a name, ``bytes`` or ``image``.

        Returns:
            One row: name of the part ("" when nothing was left to read), images read, failed, and read before.
        """
        names = [str(name) for name in batch["path"]]
        contents = batch[next((column for column in CONTENTS if column in batch), "path")]
        left = [(n, c) for n, c in zip(names, contents, strict=True) if n not in self._done]
        chunks = [left[i : i + self._batch_size] for i in range(0, len(left), self._batch_size)]
        pages = [page for chunk in chunks for page in self._read(chunk)]
        part = self._store.write_part(zip((name for name, _ in left), pages)) if left else ""
        failed = sum(page["error"] is not None for page in pages)
        return {"part": [part], "read": [len(left)], "failed": [failed], "skipped": [len(names) - len(left)]}

    def _read(self, images: list[tuple[str, Any]]) -> list[dict[str, Any]]:
        try:
            pages = self._reader.read_batch([content for _, content in images]).pages
        except Exception as error:
            if len(images) > 1:
                return [page for image in images for page in self._read([image])]
            self._failures += 1
            if self._failures >= FAILURES_OF_A_BROKEN_MODEL:
                raise
            empty = Page((0, 0), ())
            return [{**empty.to_dict(), "error": f"the models failed on this image: {type(error).__name__}: {error}"}]
        self._failures = 0
        return [page.to_dict() for page in pages]
