"""Warnings that one thread silences, and no other.

`warnings.catch_warnings` replaces the filters of the whole process: it hides what other threads warn of, and two
threads that leave it in another order than they entered it leave the filters of the one to both.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from neuronkit.threads.turns import Turns

_changing = Turns()


class _Silence(threading.local):
    """Stands in a filter where the pattern of a text would: it matches any text, in the threads that are silent now."""

    depth = 0

    def match(self, text: str) -> bool:
        return self.depth > 0


class _Entry:
    """The filter of a category, and how many threads need it."""

    def __init__(self, category: type[Warning]) -> None:
        self.silence, self.users = _Silence(), 0
        self.filter: Any = ("ignore", self.silence, category, None, 0)

    def put_first(self) -> None:
        """Put the filter before all that are not of this kind."""
        filters: Any = warnings.filters
        first = next((known for known in filters if known is self.filter or not isinstance(known[1], _Silence)), None)
        if first is not self.filter:
            filters.insert(0, self.filter)

    def take_out(self) -> None:
        """Take the filter out; a list that somebody else kept meanwhile may go on having it, and is not changed."""
        filters: Any = warnings.filters
        filters[:] = [known for known in filters if known is not self.filter]


_entries: dict[type[Warning], _Entry] = {}


@contextlib.contextmanager
def quiet(category: type[Warning] = Warning) -> Iterator[None]:
    """Within, warnings of a category that this thread issues are not shown; those of other threads are.

    Args:
        category: With all that are derived from it.
    """
    with _changing.taken():
        entry = _entries.setdefault(category, _Entry(category))
        entry.users += 1
        entry.put_first()
    entry.silence.depth += 1
    try:
        yield
    finally:
        entry.silence.depth -= 1
        with _changing.taken():
            entry.users -= 1
            if not entry.users:
                entry.take_out()
