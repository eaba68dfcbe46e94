"""The compile cache: what was compiled once is found again, by the contents of everything that went into it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuronkit.cache.store import CacheEntry as CacheEntry
    from neuronkit.cache.store import CompileCache as CompileCache

__all__ = ["CacheEntry", "CompileCache"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    value = globals()[name] = getattr(import_module(f"{__name__}.store"), name)
    return value


def __dir__() -> list[str]:
    return __all__
