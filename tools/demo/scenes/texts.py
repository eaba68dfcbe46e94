"""What is written in the scenes: dictionary words in mixed case, numbers, prices, dates, codes, and any characters."""

from __future__ import annotations

import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from neuronkit.demo.vocabulary import WORDS
from neuronkit.errors import MissingDependencyError
from neuronkit.ocr.charset import CHARSET_36, CHARSET_94

DICTIONARY = Path("/usr/share/dict/american-english")
MAX_LENGTH = 25
"""Longest text, in characters: what a PARSeq of the usual size writes."""

_PUNCTUATION = "".join(c for c in CHARSET_94 if not c.isalnum())
_UNITS = (
    "kg",
    "g",
    "ml",
    "oz",
    "lb",
    "km",
    "cm",
    "mm",
    "pm",
    "am",
    "th",
    "x",
    "mg",
    "L",
    "ct",
    "pk",
    "EA",
    "F",
    "T",
    "W",
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_STREETS = ("St", "Ave", "Rd", "Blvd", "Dr", "Ln", "Way", "Hwy", "Ct", "Pl")
# One word in so many is kept from training, and is what evaluation reads.
_HELD_OUT = 20


@lru_cache(maxsize=4)
def dictionary(path: Path = DICTIONARY) -> tuple[str, ...]:
    """Read the words of ASCII letters, with capitals where names have them, without possessives.

    Raises:
        MissingDependencyError: If the file is not there.
    """
    if not path.is_file():
        raise MissingDependencyError(f"{path} is missing; expected a list of words, one a line; install wamerican")
    lines = path.read_text(encoding="utf-8").split()
    return tuple(w for w in lines if w.isascii() and w.isalpha() and len(w) <= MAX_LENGTH) or WORDS


def held_out(word: str) -> bool:
    """Whether a word is kept from training."""
    return zlib.crc32(word.lower().encode()) % _HELD_OUT == 0


def sample_text(rng: np.random.Generator, words: tuple[str, ...] = WORDS, *, unseen: bool = False) -> str:
    """Draw a text of 1 to `MAX_LENGTH` characters of ASCII; a few are lines with blanks, as detectors join them.

    Args:
        rng: Source of every choice.
        words: Words of `dictionary`.
        unseen: Take the words that are kept from training.
    """
    kind = rng.random()
    if kind < 0.55 or unseen:
        text = _cased(rng, _word(rng, words, unseen))
        if rng.random() < 0.12:
            text = _punctuated(rng, text)
    elif kind < 0.58:
        text = _joined(rng, words)
    elif kind < 0.62:
        text = _line(rng, words)
    elif kind < 0.67:
        text = _digits(rng, int(rng.integers(1, 9)))
    elif kind < 0.74:
        text = _price(rng)
    elif kind < 0.80:
        text = _date_or_time(rng)
    elif kind < 0.84:
        text = _measure(rng)
    elif kind < 0.89:
        text = _code(rng)
    elif kind < 0.94:
        text = _invented(rng)
    else:
        text = "".join(rng.choice(list(CHARSET_94), size=int(rng.integers(1, 11))))
    return text[:MAX_LENGTH].strip()


def sample_receipt_text(rng: np.random.Generator, words: tuple[str, ...] = WORDS) -> str:
    """Draw what a till prints: prices, items of a few cut words, counts, dates, telephone numbers, single letters."""
    kind = rng.random()
    if kind < 0.3:
        amount = f"{rng.integers(1, 10 ** rng.integers(1, 4))}" if rng.random() < 0.8 else ""
        text = (
            f"{rng.choice(['$', '', '', ''])}{amount}.{_digits(rng, 2)}{rng.choice(['-', '', '', '', 'T', 'F', ' B'])}"
        )
    elif kind < 0.68:
        text = _item(rng, words)
    elif kind < 0.78:
        text = _cased(rng, _word(rng, words, False)) + str(rng.choice(["", "", "!", ":", "1", "."]))
    elif kind < 0.83:
        text = str(rng.choice(list("ABCEFGHKMNOPRSTX")))
    elif kind < 0.88:
        text = f"{rng.integers(1, 20)}{rng.choice([' x ', 'x', ' @ ', '.00x', 'X ', ' '])}{_item(rng, words)}"
    elif kind < 0.95:
        text = _date_or_time(rng) + str(rng.choice(["", "", " MON", " FRI", " SAT", " AM", " PM"]))
    else:
        text = _measure(rng)
    return text[:MAX_LENGTH].strip()


def simple_text(text: str) -> str:
    """Give a text as the 36 characters write it: small letters and digits; the rest is left out."""
    return "".join(c for c in text.lower() if c in CHARSET_36)


def sample_label(
    rng: np.random.Generator,
    words: tuple[str, ...],
    *,
    characters: int,
    unseen: bool = False,
    receipt: bool = False,
) -> tuple[str, str]:
    """Draw a text and what a model of 36 or 94 characters is to read there, never empty."""
    while True:
        text = sample_receipt_text(rng, words) if receipt else sample_text(rng, words, unseen=unseen)
        label = simple_text(text) if characters == 36 else text.replace(" ", "")
        if label:
            return text, label


def _word(rng: np.random.Generator, words: tuple[str, ...], unseen: bool) -> str:
    while True:
        source = WORDS if rng.random() < 0.3 and not unseen else words
        word = source[rng.integers(len(source))]
        # Long words are rarer on signs than in a dictionary.
        if len(word) > 8 and rng.random() < 0.5:
            continue
        if held_out(word) == unseen:
            return word


def _cased(rng: np.random.Generator, word: str) -> str:
    case = rng.random()
    if case < 0.42:
        return word.upper()
    if case < 0.72:
        return word[0].upper() + word[1:]
    if case < 0.97:
        return word.lower()
    return "".join(c.upper() if rng.random() < 0.5 else c.lower() for c in word)


def _punctuated(rng: np.random.Generator, text: str) -> str:
    kind = rng.random()
    if kind < 0.55:
        return text + str(rng.choice(list(".,:;!?")))
    if kind < 0.65:
        return text + "'s"
    if kind < 0.75:
        return f"({text})"
    if kind < 0.85:
        return f'"{text}"'
    return str(rng.choice(list(_PUNCTUATION))) + text


def _joined(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    a, b = (_cased(rng, _word(rng, WORDS, False)) for _ in range(2))
    kind = rng.random()
    if kind < 0.4:
        return a + b
    if kind < 0.6:
        return f"{a}.com"
    return a + str(rng.choice(list("-&/.@_+"))) + b


def _line(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    """Print a few words, or a number and a word, in one case, as the lines of a receipt are."""
    parts = [_word(rng, words, False) for _ in range(rng.integers(2, 5))]
    if rng.random() < 0.3:
        parts.insert(int(rng.integers(len(parts))), _digits(rng, int(rng.integers(1, 5))))
    line = " ".join(parts)
    return line.upper() if rng.random() < 0.6 else line.title()


def _item(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    """Name an article in one to four words, some cut short or written without vowels, with a number now and then."""
    parts = []
    for _ in range(rng.choice(4, p=[0.25, 0.4, 0.25, 0.1]) + 1):
        word = _word(rng, words, False)
        short = rng.random()
        if short < 0.15:
            word = word[0] + "".join(c for c in word[1:] if c.lower() not in "aeiou")
        elif short < 0.3:
            word = word[: rng.integers(1, 6)]
        parts.append(word)
    if rng.random() < 0.12:
        parts.append(f"{rng.choice(['', 'T', 'X'])}{rng.integers(100)}")
    item = str(rng.choice([" ", " ", " ", ".", "/", "-"])).join(parts)
    return item.upper() if rng.random() < 0.6 else item.title()


def _digits(rng: np.random.Generator, length: int) -> str:
    return "".join(map(str, rng.integers(0, 10, size=length)))


def _price(rng: np.random.Generator) -> str:
    amount = f"{int(10 ** rng.uniform(0, 3.3))}{'.' if rng.random() < 0.85 else ','}{_digits(rng, 2)}"
    sign = str(rng.choice(["$", "", "", "-", "EUR", "RM", "USD", "#"]))
    end = str(rng.choice(["", "", "", "", "%", "F", "T", "-", "A", "N"]))
    return sign + amount + end


def _date_or_time(rng: np.random.Generator) -> str:
    day, month, year = int(rng.integers(1, 29)), int(rng.integers(1, 13)), int(rng.integers(1960, 2030))
    hour, minute, second = int(rng.integers(24)), int(rng.integers(60)), int(rng.integers(60))
    return str(
        rng.choice(
            [
                f"{day:02}/{month:02}/{year}",
                f"{month}/{day}/{year % 100:02}",
                f"{year}-{month:02}-{day:02}",
                f"{day:02}.{month:02}.{year}",
                f"{day}{_MONTHS[month - 1]}{year}",
                f"{day:02}-{_MONTHS[month - 1]}-{year % 100:02}",
                f"{hour:02}:{minute:02}",
                f"{hour:02}:{minute:02}:{second:02}",
                f"{hour % 12 + 1}:{minute:02}{'AP'[minute % 2]}M",
                str(year),
            ]
        )
    )


def _measure(rng: np.random.Generator) -> str:
    number = _digits(rng, int(rng.integers(1, 4)))
    kind = rng.random()
    if kind < 0.5:
        return number + str(rng.choice(_UNITS))
    if kind < 0.65:
        return number + str(rng.choice(_STREETS))
    if kind < 0.8:
        return f"{_digits(rng, 3)}-{_digits(rng, 3)}-{_digits(rng, 4)}"
    if kind < 0.9:
        return f"({_digits(rng, 3)}){_digits(rng, 3)}-{_digits(rng, 4)}"
    return f"{number}{rng.choice(list('xX*@/-#%'))}{_digits(rng, 2)}"


def _code(rng: np.random.Generator) -> str:
    capitals = list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    letters = "".join(rng.choice(capitals, size=rng.integers(1, 5)))
    digits = _digits(rng, int(rng.integers(1, 6)))
    kind = rng.random()
    if kind < 0.35:
        return letters + digits
    if kind < 0.55:
        return digits + letters
    if kind < 0.75:
        return f"{letters}-{digits}"
    return "".join(rng.choice(list(CHARSET_36), size=rng.integers(3, 11))).upper()


def _invented(rng: np.random.Generator) -> str:
    text = ""
    for _ in range(rng.integers(1, 5)):
        text += str(rng.choice(list("bcdfghjklmnpqrstvwxz"))) + str(rng.choice(list("aeiouy")))
        if rng.random() < 0.4:
            text += str(rng.choice(list("bcdfghjklmnpqrstvwxz")))
    return _cased(rng, text)
