"""The deployment that holds the models, one pair of them in each replica."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from neuronkit.errors import ModelError
from neuronkit.ocr.page import Page
from neuronkit.ocr.pipeline import OCRPipeline
from neuronkit.ocr.writers import page_text
from neuronkit.serving.artifact import ServedArtifact
from neuronkit.serving.ray.answers import error_json
from neuronkit.serving.ray.batching import Batcher
from neuronkit.serving.ray.metrics import ReaderMetrics
from neuronkit.serving.ray.options import FAILURES_OF_A_BROKEN_MODEL, AppOptions


class Reader:
    """Reads pages, those of several requests together.

    On Neuron, Ray has set NEURON_RT_VISIBLE_CORES to the replica's own cores before this is constructed, and the SDK is
    imported no earlier than in `ServedArtifact.load`.
    """

    def __init__(self, detector: ServedArtifact, recognizer: ServedArtifact, options: AppOptions) -> None:
        self._options = options
        self._reader = OCRPipeline(detector.load(), recognizer.load(), max_pixels=options.max_pixels)
        self._reader.warm_up()
        self._metrics = ReaderMetrics()
        self._failures = 0
        self._batcher = Batcher(
            self._read,
            size=options.batch_size,
            wait_s=options.batch_wait_s,
            observe=lambda waited: self._metrics.batch(waited, options.batch_size),
        )

    async def __call__(self, image: bytes, form: str = "json") -> tuple[int, str]:
        """Read an image file; gives an HTTP status, and the page in one of its forms, or this image's error as JSON."""
        start = time.monotonic()
        self._metrics.queue(self._batcher.waiting + 1)
        try:
            answer: tuple[int, str] = await self._batcher((image, form))
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._failures += 1
            known = isinstance(error, ModelError)
            return 500, error_json(str(error) if known else f"the server failed: {type(error).__name__}: {error}")
        finally:
            self._metrics.queue(self._batcher.waiting)
            self._metrics.request(time.monotonic() - start)
        self._failures = 0
        return answer

    def check_health(self) -> None:
        """Raise, which makes Ray replace this replica, when the models fail on everything or do not come back."""
        if self._failures >= FAILURES_OF_A_BROKEN_MODEL:
            raise RuntimeError(f"the models failed on the last {self._failures} images")
        if self._batcher.running_s > self._options.timeout_s:
            raise RuntimeError(f"a batch has been running for {self._batcher.running_s:.0f} s")

    def _read(self, images: list[tuple[Any, str]]) -> list[Any]:
        batch = self._reader.read_batch([image for image, _ in images])
        self._metrics.pages(batch)
        return [_answer(page, form) for page, (_, form) in zip(batch.pages, images)]


def _answer(page: Page, form: str) -> tuple[int, str] | ModelError:
    if isinstance(page.error, ModelError):
        return page.error
    if page.error is not None:
        return 400, error_json(str(page.error))
    return 200, page.to_json() if form == "json" else "".join(page_text([page], form))
