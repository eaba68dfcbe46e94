"""Checks of arguments that many calls share: each returns the value in its own type, or says what is wrong.

Every message has three parts: *got X; expected Y; do Z*. `shown` writes X, whatever it is. NumPy's scalars count as
the numbers they hold; a bool never counts as a number. What torch's values need is in `neuronkit.tensors`.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import os
import stat
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from neuronkit.errors import NeuronKitError, OptionError
from neuronkit.shown import shown as shown

# What Linux takes in one path, and in one name within it.
_LONGEST_PATH, _LONGEST_NAME = 4095, 255
_LONGEST_LABEL = 200


def number(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    error: type[NeuronKitError] = OptionError,
) -> float:
    """Return `value` as a finite float in [low, high], or in (low, high]."""
    result = math.nan
    if _is_number(value, Real):
        # Too large for a float, or of a type that does not convert: refused below.
        with contextlib.suppress(ArithmeticError, TypeError, ValueError):
            result = float(value)
    if math.isfinite(result) and low <= result <= high and not (open_low and result == low):
        return result
    expected = "a finite number" + _between(f"{low:g}", f"{high:g}", low > -math.inf, high < math.inf, open_low)
    raise error(f"got {name}={shown(value)}; expected {expected}; {_number_hint(value, Real)}")


def integer(
    name: str,
    value: Any,
    low: int | None = None,
    high: int | None = None,
    *,
    error: type[NeuronKitError] = OptionError,
) -> int:
    """Return `value` as an int of 64 bits in [low, high]; NumPy's integers are such, True and 2.0 are not."""
    large = False
    if _is_number(value, Integral):
        result = int(value)
        # Python itself does not write very large ones, which would break whatever message names them later.
        large = result.bit_length() > 63
        if not large and (low is None or low <= result) and (high is None or result <= high):
            return result
    expected = "a whole number" + " of 64 bits" * large
    expected += _between(str(low), str(high), low is not None, high is not None, False)
    raise error(f"got {name}={shown(value)}; expected {expected}; {_number_hint(value, Integral)}")


def flag(name: str, value: Any, *, error: type[NeuronKitError] = OptionError) -> bool:
    """Return `value` when it is True or False; NumPy's bool, which its comparisons give, counts as one."""
    numpy = sys.modules.get("numpy")
    if type(value) is bool or (numpy is not None and type(value) is numpy.bool_):
        return bool(value)
    raise error(f"got {name}={shown(value)}; expected True or False; give one of them")


def integers(
    name: str,
    value: Any,
    length: int,
    low: int | None = None,
    high: int | None = None,
    *,
    error: type[NeuronKitError] = OptionError,
) -> tuple[int, ...]:
    """Return `value` as a tuple of `length` ints in [low, high]."""
    items = _sequence(name, value, length, "whole numbers", error)
    return tuple(integer(f"{name}[{i}]", item, low, high, error=error) for i, item in enumerate(items))


def numbers(
    name: str,
    value: Any,
    length: int,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    error: type[NeuronKitError] = OptionError,
) -> tuple[float, ...]:
    """Return `value` as a tuple of `length` floats in [low, high], or in (low, high]."""
    items = _sequence(name, value, length, "numbers", error)
    return tuple(
        number(f"{name}[{i}]", item, low, high, open_low=open_low, error=error) for i, item in enumerate(items)
    )


def items(
    name: str,
    value: Any,
    what: str,
    *,
    least: int = 0,
    most: int = 1_000_000,
    error: type[NeuronKitError] = OptionError,
) -> list[Any]:
    """Return the items of any iterable but text and mappings, `least` to `most`; `what` says what they are to be."""
    try:
        found = None if issubclass(type(value), (str, bytes, dict)) else list(islice(iter(value), most + 1))
    except TypeError:  # Not iterable, as arrays without dimensions are.
        found = None
    if found is None:
        raise error(f"got {name}={shown(value)}; expected a sequence of {what}; give a list or a tuple of them")
    if len(found) > most:
        raise error(f"got {name}={shown(value)}; expected at most {most} {what}; give fewer at a time")
    if len(found) < least:
        raise error(f"got {name}={shown(value)}; expected {what}, at least {least}; give more")
    return found


def text(name: str, value: Any, *, empty: bool = False, error: type[NeuronKitError] = OptionError) -> str:
    """Return `value` as a str that UTF-8 can hold; an empty one only where `empty` allows it."""
    if not issubclass(type(value), str):
        hint = "decode it, as in value.decode()" if issubclass(type(value), bytes) else "give a str"
        raise error(f"got {name}={shown(value)}; expected text; {hint}")
    result = str.__str__(value)
    if not result and not empty:
        raise error(f"got {name}=''; expected text; give at least one character")
    try:
        result.encode()
    except UnicodeEncodeError:
        raise error(
            f"got {name}={shown(value)}; expected text without lone surrogates; "
            "decode the bytes it came from with their own encoding"
        ) from None
    return result


def label(name: str, value: Any, *, error: type[NeuronKitError] = OptionError) -> str:
    """Return `value` as a str that messages can name something by: of at most 200 printable characters."""
    result = text(name, value, error=error)
    if not result.isprintable() or len(result) > _LONGEST_LABEL:
        raise error(
            f"got {name}={shown(value)}; expected at most {_LONGEST_LABEL} printable characters; give a shorter name, "
            "without line ends and control characters"
        )
    return result


def choice(name: str, value: Any, choices: Iterable[Any], *, error: type[NeuronKitError] = OptionError) -> Any:
    """Return the member of `choices` that equals `value` and is of its type: True does not stand for 1."""
    known = list(choices)
    plain = str.__str__(value) if issubclass(type(value), str) else value
    for candidate in known:
        if type(candidate) is type(plain) and candidate == plain:
            return candidate
    listed = ", ".join(map(shown, known))
    raise error(f"got {name}={shown(value)}; expected one of {listed}; {_choice_hint(plain, known)}")


def path(name: str, value: Any, *, error: type[NeuronKitError] = OptionError) -> Path:
    """Return `value`, a str or an `os.PathLike`, as a Path that the operating system can take."""
    try:
        given = os.fspath(value)
    except Exception as failure:  # `__fspath__` is the caller's own code.
        hint = "give the path that holds it" if hasattr(type(value), "read") else "give a str or a pathlib.Path"
        problem = "" if not hasattr(type(value), "__fspath__") else f" ({shown(failure)})"
        raise error(f"got {name}={shown(value)}{problem}; expected a path; {hint}") from failure
    if not issubclass(type(given), str):
        raise error(f"got {name}={shown(value)}; expected a path as text; convert it with os.fsdecode")
    given = _in_locale(given)
    wrong = _path_fault(given)
    if wrong:
        raise error(f"got {name}={shown(value)}, {wrong}")
    return Path(given)


def input_file(name: str, value: Any, *, error: type[NeuronKitError] = OptionError) -> Path:
    """Return `value` as the Path of a readable regular file; symbolic links are followed."""
    file = path(name, value, error=error)
    try:
        mode = os.stat(file).st_mode
    except OSError as failure:
        raise error(
            f"got {name}={shown(file)}, which cannot be read ({failure.strerror}); expected a file; "
            f"{_missing_hint(file)}"
        ) from failure
    if not stat.S_ISREG(mode):
        kind = file_kind(mode)
        hint = "give the path of a file in it" if stat.S_ISDIR(mode) else "copy its content to a file and give that"
        raise error(f"got {name}={shown(file)}, {kind}; expected a regular file; {hint}")
    if not os.access(file, os.R_OK):
        raise error(f"got {name}={shown(file)}, without permission to read it; expected a readable file; chmod it")
    return file


def callable_(name: str, value: Any, *, error: type[NeuronKitError] = OptionError) -> Callable[..., Any]:
    """Return `value` when it can be called; a class is refused, since an instance of it is meant."""
    if issubclass(type(value), type):
        called = f"{value.__name__:.80}(...)"
        raise error(f"got {name}={shown(value)}; expected something to call; make an instance, {called}")
    if not callable(value):
        is_path = issubclass(type(value), str) or hasattr(type(value), "__fspath__")
        way = "read the artifact first: neuronkit.load(path)" if is_path else "give a function or a module"
        raise error(f"got {name}={shown(value)}; expected something to call; {way}")
    return value  # type: ignore[no-any-return]


def set_field(
    owner: object, name: str, check: Callable[..., Any], *limits: Any, optional: bool = False, **settings: Any
) -> None:
    """Put what a check returns in the place of a frozen dataclass's field; where it is `optional`, None stays."""
    value = getattr(owner, name)
    if value is not None or not optional:
        object.__setattr__(owner, name, check(name, value, *limits, **settings))


def file_kind(mode: int) -> str:
    """What a file is, by its `st_mode`, as words for a message: "a folder", "a device", ..."""
    return next((word for test, word in _KINDS if test(mode)), "no regular file")


_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def _is_number(value: Any, kind: type) -> bool:
    # By type: an object's own __class__ may raise.
    return issubclass(type(value), kind) and not issubclass(type(value), bool)


def _between(low: str, high: str, has_low: bool, has_high: bool, open_low: bool) -> str:
    if has_low and has_high:
        return f" {'above' if open_low else 'from'} {low}{' and at most' if open_low else ' to'} {high}"
    if has_low:
        return f" above {low}" if open_low else f" of at least {low}"
    return f" of at most {high}" if has_high else ""


def _number_hint(value: Any, kind: type) -> str:
    if issubclass(type(value), bool):
        return "write the number itself"
    if issubclass(type(value), (str, bytes)):
        return f"convert it with {'int' if kind is Integral else 'float'}()"
    if kind is Integral and issubclass(type(value), float) and math.isfinite(value) and value == int(value):
        return f"write {shown(int(value), 40)}"
    if hasattr(type(value), "item"):
        return "give a number within that range, of an array its .item()"
    return "give one" if not _is_number(value, kind) else "give a number within that range"


def _choice_hint(value: Any, known: list[Any]) -> str:
    if not issubclass(type(value), str) or len(value) > 100:
        return "give one of them"
    words = {candidate.lower(): candidate for candidate in known if issubclass(type(candidate), str)}
    close = difflib.get_close_matches(value.strip().lower(), words, n=1, cutoff=0.5)
    if close:
        return f"did you mean {words[close[0]]!r}?"
    same = next((candidate for candidate in known if str(candidate) == value), None)
    return "give one of them" if same is None else f"write {same!r}"


def _sequence(name: str, value: Any, length: int, what: str, error: type[NeuronKitError]) -> list[Any]:
    try:
        items = [] if issubclass(type(value), (str, bytes)) else list(islice(value, length + 1))
    except Exception:  # An iterator is the caller's own code; the message names what was given.
        items = []
    if len(items) != length:
        example = f"({', '.join(['…'] * min(length, 4))}{', …' if length > 4 else ',' * (length == 1)})"
        raise error(f"got {name}={shown(value)}; expected {length} {what}; give a tuple, {example}")
    return items


def _in_locale(given: str) -> str:
    """The path as Python writes it where the locale's encoding lacks its characters: names of files are bytes."""
    try:
        os.fsencode(given)
    except UnicodeEncodeError:
        with contextlib.suppress(UnicodeEncodeError):
            return os.fsdecode(given.encode("utf-8", "surrogateescape"))
    return given


def _path_fault(given: str) -> str | None:
    if not given:
        return "an empty path; expected a file or folder; give '.' for the current folder"
    if "\0" in given:
        return "with a NUL character; expected a path; remove it"
    try:
        encoded = os.fsencode(given)
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        return f"which the file system's encoding, {encoding}, cannot hold; expected a path; rename the file"
    if len(encoded) > _LONGEST_PATH or max(map(len, encoded.split(b"/"))) > _LONGEST_NAME:
        return (
            f"a path of {len(encoded)} bytes; expected at most {_LONGEST_PATH}, and {_LONGEST_NAME} for each name; "
            "give a shorter path"
        )
    return None


def _missing_hint(file: Path) -> str:
    try:
        siblings = [entry.name for entry in islice(os.scandir(file.parent), 1000)]
    except OSError:
        return f"check the folder {shown(file.parent)}"
    close = difflib.get_close_matches(file.name, siblings, n=1)
    return f"did you mean {shown(file.parent / close[0])}?" if close else "check the path"
