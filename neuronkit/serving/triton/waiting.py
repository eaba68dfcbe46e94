"""Requests that wait in a model's process: few of them, for a limited time, and those of a probe first.

tritonserver could hold them itself. But once its batcher has a queue policy or priorities, it may leave an instance
idle for half a second while requests wait (`DynamicBatchScheduler::WaitForPayloadSlotAvailable`, seen in 2.51; issue
8870 of triton-inference-server/server explains the cause).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from neuronkit.serving.triton.base import Arrays


@dataclass(eq=False)
class Entry:
    """A request that waits.

    Attributes:
        request: Triton's.
        inputs: Its inputs by name, (rows, ...) each, or why they cannot be read.
        timeout_s: How long it may wait.
        ahead: Whether it goes before all others, as the request of a probe does.
        since: When it came, by `time.monotonic`.
    """

    request: Any
    inputs: Arrays | Exception
    timeout_s: float
    ahead: bool = False
    since: float = field(default_factory=time.monotonic)

    @property
    def rows(self) -> int:
        """Rows of a batch that it takes."""
        return 1 if isinstance(self.inputs, Exception) else max(map(len, self.inputs.values()), default=1)

    def read(self) -> Arrays:
        """Give the inputs, or raise what reading them raised."""
        if isinstance(self.inputs, Exception):
            raise self.inputs
        return self.inputs

    @property
    def is_late(self) -> bool:
        """Whether it has waited too long."""
        return time.monotonic() > self.since + self.timeout_s


class Waiting:
    """A queue of bounded length, emptied in batches.

    Args:
        size: Requests that may wait; those ahead do not count.
        rows: Rows of a batch.
        delay_s: How long the first of a batch waits for others.
    """

    def __init__(self, *, size: int, rows: int, delay_s: float) -> None:
        self._size, self._batch, self._delay_s = size, rows, delay_s
        self._entries: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: Entry) -> bool:
        """Add a request; False, and nothing is added, if there is no room."""
        with self._changed:
            if entry.ahead:
                self._entries.appendleft(entry)
            elif len(self._entries) < self._size:
                self._entries.append(entry)
            else:
                return False
            self._changed.notify()
        return True

    def take(self, wait: bool = True) -> list[Entry] | None:
        """Take as many requests as fill a batch; None when it is closed and empty.

        Args:
            wait: Wait for one, and for those that may come with it; else take what is there, which may be nothing.
        """
        with self._changed:
            while not self._entries:
                if self._closed:
                    return None
                if not wait:
                    return []
                self._changed.wait()
            end = self._entries[0].since + (self._delay_s if wait else 0)
            while self._entries and not self._closed and sum(entry.rows for entry in self._entries) < self._batch:
                left = end - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            taken: list[Entry] = []
            while self._entries and (
                not taken or sum(entry.rows for entry in (*taken, self._entries[0])) <= self._batch
            ):
                taken.append(self._entries.popleft())
            return taken

    def remove(self, wanted: Callable[[Entry], bool]) -> list[Entry]:
        """Take out the requests for which `wanted` is true, wherever they stand."""
        with self._changed:
            found = [entry for entry in self._entries if wanted(entry)]
            self._entries = deque(entry for entry in self._entries if entry not in found)
        return found

    def close(self) -> None:
        """Let `take` end when everything is taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
