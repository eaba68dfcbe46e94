"""Font faces of the installed packages that have every character of ASCII."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from PIL import ImageFont

from neuronkit.errors import MissingDependencyError
from neuronkit.ocr.charset import CHARSET_94

FOLDERS = (Path("/usr/share/fonts/truetype"), Path("/usr/share/fonts/opentype"))
PACKAGES = Path(__file__).parent / "packages.txt"
LEAST = 150
"""Faces that training asks for."""

# Faces of other scripts and of symbols, initials and ornaments, whose ASCII is none or is not meant to be read.
_EXCLUDED = ("symbol", "dingbat", "initial", "ornament", "mathjax", "d050000l", "dseg", "keyboard", "futhark")
_SIZE = 48


@dataclass(frozen=True)
class Faces:
    """Files of font faces, by family: the folder of a package, and the name up to its style."""

    families: tuple[tuple[Path, ...], ...]

    def __len__(self) -> int:
        return sum(map(len, self.families))

    @cached_property
    def monospaced(self) -> tuple[Path, ...]:
        """Faces in which all characters have one width, as tills and typewriters print."""
        widths = {path: {load_face(path).getlength(c) for c in "iMW1."} for family in self.families for path in family}
        return tuple(path for path, found in widths.items() if len(found) == 1)

    def choose(self, rng: np.random.Generator) -> Path:
        """Draw a face: half of the time each family is as likely as another, else each face."""
        if rng.random() < 0.5:
            family = self.families[rng.integers(len(self.families))]
            return family[rng.integers(len(family))]
        index = int(rng.integers(len(self)))
        for family in self.families:
            if index < len(family):
                return family[index]
            index -= len(family)
        raise AssertionError(index)

    @classmethod
    def of(cls, paths: list[Path]) -> Faces:
        """Group files by family."""
        groups: dict[tuple[Path, str], list[Path]] = defaultdict(list)
        for path in sorted(paths):
            groups[path.parent, path.stem.split("-")[0].split("_")[0].lower()[:8]].append(path)
        return cls(tuple(tuple(group) for group in groups.values()))

    @classmethod
    def installed(cls, folders: tuple[Path, ...] = FOLDERS, *, least: int = LEAST) -> Faces:
        """Find the faces with all of ASCII.

        Raises:
            MissingDependencyError: If there are fewer than `least`.
        """
        files = [path for folder in folders for path in sorted(folder.rglob("*.[ot]tf"))]
        names = {path.name: path for path in files if not any(part in path.name.lower() for part in _EXCLUDED)}
        found = cls.of([path for path in names.values() if _writes_ascii(path)])
        if len(found) < least:
            raise MissingDependencyError(
                f"got {len(found)} faces with all of ASCII in {', '.join(map(str, folders))}; "
                f"expected {least} or more; install the packages of {PACKAGES}: make fonts"
            )
        return found


@lru_cache(maxsize=4096)
def load_face(path: Path, size: int = _SIZE) -> ImageFont.FreeTypeFont:
    """Open a face, laid out without libraqm, so that a picture does not depend on how Pillow was built."""
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def _writes_ascii(path: Path) -> bool:
    """Whether each character has ink, and none but look-alikes share it."""
    try:
        face = load_face(path)
    except OSError:
        return False
    missing = bytes(face.getmask("\uf8ff"))
    drawn = {}
    for character in CHARSET_94:
        mask = face.getmask(character)
        ink = bytes(mask)
        if not any(ink) or ink == missing:
            return False
        drawn[character] = ink
    # Capitals may look like small letters; digits and punctuation must differ from one another.
    letters = len({drawn[c] for c in "abcdefghijklmnopqrstuvwxyz"})
    return letters == 26 and len({drawn[c] for c in "0123456789.,:;!?$&#@"}) == 20
