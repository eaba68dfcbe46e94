"""One entry of the cache, as reports show it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from neuronkit.storage.sealed import MANIFEST, read_text


@dataclass(frozen=True)
class CacheEntry:
    """One compiled graph in the cache.

    Attributes:
        key: SHA-256 of the ingredients, in hex; the name of its directory.
        graph: Name of the graph, as its first builder called it; "?" where the entry cannot be read.
        target: Target it was compiled for; "?" where the entry cannot be read.
        bytes: Size on disk.
        created: When it was built.
        last_used: When it was built or last found.
        ingredients: What the key is the hash of.

    Examples:
        >>> [entry.graph for entry in neuronkit.cache.CompileCache("cache").entries()]
        []
    """

    key: str
    graph: str
    target: str
    bytes: int
    created: datetime
    last_used: datetime
    ingredients: Mapping[str, Any]

    def __str__(self) -> str:
        used = self.last_used.isoformat(sep=" ", timespec="seconds")
        return f"{self.key[:12]}  {self.graph:<16} {self.target:<12} {size_text(self.bytes):>9}  used {used}"


def describe(path: Path) -> CacheEntry:
    """An entry as its manifest describes it, its files unchecked."""
    last_used = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    try:
        manifest = json.loads(read_text(path / MANIFEST))
        created = datetime.fromisoformat(manifest["created"])
        graph, target, ingredients = manifest["graph"], manifest["target"], manifest["ingredients"]
        if not (graph.isprintable() and target.isprintable() and isinstance(ingredients, dict)):
            raise ValueError("not of this cache")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        created, graph, target, ingredients = last_used, "?", "?", {}
    return CacheEntry(path.name, graph, target, size, created, last_used, ingredients)


def size_text(count: int) -> str:
    """A number of bytes as text: ``"12 MB"``."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count} {unit}"
        count = round(count / 1000)
    return f"{count} GB"
