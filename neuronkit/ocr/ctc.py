"""Text out of recognisers with connectionist temporal classification (CRNN and its like)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuronkit.errors import SpecError
from neuronkit.ocr._arrays import to_float
from neuronkit.ocr.charset import Charset
from neuronkit.ocr.parseq import ParseqProcessor, Recognition, check_tokens, most_likely, tokens_and_probabilities


@dataclass(frozen=True)
class CtcProcessor(ParseqProcessor):
    """Turns word images into a CTC recogniser's input, and its logits into text.

    Images are scaled and normalised as for PARSeq, which is how baudm/parseq feeds its CRNN.

    Args:
        charset: See `ParseqProcessor`. Class 0 of the logits is the blank, classes 1..n are the characters in order.
        image_size: See `ParseqProcessor`.
        tall_ratio: See `ParseqProcessor`.
        raw_images: See `ParseqProcessor`.

    Raises:
        OptionError: If a value is out of its range.
    """

    kind: ClassVar[str] = "ctc"

    def postprocess(self, logits: Any) -> list[Recognition]:
        """Read the text out of logits along the best path: repeats are one character, blanks are none.

        Args:
            logits: (N, T, C) array or tensor, C the charset's size + 1. Or a pair: the likeliest class of each
                position, (N, T) of an integer type, and its probability, (N, T) floating point.

        Returns:
            N results. The confidence is the probability of the whole path; that of a character is the highest of the
            positions it spans.

        Raises:
            SpecError: If the shape does not fit the charset, or a number is NaN or infinite or no character.
        """
        charset = Charset.named(self.charset)
        if isinstance(logits, (tuple, list)):
            ids, probabilities = tokens_and_probabilities(logits)
        else:
            scores = to_float(logits, "logits")
            if scores.ndim != 3 or scores.shape[2] != len(charset) + 1 or scores.shape[1] == 0:
                raise SpecError(
                    f"got logits of shape {scores.shape} for a charset of {len(charset)} characters and the blank; "
                    f"expected (N, T, {len(charset) + 1}); transpose (T, N, C) first"
                )
            ids, probabilities = most_likely(scores)
        if not np.isfinite(probabilities).all():
            raise SpecError(
                "got logits that are NaN or infinite; expected finite ones; check the recogniser's weights, and its "
                "precision if it runs in half precision"
            )
        for index, row in enumerate(ids):
            check_tokens(row, len(charset), index)
        return [_read(row, p.astype(np.float64), charset) for row, p in zip(ids, probabilities, strict=True)]


def collapse(ids: Iterable[int], blank: int = 0) -> list[int]:
    """What a path of classes says: repeats are one character, blanks none."""
    return [one for one, _ in groupby(ids) if one != blank]


def _read(ids: NDArray[np.intp], probabilities: NDArray[np.float64], charset: Charset) -> Recognition:
    begins = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
    best = np.maximum.reduceat(probabilities, begins)
    spoken = ids[begins] != 0
    text = "".join(charset.characters[i - 1] for i in ids[begins][spoken].tolist())
    return Recognition(text, float(probabilities.prod()), tuple(best[spoken].tolist()))
