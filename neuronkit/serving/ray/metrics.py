"""The metrics of a replica, published through Ray."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ray.util.metrics import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from neuronkit.ocr.pipeline.batches import PageBatch

_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0]
_SHARES = [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0]


class ReaderMetrics:
    """Queue, batch fill, padding waste and latency of a replica that reads pages."""

    def __init__(self) -> None:
        self._queue = Gauge("neuronkit_queue_length", "Requests that wait in this replica for a batch")
        self._wait = Histogram("neuronkit_wait_seconds", "From a request's arrival to the start of its batch", _SECONDS)
        self._latency = Histogram("neuronkit_read_seconds", "From a request's arrival to its page", _SECONDS)
        self._fill = Histogram("neuronkit_batch_fill", "Share of a batch that held a request", _SHARES)
        self._batches = Counter("neuronkit_batches_total", "Batches that were read")
        self._pages = Counter("neuronkit_pages_total", "Pages that were read, by outcome", ("outcome",))
        self._waste = Histogram(
            "neuronkit_padding_waste",
            "Share of a model's input that held no data: canvas of the detector, rows of the recogniser",
            _SHARES,
            ("model",),
        )

    def queue(self, length: int) -> None:
        """Note how many requests wait."""
        self._queue.set(length)

    def batch(self, waited_s: Sequence[float], size: int) -> None:
        """Note a batch: how long each of its requests had waited, and how many would have fitted."""
        self._batches.inc()
        self._fill.observe(len(waited_s) / size)
        for seconds in waited_s:
            self._wait.observe(seconds)

    def pages(self, batch: PageBatch) -> None:
        """Note what was read, and how well it filled the models."""
        for page in batch.pages:
            self._pages.inc(tags={"outcome": "read" if page.error is None else "refused"})
        for model, share in (("detector", batch.canvas_waste), ("recognizer", batch.word_waste)):
            if share is not None:
                self._waste.observe(share, tags={"model": model})

    def request(self, seconds: float) -> None:
        """Note how long a request took."""
        self._latency.observe(seconds)


class IngressMetrics:
    """Answers by status, and images that had to be sent to another replica."""

    def __init__(self) -> None:
        self._answers = Counter("neuronkit_answers_total", "HTTP answers, by status", ("status",))
        self._retries = Counter("neuronkit_retries_total", "Images read again because a replica died")

    def answer(self, status: int) -> None:
        """Note an answer."""
        self._answers.inc(tags={"status": str(status)})

    def retry(self) -> None:
        """Note a further attempt."""
        self._retries.inc()
