"""Mixtures of generation settings, compared with `generate`: `python -m tests.adapters.generation_cases`.

The list is `generation_cases.json`, the same for each family: every two values of two settings meet in one of its
cases. `--write` makes it anew. A few run with the tests.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import neuronkit
from neuronkit.adapters.huggingface import HuggingFaceOptions
from neuronkit.errors import SpecError
from tests.adapters import huggingface_models as models
from tests.adapters.huggingface_models import lively, text_model

CASES = 92
LIST = Path(__file__).with_suffix(".json")
OWN: dict[str, Callable[[], Any]] = {
    "trocr": lambda: lively(models.trocr(0), 2.0, 16.0),
    "trocr-sinusoidal": lambda: lively(models.trocr(2, use_learned_position_embeddings=False), 4.0, 8.0),
    "vit-roberta": lambda: lively(models.roberta(0), -0.5, 8.0),
    "vit-bert": lambda: lively(models.bert(0), 2.0, 8.0),
    "vit-gpt2": lambda: lively(models.gpt2(0), 2.0, 8.0),
    "vit-xglm": lambda: lively(models.xglm(0), 2.0, 8.0),
    "donut": lambda: lively(models.donut(1), 2.0, 4.0),
    "nougat": lambda: lively(models.nougat(0), 2.0, 8.0),
    "pix2struct": lambda: lively(models.pix2struct(0), 2.0, 8.0),
    "whisper": lambda: lively(models.whisper(3), 2.0, 16.0),
    "marian": lambda: lively(models.marian(1), 4.0, 8.0),
    "bart": lambda: lively(models.bart(1), 2.0, 8.0),
}
TEXTS = ("T5", "MT5", "UMT5", "LongT5", "MBart", "M2M100", "Pegasus", "PegasusX", "PLBart", "Mvp")
FAMILIES = (*OWN, *TEXTS)
ALWAYS: dict[str, list[Any]] = {
    "rows": [1, 3, 8],
    "padded": [True, False],
    "method": ["auto", "stepwise"],
    # A factor of the weights that give EOS: some rows end at once, some never.
    "end": [-1, 0.3, 1, 2],
    "max_length": [2, 5, 9, 13, 20],
    "num_beams": [1, 2, 3, 5],
}
OF_BEAMS: dict[str, list[Any]] = {
    "length_penalty": [1.0, 0.0, -1.0, 2.0],
    "early_stopping": [True, False, "never"],
    "num_return_sequences": [1, 2],
}
OPTIONAL: dict[str, list[Any]] = {
    "further_end": [7],
    "no_repeat_ngram_size": [1, 2, 3],
    "repetition_penalty": [1.3, 0.8],
    "encoder_no_repeat_ngram_size": [1, 2],
    "encoder_repetition_penalty": [1.5, 0.7],
    "bad_words_ids": [[[5], [6, 7]], [[4, 8], [9, 9, 9], [11]]],
    "sequence_bias": [[[[5], 3.0], [[6, 7], -4.0]], [[[2, 8], 5.0], [[9, 9, 9], 2.0], [[11], -6.0]]],
    "min_length": [3, 6],
    "forced_bos_token_id": [9],
    "forced_eos_token_id": [2],
    "suppress_tokens": [[3, 4, 5, 20, 30]],
    "begin_suppress_tokens": [[2, 3, 12]],
    "exponential_decay_length_penalty": [[2, 1.3], [4, 1.05]],
    "renormalize_logits": [True],
}


def write_list(seed: int = 0) -> None:
    """Cases until every two values have met, each the one of forty drawn that lets most of them meet; then any."""
    draw = random.Random(seed)

    def drawn() -> dict[str, Any]:
        case = {name: draw.choice(values) for name, values in ALWAYS.items()}
        if case["num_beams"] > 1:
            case |= {name: draw.choice(values) for name, values in OF_BEAMS.items()}
        return case | {name: draw.choice(values) for name, values in OPTIONAL.items() if draw.random() < 0.22}

    def pairs(case: dict[str, Any]) -> set[Any]:
        return set(itertools.combinations([(name, json.dumps(value)) for name, value in sorted(case.items())], 2))

    factors = {**ALWAYS, **OF_BEAMS, **OPTIONAL}
    left = {
        pair
        for names in itertools.combinations(sorted(factors), 2)
        for values in itertools.product(*(factors[name] for name in names))
        for pair in pairs(dict(zip(names, values)))
    }
    left -= {pair for pair in left if ("num_beams", "1") in pair and {name for name, _ in pair} & set(OF_BEAMS)}
    cases: list[Any] = []
    while left or len(cases) < CASES:
        best = max((drawn() for _ in range(40)), key=lambda case: len(pairs(case) & left))
        left -= pairs(best)
        cases.append(best)
    LIST.write_text("[\n" + ",\n".join(map(json.dumps, cases)) + "\n]\n")


def settings_of(case: int) -> dict[str, Any]:
    """A case of the list, without what the installed release itself gives NaN for, or gives to other rows."""
    import transformers

    settings: dict[str, Any] = json.loads(LIST.read_text())[case]
    if int(transformers.__version__.split(".")[0]) < 5:
        if settings["num_beams"] > 1:
            settings.pop("encoder_repetition_penalty", None)
        if "exponential_decay_length_penalty" in settings:
            for name in ("min_length", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "forced_eos_token_id"):
                settings.pop(name, None)
    return settings


def compare(family: str, case: int, method: str | None = None) -> str:
    """What is wrong with a case: "" for nothing, or the refusal. With a method given, it is decoded greedily."""
    settings = settings_of(case)
    own = {name: settings.pop(name) for name in ("rows", "padded", "method", "end")}
    if method is not None:
        own["method"] = method
        settings = {name: value for name, value in settings.items() if name not in OF_BEAMS} | {"num_beams": 1}
    further = settings.pop("further_end", None)
    if family == "whisper":
        # Refused: Whisper's generate repeats its inputs instead.
        settings.pop("num_return_sequences", None)
    model: Any = OWN[family]() if family in OWN else lively(text_model(family, 1), 2.0, 4.0)
    generation = model.generation_config
    with torch.no_grad():
        model.get_output_embeddings().weight[generation.eos_token_id] *= own["end"]
    if further is not None:
        settings["eos_token_id"] = [generation.eos_token_id, further]
    for name, value in settings.items():
        setattr(generation, name, tuple(value) if name == "exponential_decay_length_penalty" else value)
    source = 9 if model.main_input_name in ("input_ids", "flattened_patches") else None
    try:
        options = HuggingFaceOptions(method=own["method"], source_length=source)
        static: Any = neuronkit.make_static(model, batch_size=own["rows"], options=options)
    except SpecError as error:
        return f"refused: {error}"
    inputs = static.example_inputs(case)
    if len(inputs) > 1 and not own["padded"]:
        inputs = (inputs[0], torch.ones_like(inputs[1]))
    with torch.no_grad():
        given, expected = static(*inputs), static.reference(*inputs)
    if settings["num_beams"] == 1:
        same = static.decoded(given) == static.decoded(expected)
    else:
        same = torch.equal(given[0], expected[0]) and torch.allclose(given[1], expected[1], rtol=1e-5, atol=1e-4)
    return "" if same else f"differs: {family} {case} {own['method']} {settings_of(case)}"


def main() -> None:
    import transformers

    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true", help="make the list anew")
    parser.add_argument("--every", type=int, default=1, help="take every so many-th case")
    parser.add_argument("--method", help="take this method for all, greedily")
    parser.add_argument("--families", nargs="*", default=FAMILIES)
    given = parser.parse_args()
    if given.write:
        write_list()
        return
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    cases = len(json.loads(LIST.read_text()))
    found, start = [], time.monotonic()
    for offset, family in enumerate(given.families):
        of_family = [compare(family, case, given.method) for case in range(offset % given.every, cases, given.every)]
        refused, wrong = (sum(text.startswith(kind) for text in of_family) for kind in ("refused", "differs"))
        print(f"{family}: {len(of_family)} cases, {refused} refused, {wrong} differ", flush=True)
        found += of_family
    print(*sorted({text for text in found if text}), sep="\n")
    refused, wrong = (sum(text.startswith(kind) for text in found) for kind in ("refused", "differs"))
    version, seconds = transformers.__version__, time.monotonic() - start
    print(f"transformers {version}: {len(found)} cases, {refused} refused, {wrong} differ, {seconds:.0f} s")


if __name__ == "__main__":
    main()
