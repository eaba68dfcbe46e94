"""Reading fresh words: most are right, and all exact forms of the model agree."""

from __future__ import annotations

import pytest
import torch

from neuronkit.demo.reader import demo_reader
from neuronkit.demo.weights import load_parseq
from neuronkit.errors import OptionError
from tools.demo import evaluate as module
from tools.demo.evaluate import EXACT, Evaluation, evaluate, main
from tools.demo.print_pages import words_right

pytestmark = pytest.mark.tooling

WORDS = 60


@pytest.fixture(scope="module")
def evaluation():
    return evaluate(seed=20, words=WORDS)


def test_most_words_are_read_right(evaluation) -> None:
    assert len(evaluation.truth) == WORDS
    assert evaluation.share_right("dynamic") >= 0.85


def test_dynamic_static_and_reloaded_agree(evaluation) -> None:
    assert evaluation.disagreements == []
    assert {evaluation.read[form] for form in EXACT} == {evaluation.read["dynamic"]}


def test_the_variant_without_autoregression_is_read_too(evaluation) -> None:
    assert set(evaluation.read) == {*EXACT, "nar"}
    assert len(evaluation.read["nar"]) == WORDS


def test_a_model_that_writes_nothing_reads_nothing_right_and_other_seeds_give_other_words(evaluation) -> None:
    model = load_parseq()
    with torch.no_grad():
        model.head.weight.zero_()
    other = evaluate(seed=21, words=10, model=model)
    assert other.share_right("dynamic") == 0
    assert other.truth != evaluation.truth[:10]


def test_a_disagreement_is_shown_and_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read = {"dynamic": ("tea", "pot"), "static": ("tea", "pot"), "reloaded": ("tea", "pat"), "nar": ("tee", "pot")}
    wrong = Evaluation(("tea", "pot"), read)
    assert wrong.share_right("reloaded") == 0.5
    assert wrong.disagreements == [("pot", {"dynamic": "pot", "static": "pot", "reloaded": "pat"})]
    monkeypatch.setattr(module, "evaluate", lambda **_: wrong)
    assert main(["--seed", "1"]) == 1
    printed = capsys.readouterr().out
    assert "agree on 1 of 2" in printed
    assert "'pat'" in printed


def test_the_variant_may_disagree(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    read = {"dynamic": ("tea",), "static": ("tea",), "reloaded": ("tea",), "nar": ("tee",)}
    monkeypatch.setattr(module, "evaluate", lambda **_: Evaluation(("tea",), read))
    assert main(["--seed", "1"]) == 0
    assert "agree on 1 of 1" in capsys.readouterr().out


def test_no_words_are_refused() -> None:
    with pytest.raises(OptionError, match="words=0"):
        evaluate(seed=0, words=0)


def test_words_as_close_as_print_sets_them_are_found_apart() -> None:
    right, total = words_right(demo_reader(), "times", 11, 200)
    assert total == 32
    assert right >= 27
