"""ParseqProcessor: the bits of torchvision's transform, and text with confidences out of logits."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from neuronkit.errors import MissingDependencyError, NeuronKitError, OptionError, SpecError
from neuronkit.ocr import Charset, CtcProcessor, ParseqProcessor, processor_from_dict
from neuronkit.ocr.charset import CHARSET_36, CHARSET_94
from tests.pictures import noise


def logits_of(words, charset, steps=26, confidence=9.0):
    """Logits that spell words, and nonsense after each end."""
    scores = np.random.default_rng(0).normal(0, 1, (len(words), steps, len(charset) + 1)).astype(np.float32)
    for row, word in zip(scores, words, strict=True):
        for i, c in enumerate(word):
            row[i, charset.index(c) + 1] += confidence
        if len(word) < steps:
            row[len(word), 0] += confidence
    return scores


@given(st.integers(1, 300), st.integers(1, 300))
@settings(max_examples=40, deadline=None)
def test_preprocessing_is_pillows_bicubic_and_two_normalisations(height, width) -> None:
    image = noise(height, width, height * 301 + width)
    resized = np.asarray(Image.fromarray(image).resize((128, 32), Image.Resampling.BICUBIC))
    tensor = torch.from_numpy(resized.copy()).permute(2, 0, 1).float().div(255).sub(0.5).div(0.5)
    np.testing.assert_array_equal(ParseqProcessor().preprocess([image])[0], tensor.numpy())


@pytest.mark.torchvision
@pytest.mark.parametrize("tall_ratio", [None, 1.5])
@pytest.mark.parametrize("size", [(1, 1), (32, 128), (40, 300), (300, 40)], ids=str)
def test_preprocessing_is_torchvisions(size, tall_ratio) -> None:
    image = noise(*size)
    processor = ParseqProcessor(tall_ratio=tall_ratio)
    expected = processor.torchvision_transform()(Image.fromarray(image)).numpy()
    np.testing.assert_array_equal(processor.preprocess([image])[0], expected)


def test_missing_torchvision_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingDependencyError, match=r"pip install neuronkit\[torchvision\]"):
        ParseqProcessor().torchvision_transform()


def test_tall_crops_are_turned_counter_clockwise_when_asked() -> None:
    image = noise(60, 20)
    turned = ParseqProcessor().preprocess([np.rot90(image)])
    np.testing.assert_array_equal(ParseqProcessor(tall_ratio=2.0).preprocess([image]), turned)
    assert not np.array_equal(ParseqProcessor(tall_ratio=4.0).preprocess([image]), turned)


def test_text_and_confidences() -> None:
    words = ["hello", "", "a" * 26, "42"]
    scores = logits_of(words, CHARSET_36)
    results = ParseqProcessor(36).postprocess(scores)
    probabilities = torch.from_numpy(scores).softmax(-1).amax(-1)
    assert [r.text for r in results] == words
    for result, word, p in zip(results, words, probabilities, strict=True):
        assert result.confidence == pytest.approx(float(p[: len(word) + 1].prod()), rel=1e-5)
        assert result.char_confidences == pytest.approx(p[: len(word)].tolist(), rel=1e-5)


@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -np.inf, 3e38])
def test_what_follows_the_end_is_ignored(rubbish) -> None:
    scores = logits_of(["ab", "c"], CHARSET_36)
    expected = ParseqProcessor(36).postprocess(scores)
    scores[0, 3:] = rubbish
    scores[1, 2:, 5] = rubbish
    assert ParseqProcessor(36).postprocess(torch.from_numpy(scores)) == expected


@pytest.mark.parametrize("rubbish", [np.nan, np.inf])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_what_counts_has_to_be_a_number(rubbish, position) -> None:
    scores = logits_of(["abc", "ab"], CHARSET_36)
    scores[1, position, 7] = rubbish
    with pytest.raises(SpecError, match=f"word 1 that are NaN or infinite at position {position}"):
        ParseqProcessor(36).postprocess(scores)


def test_masked_classes_are_allowed() -> None:
    scores = logits_of(["abc"], CHARSET_36)
    scores[0, :, 30:] = -np.inf
    assert ParseqProcessor(36).postprocess(scores)[0].text == "abc"


@pytest.mark.parametrize("shape", [(2, 26, 36), (2, 26, 38), (26, 37), (2, 0, 37), (2, 26, 37, 1)])
def test_logits_of_another_charset_are_refused(shape) -> None:
    with pytest.raises(SpecError, match=r"expected \(N, T, 37\)"):
        ParseqProcessor(36).postprocess(np.zeros(shape, np.float32))


def test_no_words_give_no_results() -> None:
    assert ParseqProcessor(36).postprocess(np.zeros((0, 26, 37), np.float32)) == []


def test_bfloat16_logits_are_taken() -> None:
    scores = torch.from_numpy(logits_of(["abc"], CHARSET_94)).bfloat16()
    assert ParseqProcessor().postprocess(scores)[0].text == "abc"


@pytest.mark.parametrize("charset", [36, 62, 94, "36", "xyz", "36 ", Charset("36"), "äöü'\"\\"])
def test_settings_survive_json(charset) -> None:
    processor = ParseqProcessor(charset, image_size=(48, 160), tall_ratio=1.5)
    settings = json.loads(json.dumps(processor.to_dict()))
    assert settings["kind"] == "parseq"
    assert processor_from_dict(settings) == processor


@pytest.mark.parametrize(
    "options",
    [
        {"charset": 37},
        {"charset": ""},
        {"charset": "aa"},
        {"charset": None},
        {"charset": True},
        {"charset": 36.0},
        {"image_size": 32},
        {"image_size": (0, 4)},
        {"tall_ratio": 0.5},
    ],
)
def test_options_are_checked(options) -> None:
    with pytest.raises(OptionError):
        ParseqProcessor(**options)


@given(
    arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.int64, np.bool_, np.complex64]),
        st.lists(st.integers(0, 4), max_size=4).map(tuple),
    )
)
@settings(max_examples=200, deadline=None)
def test_any_logits_give_text_or_a_documented_error(scores) -> None:
    try:
        results = ParseqProcessor("ab").postprocess(scores)
    except NeuronKitError:
        return
    assert len(results) == len(scores)
    assert all(0 <= r.confidence <= 1 and len(r.char_confidences) == len(r.text) for r in results)


@pytest.mark.parametrize("cls", [ParseqProcessor, CtcProcessor])
@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_tokens_and_probabilities_are_read_like_their_logits(cls, seed) -> None:
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, 3, (3, 6, 5)).astype(np.float32))
    probabilities, tokens = logits.softmax(dim=2).max(dim=2)
    if cls is ParseqProcessor:
        ended = (tokens == 0).cumsum(dim=1) > (tokens == 0).long()
        # After the end comes anything.
        probabilities, tokens = probabilities.masked_fill(ended, 0), tokens.masked_fill(ended, 99)
    expected = cls("abcd").postprocess(logits)
    for pair in ((tokens.int(), probabilities), [tokens.numpy(), probabilities.numpy()]):
        for found, wanted in zip(cls("abcd").postprocess(pair), expected, strict=True):
            assert found.text == wanted.text
            assert found.confidence == pytest.approx(wanted.confidence, rel=1e-5)
            assert found.char_confidences == pytest.approx(wanted.char_confidences, rel=1e-5)


@pytest.mark.parametrize("cls", [ParseqProcessor, CtcProcessor])
def test_rounded_probabilities_give_a_confidence_of_at_most_one(cls) -> None:
    (result,) = cls("abcd").postprocess((np.array([[1, 0]]), np.full((1, 2), 1.004)))
    assert (result.confidence, result.char_confidences) == (1.0, (1.0,))


@pytest.mark.parametrize("cls", [ParseqProcessor, CtcProcessor])
@pytest.mark.parametrize(
    ("tokens", "probabilities", "said"),
    [
        (np.full((1, 2), 5), np.ones((1, 2)), "got token 5 in word 0; expected 0 to 4"),
        (np.full((1, 2), -1), np.ones((1, 2)), "got token -1"),
        (np.ones((1, 2)), np.ones((1, 2)), "expected whole numbers"),
        (np.ones((1, 2), int), np.ones((1, 3)), "as many probabilities"),
        (np.ones((1, 2), int), np.full((1, 2), np.nan), "NaN or infinite"),
        (np.ones((1, 2), int), np.full((1, 2), 2.0), "got 2 as a probability in word 0; expected 0 to 1"),
        (np.ones((1, 2), int), np.full((1, 2), -0.5), "got -0.5 as a probability"),
        (np.ones(2, int), np.ones(2), "expected whole numbers"),
    ],
)
def test_tokens_are_checked(cls, tokens, probabilities, said) -> None:
    with pytest.raises(SpecError, match=said):
        cls("abcd").postprocess((tokens, probabilities))
    with pytest.raises(SpecError, match="got 1 outputs"):
        cls("abcd").postprocess([tokens])
