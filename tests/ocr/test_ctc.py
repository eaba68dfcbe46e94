"""CTC decoding, and texts brought into a charset."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronkit.errors import SpecError
from neuronkit.ocr import Charset, CtcProcessor, processor_from_dict

CHARSET = "abc"


def path_logits(path, strength=8.0):
    """Logits along a path of classes: "-" is the blank."""
    scores = np.zeros((1, len(path), len(CHARSET) + 1), np.float32)
    for t, c in enumerate(path):
        scores[0, t, 0 if c == "-" else CHARSET.index(c) + 1] = strength
    return scores


@pytest.mark.parametrize(
    ("path", "text"),
    [("aabbcc", "abc"), ("--a--", "a"), ("a-a", "aa"), ("aaa", "a"), ("----", ""), ("-ab-bc", "abbc"), ("c", "c")],
)
def test_repeats_are_one_character_and_blanks_none(path, text) -> None:
    (result,) = CtcProcessor(CHARSET).postprocess(path_logits(path))
    assert result.text == text
    p = np.exp(8) / (np.exp(8) + 3)
    assert result.confidence == pytest.approx(p ** len(path), rel=1e-5)
    assert result.char_confidences == pytest.approx([p] * len(text), rel=1e-5)


@given(st.text("abc-", min_size=1, max_size=20))
def test_decoding_undoes_any_alignment(path) -> None:
    collapsed = "".join(c for i, c in enumerate(path) if c != "-" and (i == 0 or path[i - 1] != c))
    assert CtcProcessor(CHARSET).postprocess(path_logits(path))[0].text == collapsed


def test_a_characters_confidence_is_that_of_its_surest_position() -> None:
    scores = path_logits("aa")
    scores[0, 1, 1] = 2.0
    (result,) = CtcProcessor(CHARSET).postprocess(scores)
    assert result.char_confidences == pytest.approx([np.exp(8) / (np.exp(8) + 3)], rel=1e-5)


def test_wrong_logits_are_refused() -> None:
    with pytest.raises(SpecError, match=r"expected \(N, T, 4\); transpose"):
        CtcProcessor(CHARSET).postprocess(np.zeros((26, 2, 5)))
    with pytest.raises(SpecError, match="NaN or infinite"):
        CtcProcessor(CHARSET).postprocess(np.full((1, 2, 4), np.nan))


def test_settings_survive_json() -> None:
    processor = CtcProcessor(CHARSET, image_size=(32, 100))
    assert processor_from_dict(json.loads(json.dumps(processor.to_dict()))) == processor


@pytest.mark.parametrize(
    ("charset", "text"),
    [(36, "hellowrld42"), (62, "HelloWrld42"), (94, "Hello,Wrld-42!"), ("ABC", "BC"), ("0123", "2")],
)
def test_texts_are_adapted_to_a_charset(charset, text) -> None:
    given_text = "xbcx" if charset == "ABC" else "Hello, Wörld-42!"
    assert Charset.named(charset).adapt(given_text) == text
