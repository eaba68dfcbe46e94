"""The compile cache: what was compiled once is found again, by the contents of everything that went into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.cache.store import CacheEntry as CacheEntry
    from neuronkit.cache.store import CompileCache as CompileCache

_HOMES = {
    "CacheEntry": "store",
    "CompileCache": "store",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
