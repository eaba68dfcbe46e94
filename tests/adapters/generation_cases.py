"""Mixtures of generation settings, compared with `generate`: `python -m tests.adapters.generation_cases --cases 60`.

Case i of a family is the same for everybody: `settings_of(i)`. A few run with the tests.
"""

from __future__ import annotations

import argparse
import random
import warnings
from collections.abc import Callable
from typing import Any

import torch

import neuronkit
from neuronkit.adapters.huggingface import HuggingFaceOptions
from neuronkit.errors import SpecError
from tests.adapters.huggingface_models import bart, lively, marian, roberta, text_model, trocr

IMAGES = ("trocr", "sinusoidal", "roberta")
OWN: dict[str, Callable[[], Any]] = {
    "trocr": lambda: lively(trocr(0), 2.0, 16.0),
    "sinusoidal": lambda: lively(trocr(2, use_learned_position_embeddings=False), 4.0, 8.0),
    "roberta": lambda: lively(roberta(0), -0.5, 8.0),
    "marian": lambda: lively(marian(1), 4.0, 8.0),
    "bart": lambda: lively(bart(1), 2.0, 8.0),
}
FAMILIES = (*OWN, "T5", "MT5", "UMT5", "LongT5", "MBart", "M2M100", "Pegasus", "PegasusX", "PLBart", "Mvp")
OPTIONAL: dict[str, list[Any]] = {
    "no_repeat_ngram_size": [1, 2, 3],
    "repetition_penalty": [1.3, 0.8, 2.0],
    "bad_words_ids": [[[5], [6, 7]], [[4, 8], [9, 9, 9]], [[11]]],
    "min_length": [3, 6],
    "forced_eos_token_id": [2],
    "forced_bos_token_id": [9],
    "suppress_tokens": [[3, 4, 5, 20, 30]],
    "begin_suppress_tokens": [[2, 3, 12]],
    "exponential_decay_length_penalty": [(2, 1.3), (4, 1.05)],
    "renormalize_logits": [True],
    "encoder_no_repeat_ngram_size": [1, 2],
    "encoder_repetition_penalty": [1.5, 0.7],
    "sequence_bias": [[[[5], 3.0], [[6, 7], -4.0]], [[[2, 8], 5.0], [[9, 9, 9], 2.0], [[11], -6.0]]],
}


def settings_of(case: int) -> dict[str, Any]:
    """Settings, with "rows", "method" and "end", a factor of the weights that give EOS."""
    draw = random.Random(case)
    beams = draw.choice([1, 2, 2, 3, 4, 5])
    settings: dict[str, Any] = {
        "rows": draw.choice([1, 3, 8]),
        "method": draw.choice(["auto", "stepwise", "windowed"] if beams == 1 else ["auto", "stepwise"]),
        "end": draw.choice([-1, 0.3, 1, 1, 2]),
        "max_length": draw.choice([2, 5, 9, 13, 20]),
        "num_beams": beams,
    }
    if beams > 1:
        settings["length_penalty"] = draw.choice([1.0, 0.0, -1.0, 2.0, 0.6])
        settings["early_stopping"] = draw.choice([True, False, "never"])
        settings["num_return_sequences"] = draw.choice([1, 1, beams])
    if draw.random() < 0.25:
        settings["further_end"] = 7
    return settings | {k: draw.choice(v) for k, v in OPTIONAL.items() if draw.random() < 0.25}


def compare(family: str, case: int) -> str:
    """What is wrong with a case: "" for nothing, or the refusal."""
    settings = settings_of(case)
    rows, method, end = settings.pop("rows"), settings.pop("method"), settings.pop("end")
    further = settings.pop("further_end", None)
    model: Any = OWN[family]() if family in OWN else lively(text_model(family, 1), 2.0, 4.0)
    generation = model.generation_config
    with torch.no_grad():
        model.get_output_embeddings().weight[generation.eos_token_id] *= end
    if further is not None:
        settings["eos_token_id"] = [generation.eos_token_id, further]
    for name, value in settings.items():
        setattr(generation, name, value)
    options = HuggingFaceOptions(method=method, source_length=None if family in IMAGES else 9)
    try:
        static: Any = neuronkit.make_static(model, batch_size=rows, options=options)
    except SpecError as error:
        return f"refused: {error}"
    inputs = static.example_inputs(case)
    with torch.no_grad():
        given, expected = static(*inputs), static.reference(*inputs)
    if settings["num_beams"] == 1:
        same = static.decoded(given) == static.decoded(expected)
    else:
        same = torch.equal(given[0], expected[0]) and torch.allclose(given[1], expected[1], rtol=1e-5, atol=1e-4)
    return "" if same else f"differs: {family} {case} {settings_of(case)}"


def main() -> None:
    import transformers

    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=60, help="of each family")
    parser.add_argument("--families", nargs="*", default=FAMILIES)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    found = [compare(family, case) for family in given.families for case in range(given.cases)]
    print(*sorted({text for text in found if text}), sep="\n")
    refused, wrong = (sum(text.startswith(kind) for text in found) for kind in ("refused", "differs"))
    print(f"transformers {transformers.__version__}: {len(found)} cases, {refused} refused, {wrong} differ")


if __name__ == "__main__":
    main()
