"""Single requests collected into batches, one batch at work at a time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from neuronkit.ocr.pipeline.batches import run_isolated


@dataclass(frozen=True)
class _Entry:
    item: Any
    result: asyncio.Future[Any]
    since: float


class Batcher:
    """Calls a function on lists, for callers that have one item each.

    `ray.serve.batch` cuts a batch by the clock while another one is at work, so that under load small batches queue up.
    This one takes all that waits at the moment the function is free.

    Args:
        run: Takes a list of items, gives as many results; called in a thread, so that health checks get through.
        size: Items a batch, at most.
        wait_s: How long the first item waits for others, at most.
        observe: Told after each batch how long its items had waited, in seconds.
    """

    def __init__(
        self, run: Callable[[list[Any]], list[Any]], *, size: int, wait_s: float, observe: Callable[[list[float]], None]
    ) -> None:
        self._run, self._size, self._wait_s, self._observe = run, size, wait_s, observe
        self._waiting: deque[_Entry] = deque()
        self._arrived = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1)
        self._started: float | None = None

    @property
    def waiting(self) -> int:
        """Items that wait for the function."""
        return len(self._waiting)

    @property
    def running_s(self) -> float:
        """For how long the batch at work has been running; 0 when there is none."""
        return 0.0 if self._started is None else time.monotonic() - self._started

    async def __call__(self, item: Any) -> Any:
        """Give the item's result, or raise what the function raises for this item alone."""
        entry = _Entry(item, asyncio.get_running_loop().create_future(), time.monotonic())
        self._waiting.append(entry)
        self._arrived.set()
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._empty_queue())
        return await entry.result

    async def _empty_queue(self) -> None:
        while self._waiting:
            await self._fill()
            taken = [self._waiting.popleft() for _ in range(min(self._size, len(self._waiting)))]
            # Cancelled while it waited.
            batch = [entry for entry in taken if not entry.result.done()]
            if batch:
                await self._run_batch(batch)

    async def _fill(self) -> None:
        deadline = self._waiting[0].since + self._wait_s
        while len(self._waiting) < self._size and (left := deadline - time.monotonic()) > 0:
            self._arrived.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), left)

    async def _run_batch(self, batch: list[_Entry]) -> None:
        self._started = time.monotonic()
        waited = [self._started - entry.since for entry in batch]
        loop = asyncio.get_running_loop()
        results = await loop.run_in_executor(self._thread, run_isolated, self._run, [entry.item for entry in batch])
        self._started = None
        self._observe(waited)
        for entry, result in zip(batch, results, strict=True):
            if entry.result.done():
                continue
            if isinstance(result, Exception):
                entry.result.set_exception(result)
            else:
                entry.result.set_result(result)
