"""Read new words with every variant of the recogniser: ``python -m tools.demo.evaluate --seed 7``.

Reports the share read correctly, and checks that the dynamic model, its exact static form, and that form compiled for
the CPU, saved and loaded again, read the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from neuronkit.adapters.parseq import StaticPARSeq
from neuronkit.artifact import load
from neuronkit.compile import compile_for_inferentia
from neuronkit.demo.render import render_word
from neuronkit.demo.weights import load_parseq
from neuronkit.errors import OptionError
from neuronkit.models.parseq import PARSeq
from neuronkit.ocr.parseq import ParseqProcessor

EXACT = ("dynamic", "static", "reloaded")
# Keeps these words apart from those of the training with the same seed.
_UNSEEN = 0x0C3
_BATCH_SIZE = 50


@dataclass(frozen=True)
class Evaluation:
    """What every variant of the recogniser read.

    Attributes:
        truth: The words.
        read: For "dynamic", "static", "reloaded" and "nar" (the variant without autoregression and refinement), what
            each read, in the order of `truth`.
    """

    truth: tuple[str, ...]
    read: dict[str, tuple[str, ...]]

    def share_right(self, form: str) -> float:
        """Share of words that one variant read correctly."""
        return float(np.mean([a == b for a, b in zip(self.read[form], self.truth, strict=True)]))

    @property
    def disagreements(self) -> list[tuple[str, dict[str, str]]]:
        """Words that the dynamic, the static and the reloaded model do not all read alike, and what each read."""
        found = []
        for i, truth in enumerate(self.truth):
            texts = {form: self.read[form][i] for form in EXACT}
            if len(set(texts.values())) > 1:
                found.append((truth, texts))
        return found

    def __str__(self) -> str:
        count = len(self.truth)
        lines = [f"{form:>9}: {self.share_right(form):7.2%} of {count} words right" for form in self.read]
        lines.append(f"dynamic, static and reloaded agree on {count - len(self.disagreements)} of {count}")
        lines += [f"  disagree on {truth!r}: {texts}" for truth, texts in self.disagreements]
        return "\n".join(lines)


def evaluate(*, seed: int, words: int = 500, model: PARSeq | None = None, progress: bool = False) -> Evaluation:
    """Render new words and read them.

    Args:
        seed: The words follow from it.
        words: How many.
        model: The recogniser; None takes the demo's own.
        progress: Show a progress bar on stderr.

    Raises:
        OptionError: If `words` is not positive.
        ParityError: If the static or the compiled model's numbers do not agree with the dynamic model's.
    """
    if words < 1:
        raise OptionError(f"words={words}: expected 1 or more")
    model = (load_parseq() if model is None else model).eval()
    processor = ParseqProcessor(charset=model.charset)
    crops, truth = _render(seed, words)
    images = processor.preprocess(crops)
    read = {}
    for form, function in tqdm(_forms(model, processor).items(), desc="evaluate", disable=not progress):
        read[form] = tuple(_read(function, processor, images))
    return Evaluation(truth, read)


def _render(seed: int, words: int) -> tuple[list[NDArray[np.uint8]], tuple[str, ...]]:
    pairs = [render_word(np.random.default_rng([seed, i, _UNSEEN])) for i in range(words)]
    return [crop for crop, _ in pairs], tuple(label for _, label in pairs)


def _forms(model: PARSeq, processor: ParseqProcessor) -> dict[str, Callable[[Tensor], Tensor]]:
    static = StaticPARSeq(model, batch_size=_BATCH_SIZE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "parseq.pt"
        compile_for_inferentia(static, target="cpu", processor=processor).save(path)
        reloaded = load(path)
    nar = StaticPARSeq(model, batch_size=_BATCH_SIZE, decoding="nar", refine_iters=0)
    return {"dynamic": model, "static": static, "reloaded": reloaded, "nar": nar}


def _read(function: Callable[[Tensor], Tensor], processor: ParseqProcessor, images: NDArray[np.float32]) -> list[str]:
    """Read in batches of the fixed size, the last one filled up with its first word."""
    texts: list[str] = []
    for begin in range(0, len(images), _BATCH_SIZE):
        batch = images[begin : begin + _BATCH_SIZE]
        filling = np.repeat(batch[:1], _BATCH_SIZE - len(batch), axis=0)
        with torch.no_grad():
            logits = function(torch.from_numpy(np.concatenate([batch, filling])))
        texts += [result.text for result in processor.postprocess(logits)[: len(batch)]]
    return texts


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status, 1 when the variants disagree."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo.evaluate", description=__doc__)
    parser.add_argument("--seed", type=int, required=True, help="the words follow from it")
    parser.add_argument("--words", type=int, default=500)
    parser.add_argument("--weights", type=Path, help="a file of tools.demo.train; else those of the package")
    given = parser.parse_args(arguments)
    model: Any = None if given.weights is None else load_parseq(given.weights)
    evaluation = evaluate(seed=given.seed, words=given.words, model=model, progress=sys.stderr.isatty())
    print(evaluation)
    return 1 if evaluation.disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
