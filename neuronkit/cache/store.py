"""CompileCache: compiled graphs in a directory that processes, users and machines can share."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from neuronkit import checks
from neuronkit.cache.entry import CacheEntry as CacheEntry
from neuronkit.cache.entry import describe, size_text
from neuronkit.cache.key import differences, is_hash, key_of
from neuronkit.cache.lock import KeyLock
from neuronkit.cache.slot import Slot, wait
from neuronkit.checks import shown
from neuronkit.errors import ArtifactError, OptionError
from neuronkit.storage.atomic import remove_directory
from neuronkit.storage.sealed import check_directory

_LOGGER = logging.getLogger("neuronkit.cache")
_LIMIT = "NEURONKIT_CACHE_MAX_BYTES"
_PRUNING = "pruning"  # the lock of those that remove entries


class CompileCache:
    """A directory of compiled graphs, each under the hash of everything that went into it.

    Args:
        directory: Where; made at the first use. Any number of processes may use it at once.
        max_bytes: Size that the cache is brought down to after each new entry, least recently used entries first; None
            takes the environment variable ``NEURONKIT_CACHE_MAX_BYTES``, and without it there is no limit.

    Raises:
        OptionError: If the directory is a file, or the limit is not a number of bytes.

    Examples:
        >>> cache = neuronkit.cache.CompileCache("cache", max_bytes=1_000_000)
        >>> list(cache.entries())
        []
    """

    def __init__(self, directory: str | PathLike[str], max_bytes: int | None = None) -> None:
        try:
            self.directory = checks.path("directory", directory).expanduser().absolute()
        except RuntimeError as error:  # Of a user without a home.
            raise OptionError(f"got directory={shown(directory)} ({error}); expected a path; give another") from error
        self.max_bytes = _limit(max_bytes)
        try:
            is_file = not stat.S_ISDIR(self.directory.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            is_file = False
        except OSError as error:
            raise OptionError(
                f"cache_dir={shown(self.directory)} cannot be used ({error.strerror}); give one that you may read"
            ) from error
        if is_file:
            raise OptionError(f"cache_dir={shown(self.directory)} is a file; give a directory, which may be a new one")

    def entries(self) -> tuple[CacheEntry, ...]:
        """The entries, the most recently used first."""
        found = []
        for name in filter(is_hash, self._names()):
            # Another process may remove it at any time.
            with contextlib.suppress(OSError):
                found.append(describe(self._entries / name))
        return tuple(sorted(found, key=lambda entry: entry.last_used, reverse=True))

    @property
    def size(self) -> int:
        """Bytes of all entries."""
        return sum(entry.bytes for entry in self.entries())

    def prune(self, max_bytes: int | None = None) -> tuple[CacheEntry, ...]:
        """Remove the least recently used entries until no more than `max_bytes` are left; never one that is in use.

        Args:
            max_bytes: None takes the cache's own limit.

        Returns:
            What was removed.

        Raises:
            OptionError: If `max_bytes` is not a number of bytes.
        """
        limit = self.max_bytes if max_bytes is None else _limit(max_bytes)
        # Two at once would both count what the other removes, and leave less than the limit allows.
        with KeyLock(self._locks / _PRUNING) as lock:
            while not lock.acquire(shared=False):
                time.sleep(0.05)
            self.remove_leftovers()
            entries = self.entries()
            left, removed = sum(entry.bytes for entry in entries), []
            for entry in reversed(entries):
                if limit is not None and left > limit and self._remove(entry.key):
                    left -= entry.bytes
                    removed.append(entry)
        return tuple(removed)

    def verify(self) -> dict[str, str]:
        """Check every byte of every entry against its seal.

        Returns:
            Key of each entry that is broken, and why. The next build of such an entry replaces it.
        """
        broken = {}
        for entry in self.entries():
            try:
                check_directory(self.path(entry.key))
            except ArtifactError as error:
                broken[entry.key] = str(error)
        return broken

    def clear(self) -> tuple[CacheEntry, ...]:
        """Remove every entry that is not in use, and give those removed."""
        return self.prune(0)

    @contextlib.contextmanager
    def slot(
        self,
        ingredients: Mapping[str, Any],
        *,
        graph: str,
        deadline: float | None = None,
        report: Callable[[str], None] = lambda text: None,
    ) -> Iterator[Slot]:
        """Find an entry, or get the right to build it; no other process has either right until the block is left.

        Args:
            ingredients: What decides the result, ready for JSON; among them the name of the target.
            graph: Name of the graph.
            deadline: When to give up waiting for another builder, on the clock of `time.monotonic`.
            report: Told while another process builds the same entry.

        Raises:
            CompileError: If the deadline passes while another process builds.
            OptionError: If the directory cannot be made, or `ingredients` are not a mapping that JSON can hold.
        """
        slot = Slot(self, key_of(ingredients), checks.text("graph", graph), ingredients)
        if deadline is not None:
            deadline = checks.number("deadline", deadline)
        try:
            self._locks.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if not self.directory.is_dir():
                raise OptionError(
                    f"cache_dir={str(self.directory)!r} cannot be made ({error.strerror}); give a directory that you "
                    "may write to"
                ) from error
        # Here, and not where an entry is stored: a run that finds every entry would leave them for good.
        self.remove_leftovers()
        with KeyLock(self._locks / slot.key) as lock:
            waited = time.monotonic()
            while not slot.settle(lock):
                wait(slot, waited, deadline, report)
            _LOGGER.log(logging.WARNING if slot.status == "rebuilt" else logging.INFO, "%s", slot)
            yield slot
        if slot.stored and self.max_bytes is not None:
            self.prune()

    def path(self, key: str) -> Path:
        """Where an entry lies, or would.

        Raises:
            OptionError: If `key` is none.
        """
        if not is_hash(key):
            raise OptionError(f"got key={shown(key)}; expected 64 hexadecimal digits; give the key of an entry")
        return self._entries / key

    def nearest(self, graph: str, ingredients: Mapping[str, Any]) -> list[str] | None:
        """How the most similar entry of the same graph and target differs; None if there is none.

        Raises:
            OptionError: If `ingredients` are not a mapping that JSON can hold.
        """
        key_of(ingredients)
        target = ingredients.get("target")
        found = [entry for entry in self.entries() if (entry.graph, entry.target) == (graph, target)]
        return min((differences(entry.ingredients, ingredients) for entry in found), key=len, default=None)

    def __repr__(self) -> str:
        entries = self.entries()
        limit = "" if self.max_bytes is None else f" of {size_text(self.max_bytes)}"
        lines = [f"CompileCache({str(self.directory)!r}): {len(entries)} entries, {size_text(self.size)}{limit}"]
        lines += [f"  {entry}" for entry in entries]
        return "\n".join(lines)

    @property
    def _entries(self) -> Path:
        return self.directory / "entries"

    @property
    def _locks(self) -> Path:
        return self.directory / "locks"

    def _remove(self, key: str) -> bool:
        """Remove an entry at once, unless it is in use."""
        with KeyLock(self._locks / key) as lock:
            if not lock.acquire(shared=False):
                return False
            return remove_directory(self.path(key))

    def remove_leftovers(self) -> None:
        """Remove what builders left half-written that were killed; a running one holds its lock."""
        for name in self._names():
            key = name[1:65]
            if name.startswith(".") and is_hash(key):
                with KeyLock(self._locks / key) as lock:
                    if lock.acquire(shared=False):
                        shutil.rmtree(self._entries / name, ignore_errors=True)

    def _names(self) -> list[str]:
        """What lies in the directory of entries; only what is named by a key is the cache's."""
        try:
            return os.listdir(self._entries)
        except OSError:
            return []


def _limit(max_bytes: int | float | str | None) -> int | None:
    given = os.environ.get(_LIMIT) or None if max_bytes is None else max_bytes
    if given is None:
        return None
    try:
        limit = int(float(given))
    except (TypeError, ValueError, OverflowError):
        limit = -1
    if limit < 0:
        name = _LIMIT if max_bytes is None else "max_bytes"
        raise OptionError(f"got {name}={shown(given)}; expected a number of bytes; give one such as 20e9")
    return limit
