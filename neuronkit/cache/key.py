"""The key of a cache entry: the hash of everything that decides what the compiler makes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from neuronkit.errors import OptionError
from neuronkit.shown import shown

_SHOWN = 3
_HASH = re.compile(r"[0-9a-f]{64}")


def key_of(ingredients: Mapping[str, Any]) -> str:
    """SHA-256 of the ingredients as canonical JSON, in hex.

    Raises:
        OptionError: If they are not a mapping that JSON can hold.
    """
    try:
        if not isinstance(ingredients, Mapping):
            raise TypeError("no mapping")
        text = json.dumps(dict(ingredients), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise OptionError(
            f"got ingredients={shown(ingredients)} ({shown(error)}); expected a mapping of plain values; give what "
            "JSON can hold"
        ) from error
    return hashlib.sha256(text.encode()).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Where two sets of ingredients differ, as ``options.optlevel: 1 → 2``; hashes, which say least, come last."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    names = [name for name in {**after, **before} if before.get(name) != after.get(name)]
    names.sort(key=lambda name: is_hash(after.get(name)))
    return [f"{name}: {_brief(before.get(name))} → {_brief(after.get(name))}" for name in names]


def is_hash(value: Any) -> bool:
    """Whether a value is a SHA-256 in hex, as every key is."""
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def shortened(items: list[str]) -> str:
    """The first few, and how many there are beyond."""
    more = len(items) - _SHOWN
    return "; ".join(items[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _leaves(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{path}[{i}]")
    else:
        # As JSON gives it back.
        yield path, list(value) if isinstance(value, tuple) else value


def _brief(value: Any) -> str:
    return f"{value[:12]}…" if is_hash(value) else str(value)
