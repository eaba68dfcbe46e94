"""Character sets and the token numbering that PARSeq models use."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuronkit import checks
from neuronkit.errors import OptionError
from neuronkit.ocr._arrays import real_numbers

CHARSET_36 = string.digits + string.ascii_lowercase
CHARSET_62 = CHARSET_36 + string.ascii_uppercase
CHARSET_94 = CHARSET_62 + string.punctuation
NAMED_CHARSETS = {"36": CHARSET_36, "62": CHARSET_62, "94": CHARSET_94}


@dataclass(frozen=True)
class Charset:
    """The characters a recogniser can write, numbered as in baudm/parseq.

    Token 0 ends a word (EOS), tokens 1..n are the characters in order, n + 1 begins a word (BOS)
    and n + 2 pads (PAD). Logits have n + 1 classes: BOS and PAD are never predicted.

    Args:
        characters: The characters in order, without repetition.

    Raises:
        OptionError: If a character repeats, or there is none.

    Examples:
        >>> len(neuronkit.ocr.Charset("abc"))
        3
    """

    characters: str

    def __post_init__(self) -> None:
        if not isinstance(self.characters, str):
            raise OptionError(f"got characters={checks.shown(self.characters)}; expected text; give them as one string")
        repeated = sorted(c for c, times in Counter(self.characters).items() if times > 1)
        if repeated or not self.characters:
            found = f"repeats {''.join(repeated)!r:.200}" if repeated else "is empty"
            raise OptionError(f"charset {found}; give each character once, in the order of the model's classes")

    @classmethod
    def named(cls, charset: str | int | Charset) -> Charset:
        """Take a charset as it is, by the size of a published one (36, 62, 94), or as a string of characters.

        Raises:
            OptionError: If it is none of these, or a character repeats.
        """
        if isinstance(charset, Charset):
            return charset
        if isinstance(charset, bool) or not isinstance(charset, (str, int)):
            raise OptionError(
                f"got charset={checks.shown(charset)}; expected 36, 62, 94, or a string of characters; "
                "give one, of a list ''.join(characters)"
            )
        if isinstance(charset, int) and charset not in map(int, NAMED_CHARSETS):
            raise OptionError(
                f"got charset={checks.shown(charset)}; expected 36, 62 or 94; give the characters themselves"
            )
        return cls(NAMED_CHARSETS.get(str(charset), str(charset)))

    def __len__(self) -> int:
        return len(self.characters)

    @property
    def eos_id(self) -> int:
        return 0

    @property
    def bos_id(self) -> int:
        return len(self.characters) + 1

    @property
    def pad_id(self) -> int:
        return len(self.characters) + 2

    @property
    def num_classes(self) -> int:
        """Number of classes in the logits: the characters and EOS."""
        return len(self.characters) + 1

    @property
    def num_tokens(self) -> int:
        """Number of rows in the embedding: the characters, EOS, BOS and PAD."""
        return len(self.characters) + 3

    def adapt(self, text: str) -> str:
        """Reduce a text to this charset: to its case where it has only one, without the characters that it lacks.

        For comparing what was read with what was written (baudm/parseq, `CharsetAdapter`).

        Raises:
            OptionError: If `text` is not a string.
        """
        if not isinstance(text, str):
            raise OptionError(f"got text={checks.shown(text)}; expected text; give a str")
        if self.characters == self.characters.lower():
            text = text.lower()
        elif self.characters == self.characters.upper():
            text = text.upper()
        return "".join(character for character in text if character in self.characters)

    def encode(self, labels: Sequence[str]) -> NDArray[np.int64]:
        """Turn words into token ids.

        Args:
            labels: N words.

        Returns:
            (N, L) int64: BOS, the characters, EOS, then PAD up to the longest word.

        Raises:
            OptionError: If there is no word, or a word holds a character outside the charset.
        """
        if not isinstance(labels, (list, tuple)) or not all(isinstance(label, str) for label in labels):
            raise OptionError(
                f"got labels={checks.shown(labels)}; expected a list of words; give strings, also for a single word"
            )
        if not labels:
            raise OptionError("got labels=[]; expected at least one word; leave the call out where there are none")
        index = {character: i for i, character in enumerate(self.characters, start=1)}
        unknown = sorted({c for label in labels for c in label if c not in index})
        if unknown:
            raise OptionError(
                f"got labels with {checks.shown(''.join(unknown))}; expected characters of the charset of {len(self)}; "
                "remove the others from the labels, or choose a larger charset"
            )
        ids = np.full((len(labels), max(map(len, labels)) + 2), self.pad_id, dtype=np.int64)
        for row, label in zip(ids, labels, strict=True):
            row[: len(label) + 2] = [self.bos_id, *(index[c] for c in label), self.eos_id]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Turn the token ids of one prediction into text, up to the first EOS.

        Raises:
            OptionError: If an id before it is neither EOS nor a character.
        """
        array = real_numbers(ids)
        if array is None or array.ndim != 1 or (array != np.rint(array)).any() or not np.isfinite(array).all():
            raise OptionError(f"got ids={checks.shown(ids)}; expected a list of whole numbers; give token ids")
        tokens = [int(i) for i in array.tolist()]
        if self.eos_id in tokens:
            tokens = tokens[: tokens.index(self.eos_id)]
        unknown = [i for i in tokens if not 1 <= i <= len(self)]
        if unknown:
            raise OptionError(
                f"got token {unknown[0]}; expected 1 to {len(self)}, the charset's characters; "
                "give the charset that the model was trained with"
            )
        return "".join(self.characters[i - 1] for i in tokens)
