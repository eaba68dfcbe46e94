"""Fonts that have the characters of a text, so that none is drawn as an empty box."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from neuronkit import checks
from neuronkit.errors import OptionError

_PROBE_SIZE = 20
_NO_CHARACTER = "\uffff"
_SEARCHES = 3
"""Failed searches after which a script counts as missing."""

_ENDINGS = frozenset((".otf", ".ttc", ".ttf"))
# Fonts with many scripts come first; those that draw something for every character, or nothing, never.
_LIKELY = (
    "cjk",
    "fallback",
    "unicode",
    "dejavusans.",
    "notosans",
    "wqy",
    "nanum",
    "freesans",
    "malgun",
    "msyh",
    "arial",
)
_NEVER = ("lastresort", "blank", "notdef")


class TextWriter:
    """Chooses a font for each text.

    Args:
        font: The font to take where it has all characters: a file, or a font of Pillow; None takes Pillow's own.

    Attributes:
        missing: Characters for which no font was found.

    Raises:
        OptionError: If `font` is not a font.
    """

    def __init__(self, font: Any = None) -> None:
        from PIL import ImageFont

        self.missing: set[str] = set()
        self._failures: Counter[str] = Counter()
        self._font = font
        if font is not None and not isinstance(font, ImageFont.FreeTypeFont):
            self._font = checks.input_file("font", font)
            _checked(self._font)

    @property
    def warning(self) -> str:
        """A sentence about the missing characters."""
        found = "".join(sorted(self.missing))
        return (
            f"no font was found for {checks.shown(found)} ({', '.join(sorted({_script(c) for c in found}))}); "
            "install one that has them, or give its file as font="
        )

    def layout(self, text: str, size: float) -> tuple[str, Any]:
        """Give a text as it can be written, and the font for it.

        Args:
            text: Anything; control characters are left out.
            size: Of the font, in pixels.
        """
        text = "".join(character for character in text.replace("\n", " ") if character.isprintable())
        wanted = frozenset(text)
        for font in self._fonts():
            if not lacking(font, wanted):
                return text, _sized(font, size)
        lost = lacking(None, wanted)
        scripts = {_script(character) for character in lost}
        # A search opens every font of the system: a script that none of them has is not searched for each word.
        if all(self._failures[script] < _SEARCHES for script in scripts):
            fallback = system_font(wanted)
            if fallback is not None:
                return text, _sized(fallback, size)
            self._failures.update(scripts)
        self.missing |= lost
        return _labelled(text, lost), _sized(None, size)

    def _fonts(self) -> Iterator[Any]:
        if self._font is not None:
            yield self._font
        yield None


def lacking(font: Any, characters: frozenset[str]) -> frozenset[str]:
    """Characters that a font does not have: those that it draws as it draws what no font has."""
    probe = _sized(font, _PROBE_SIZE)
    if not hasattr(probe, "font_variant"):
        # Pillow without FreeType has one font, of Latin-1.
        return frozenset(c for c in characters if ord(c) > 255)
    empty = _shape(probe, _NO_CHARACTER)
    return frozenset(c for c in characters if not c.isspace() and _shape(probe, c) == empty)


@lru_cache(maxsize=256)
def system_font(characters: frozenset[str]) -> Path | None:
    """Find a font of this system that has all of some characters; None where there is none."""
    for path in _system_fonts():
        try:
            if not lacking(path, characters):
                return path
        except OSError:
            # A font of pictures, or a broken one.
            continue
    return None


@lru_cache(maxsize=1)
def _system_fonts() -> tuple[Path, ...]:
    found = {
        path
        for folder in _font_folders()
        for path in folder.rglob("*")
        if path.suffix.lower() in _ENDINGS and not any(word in path.name.lower() for word in _NEVER)
    }
    return tuple(sorted(found, key=_rank))


def _font_folders() -> list[Path]:
    home = Path.home()
    if sys.platform == "win32":
        return [Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts", home / "AppData/Local/Microsoft/Windows/Fonts"]
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".fonts", home / ".local/share/fonts"]


def _rank(path: Path) -> tuple[bool, bool, str]:
    name = path.name.lower()
    styled = any(word in name for word in ("bold", "italic", "oblique", "mono", "serif", "light", "thin", "black"))
    return not any(word in name for word in _LIKELY), styled, str(path)


def _checked(path: Path) -> None:
    from PIL import ImageFont

    try:
        ImageFont.truetype(str(path), _PROBE_SIZE)
    except OSError as error:
        raise OptionError(
            f"got font={checks.shown(path)}, which is no font that FreeType reads ({error}); expected a font file; "
            "give a .ttf, .otf or .ttc"
        ) from error


def _sized(font: Any, size: float) -> Any:
    from PIL import ImageFont

    if font is None:
        return ImageFont.load_default(size=size)
    if isinstance(font, ImageFont.FreeTypeFont):
        return font.font_variant(size=size)  # type: ignore[arg-type, unused-ignore]
    return ImageFont.truetype(str(font), size)  # type: ignore[arg-type, unused-ignore]


def _shape(font: Any, character: str) -> tuple[Any, bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)


def _labelled(text: str, lost: frozenset[str]) -> str:
    """Write how many characters of which script are missing in their place."""
    parts = []
    for script, run in groupby(text, lambda c: _script(c) if c in lost else None):
        characters = list(run)
        parts.append("".join(characters) if script is None else f"[{len(characters)} {script}]")
    return "".join(parts)


def _script(character: str) -> str:
    """The script of a letter, such as "hangul", or the code of another character."""
    name = unicodedata.name(character, "")
    if unicodedata.category(character).startswith("L") and name:
        return name.split()[0].lower()
    return f"U+{ord(character):04X}"
