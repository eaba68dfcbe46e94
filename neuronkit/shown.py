"""shown(): how a value stands in a message, whatever the value is."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import PurePath
from typing import Any

# Containers nested deeper than this, and items beyond these, are left out.
_DEPTH, _ITEMS = 3, 6
# Longer ints are named by their size: Python itself refuses to write those of more than 4300 digits.
_MOST_BITS = 256


def shown(value: Any, limit: int = 200) -> str:
    r"""Describe a value in one line of at most `limit` characters.

    It is the value's `repr` where that is short. Never fails: a repr that raises is named instead. Long strings,
    containers, arrays, tensors and modules are not written out as a whole; control characters, line ends, escape
    sequences and surrogates are escaped.

    Args:
        value: Any object.
        limit: The most characters to give, at least 4.

    Returns:
        One line of printable characters.

    Examples:
        >>> shown("a\nb"), shown([[1, 2], "x" * 1000], limit=24), shown(10**5000)
        ("'a\\nb'", "[[1, 2], 'xxxxxxxxxxx...", 'a whole number of 16610 bits')
    """
    written = _cut(_item(value, limit, _DEPTH), limit)
    return _cut("".join(c if c.isprintable() else ascii(c)[1:-1] for c in written), limit)


def _item(value: Any, limit: int, depth: int) -> str:
    try:
        return _cut(_written(value, limit, depth), limit)
    except Exception as error:  # The value's own code, whatever that raises.
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"


def _written(value: Any, limit: int, depth: int) -> str:
    for kinds, write in _WRITERS:
        if issubclass(type(value), kinds):
            return write(value, limit, depth) if depth >= 0 else "..."
    described = _of_torch(value) or _of_numpy(value)
    if described is None and dataclasses.is_dataclass(value) and "__repr__" in vars(type(value)):
        names = [field.name for field in dataclasses.fields(value) if field.repr]
        fields = [f"{name}={_item(getattr(value, name), limit, depth - 1)}" for name in names[: _ITEMS + 1]]
        return type(value).__qualname__ + _joined(fields, "(", ")")
    return repr(value) if described is None else described


def _integer(value: Any, limit: int, depth: int) -> str:
    return repr(value) if value.bit_length() <= _MOST_BITS else f"a whole number of {value.bit_length()} bits"


def _string(value: Any, limit: int, depth: int) -> str:
    return repr(str.__getitem__(value, slice(limit)))


def _bytes(value: Any, limit: int, depth: int) -> str:
    return repr(value[:limit])


def _class(value: Any, limit: int, depth: int) -> str:
    return f"the class {value.__qualname__}"


def _path(value: Any, limit: int, depth: int) -> str:
    return _string(str(value), limit, depth)


def _sequence(kind: Any, opening: str, closing: str) -> Callable[[Any, int, int], str]:
    def write(value: Any, limit: int, depth: int) -> str:
        items = [_item(item, limit, depth - 1) for item in islice(kind.__iter__(value), _ITEMS + 1)]
        end = f",{closing}" if kind is tuple and len(items) == 1 else closing
        return ("" if type(value) is kind else type(value).__name__) + _joined(items, opening, end)

    return write


def _mapping(value: Any, limit: int, depth: int) -> str:
    pairs = islice(dict.items(value), _ITEMS + 1)
    items = [f"{_item(key, limit, depth - 1)}: {_item(entry, limit, depth - 1)}" for key, entry in pairs]
    return ("" if type(value) is dict else type(value).__name__) + _joined(items, "{", "}")


def _joined(items: list[str], opening: str, closing: str) -> str:
    return opening + ", ".join(items[:_ITEMS] + ["..."] * (len(items) > _ITEMS)) + closing


def _of_torch(value: Any) -> str | None:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "nn"):
        return None
    if issubclass(type(value), torch.Tensor):
        where = "" if value.device.type == "cpu" else f" on {value.device}"
        dtype = str(value.dtype).rsplit(".", 1)[-1]
        return f"a {type(value).__name__} {tuple(value.shape)} {dtype}{where}"
    return f"a {type(value).__qualname__} module" if issubclass(type(value), torch.nn.Module) else None


def _of_numpy(value: Any) -> str | None:
    numpy = sys.modules.get("numpy")
    if numpy is None or not issubclass(type(value), numpy.ndarray):
        return None
    article = "an" if type(value) is numpy.ndarray else "a"
    return f"{article} {type(value).__name__} {value.shape} {value.dtype!s:.60}"


def _cut(written: str, limit: int) -> str:
    return written if len(written) <= limit else written[: limit - 3] + "..."


_WRITERS: tuple[tuple[Any, Callable[[Any, int, int], str]], ...] = (
    (int, _integer),
    (str, _string),
    ((bytes, bytearray), _bytes),
    (type, _class),
    (list, _sequence(list, "[", "]")),
    (tuple, _sequence(tuple, "(", ")")),
    (set, _sequence(set, "{", "}")),
    (frozenset, _sequence(frozenset, "({", "})")),
    (dict, _mapping),
    (PurePath, _path),
)
