"""One key of the cache, while a process finds or builds its entry."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronkit.cache.key import shortened
from neuronkit.cache.lock import KeyLock
from neuronkit.errors import ArtifactError, CompileError
from neuronkit.storage.sealed import read_manifest, save_directory

if TYPE_CHECKING:
    # A slot is one entry of the cache that hands it out, and stores into it.
    from neuronkit.cache.store import CompileCache

_FORMAT = 1
_LOGGER = logging.getLogger("neuronkit.cache")


class Slot:
    """One key, locked: what was found under it, or the right to build it.

    Attributes:
        key: The key.
        status: "hit", "miss" or "rebuilt", the last where an entry was there and is damaged.
        why: In words.
        path: The entry's directory on a hit, else None.
        details: What `store` was given, on a hit.
        stored: Whether `store` succeeded.
    """

    def __init__(self, cache: CompileCache, key: str, graph: str, ingredients: Mapping[str, Any]) -> None:
        self.key, self.status, self.why = key, "miss", ""
        self.path: Path | None = None
        self.details: Mapping[str, Any] = {}
        self.stored = False
        self._cache, self._graph, self._ingredients = cache, graph, ingredients

    def settle(self, lock: KeyLock) -> bool:
        """Try once to find the entry or to become its builder; False while another process is at it."""
        if not lock.acquire(shared=True):
            return False
        if self._look():
            return True
        # Another process may have built it between the two locks.
        if not lock.acquire(shared=False):
            return False
        if not self._look() and self.status == "miss":
            nearest = self._cache.nearest(self._graph, self._ingredients)
            known = f"graph {self._graph!r} for target {self._ingredients.get('target')!r}"
            self.why = (
                f"no entry of {known} yet"
                if nearest is None
                else f"no entry; the nearest of {known} differs in {shortened(nearest)}"
            )
        return True

    def reject(self, reason: str) -> None:
        """Mark the entry as damaged, so that it is built again."""
        self.status, self.why, self.path = "rebuilt", f"the entry is damaged: {reason}", None

    def store(self, fill: Callable[[Path], None], details: Mapping[str, Any]) -> None:
        """Keep what was built. Where that fails, `why` and a warning say so, and the caller still has its result.

        Args:
            fill: Writes the files into an empty directory.
            details: What to keep beside them, ready for JSON.
        """
        path = self._cache.path(self.key)
        manifest = {
            "format": _FORMAT,
            "key": self.key,
            "graph": self._graph,
            "target": self._ingredients.get("target"),
            "created": datetime.now(timezone.utc).isoformat(),
            "ingredients": self._ingredients,
            "details": details,
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_directory(path, manifest, fill)
            self.stored = True
        except (ArtifactError, OSError) as error:
            self.why += f"; not stored: {error}"
            _LOGGER.warning("graph %r was compiled, and not kept in the cache: %s", self._graph, error)

    def record(self) -> dict[str, str]:
        """Status, key and reason, for a manifest."""
        return {"status": self.status, "key": self.key, "why": self.why}

    def __str__(self) -> str:
        return f"graph {self._graph!r}, {self.status} {self.key[:12]}: {self.why}"

    def _look(self) -> bool:
        """Whether a sound entry is there; every byte of it is checked."""
        path = self._cache.path(self.key)
        if not os.path.lexists(path):
            self.status = "miss"
            return False
        try:
            manifest = read_manifest(path)
            _check_key(path, manifest, self.key)
        except ArtifactError as error:
            self.reject(str(error))
            return False
        with contextlib.suppress(OSError):
            os.utime(path)
        self.status, self.why = "hit", f"every ingredient is the same; built {manifest['created']}"
        self.path, self.details = path, manifest["details"]
        return True


def _check_key(path: Path, manifest: Any, key: str) -> None:
    """Raise ArtifactError for a sound entry that does not belong here, or that describes itself otherwise."""
    fields = manifest if isinstance(manifest, dict) else {}
    found = tuple(fields.get(name) for name in ("format", "key"))
    if found != (_FORMAT, key):
        raise ArtifactError(f"{path}: holds format {found[0]} of key {found[1]}, expected format {_FORMAT} of its name")
    details = fields.get("details")
    if not isinstance(fields.get("created"), str) or not isinstance(details, dict):
        raise ArtifactError(f"{path}: its manifest lacks when it was built, or the details of the build")


def wait(slot: Slot, since: float, deadline: float | None, report: Callable[[str], None]) -> None:
    """Let some time pass while another process builds the slot's entry, and say so.

    Raises:
        CompileError: If the deadline has passed.
    """
    waited = time.monotonic() - since
    if deadline is not None and time.monotonic() >= deadline:
        raise CompileError(
            f"{slot}: another process was still building it after {waited:.0f} s, which is all that timeout_s leaves. "
            "Next: give more time with CompileOptions(timeout_s=...), or end the other process",
            hint="another process builds the same entry of the cache",
        )
    report(f"waiting {waited:.0f} s for another process that compiles the same")
    # Pauses of different lengths, so that waiting processes do not retry in step.
    time.sleep(random.uniform(0.05, 0.15))
