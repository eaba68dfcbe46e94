"""Turns: one thread at a time, also in a process that was forked while another thread had its turn."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator


class Turns:
    """A lock that a thread may take again while it has it.

    A fork copies the lock of a thread that it does not copy, so that nobody would ever release it: a forked child has
    a new one.
    """

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Within, no other thread has its turn."""
        with self._lock:
            yield


# Python code of torch that captures a graph changes what all threads share: methods of every module, the map of
# submodules' names, settings of the exporter. Two at once would leave it changed.
CAPTURE = Turns()
