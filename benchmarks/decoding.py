"""Decoding methods of PARSeq, on the same weights, measured in turns in one process.

    python benchmarks/decoding.py                  # random weights of the published size, and the demo's trained ones
    python benchmarks/decoding.py --quick          # one batch size, one length
    python benchmarks/decoding.py --json out/decoding.json --plot out/decoding.png

The dynamic model runs all its steps on random weights, which end no word, and stops early on trained ones. Before
anything is timed, every exact method must give the dynamic model's text for every image. Times are medians with
quartiles over the rounds; a ratio is the median of the rounds' ratios to the dynamic model, below 1 is faster. HLO
instructions are counted where torch-xla is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plotting import subplots
from torch import Tensor
from tqdm import tqdm

import neuronkit
from neuronkit import StaticPARSeq, compile_for_inferentia
from neuronkit.demo.render import render_word
from neuronkit.demo.weights import load_parseq
from neuronkit.models import PARSeq
from neuronkit.ocr import ParseqProcessor

METHODS = ("fixed_point", "stepwise", "unrolled")
POST = "post's variant"


def main() -> None:
    """Run the comparison, print the table, write JSON and plot."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    batches, lengths = ((8,), (25,)) if arguments.quick else ((1, 8, 32), (25, 50))
    cases = [("random", batch, length) for length in lengths for batch in batches]
    cases += [("trained", batch, 25) for batch in batches]
    rows: list[dict[str, Any]] = []
    for weights, batch, length in tqdm(cases, desc="decoding"):
        rows += measure(weights, batch, length, arguments.rounds)
    report = {
        "neuronkit": neuronkit.__version__,
        "torch": torch.__version__,
        "threads": arguments.threads,
        "processor": platform.processor() or platform.machine(),
        "rounds": arguments.rounds,
        "rows": rows,
        "words": read_words(arguments.words, arguments.seed),
    }
    print(table(report))
    for path in (arguments.json, arguments.plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    draw(report, arguments.plot)


def measure(weights: str, batch: int, length: int, rounds: int) -> list[dict[str, Any]]:
    """Check and time every method on one set of weights."""
    model, images = _model_and_images(weights, batch, length)
    stop = length if weights == "random" else None
    candidates: dict[str, StaticPARSeq] = {
        **{method: StaticPARSeq(model, batch_size=batch, method=method) for method in METHODS},
        POST: StaticPARSeq(model, batch_size=batch, decoding="nar", refine_iters=0),
    }
    compiled = {name: compile_for_inferentia(static, target="cpu") for name, static in candidates.items()}
    with torch.no_grad():
        expected = _texts(model(images, stop))
        agreement = {name: _agreement(_texts(run(images)), expected) for name, run in compiled.items()}
        for method in METHODS:
            if agreement[method] < 1.0:
                raise SystemExit(f"{method} disagrees with the dynamic model on {weights} weights; nothing was timed")
        functions: dict[str, Callable[[], Any]] = {"dynamic": lambda: model(images, stop)}
        functions["encoder alone"] = lambda: model.encode(images)
        for name, run in compiled.items():
            functions[name] = partial(run, images)
        times = _in_turns(functions, rounds)
    rows = []
    for name, taken in times.items():
        low, median, high = statistics.quantiles(taken, n=4)
        rows.append(
            {
                "weights": weights,
                "batch": batch,
                "length": length,
                "method": name,
                "median_ms": 1e3 * median,
                "iqr_ms": 1e3 * (high - low),
                "ratio": statistics.median(t / d for t, d in zip(taken, times["dynamic"])),
                "agreement": agreement.get(name),
                "passes": candidates[name].passes(images) if name in candidates else None,
                "operators": _operators(candidates[name]) if name in candidates else None,
                "hlo_instructions": _hlo_instructions(candidates[name]) if name in candidates else None,
            }
        )
    return rows


def read_words(count: int, seed: int) -> dict[str, Any]:
    """Share of fresh words that the trained weights read right, exactly and by the post's variant, and the passes."""
    model = load_parseq()
    crops, truth = _words(seed, count)
    images = torch.from_numpy(ParseqProcessor(charset=model.charset).preprocess(crops))
    exact, post = StaticPARSeq(model), StaticPARSeq(model, decoding="nar", refine_iters=0)
    right = {"dynamic": 0, "exact": 0, POST: 0}
    agreement, passes = 0, []
    with torch.no_grad():
        for image, word in zip(tqdm(images.split(1), desc="words"), truth):
            texts = {"dynamic": _texts(model(image)), "exact": _texts(exact(image)), POST: _texts(post(image))}
            for name, (text,) in texts.items():
                right[name] += model.charset.decode(text) == word
            agreement += texts["exact"] == texts["dynamic"]
            passes.append(exact.passes(image) - exact.decoding.refine_iters)
    return {
        "count": count,
        "right": {name: number / count for name, number in right.items()},
        "agreement": agreement / count,
        "passes_mean": statistics.mean(passes),
        "passes_max": max(passes),
    }


def table(report: dict[str, Any]) -> str:
    """The report as text."""
    lines = [f"torch {report['torch']}, {report['threads']} thread(s), {report['rounds']} rounds"]
    head = f"{'weights':8} {'batch':>5} {'len':>4} {'method':16} {'ms (IQR)':>18} {'ratio':>6} {'passes':>6}"
    lines.append(f"{head} {'aten':>6} {'HLO':>7} {'agree':>6}")
    for row in report["rows"]:
        ms = f"{row['median_ms']:.1f} ({row['iqr_ms']:.1f})"
        cells = [row[name] if row[name] is not None else "" for name in ("passes", "operators", "hlo_instructions")]
        agree = "" if row["agreement"] is None else f"{row['agreement']:.0%}"
        lines.append(
            f"{row['weights']:8} {row['batch']:5} {row['length']:4} {row['method']:16} {ms:>18} {row['ratio']:6.2f} "
            f"{cells[0]:>6} {cells[1]:>6} {cells[2]:>7} {agree:>6}"
        )
    words = report["words"]
    right = ", ".join(f"{name} {share:.1%}" for name, share in words["right"].items())
    lines.append(f"{words['count']} fresh words right: {right}; exact agrees on {words['agreement']:.1%}")
    lines.append(
        f"fixed point: {words['passes_mean']:.2f} passes a word, {words['passes_max']} at most, guess included"
    )
    return "\n".join(lines)


def draw(report: dict[str, Any], path: Path) -> None:
    """Time relative to the dynamic model, one group of bars for each case."""
    cases = list(dict.fromkeys((r["weights"], r["batch"], r["length"]) for r in report["rows"]))
    names = [n for n in dict.fromkeys(r["method"] for r in report["rows"]) if n != "dynamic"]
    figure, axes = subplots(size=(1.5 + 1.2 * len(cases), 4))
    for i, name in enumerate(names):
        ratios = [r["ratio"] for r in report["rows"] if r["method"] == name]
        axes.bar([c + i * 0.8 / len(names) for c in range(len(cases))], ratios, 0.8 / len(names), label=name)
    axes.axhline(1.0, color="black", linewidth=1)
    labels = [f"{weights}\nbatch {batch}\nlength {length}" for weights, batch, length in cases]
    axes.set_xticks([c + 0.4 for c in range(len(cases))], labels)
    axes.set_ylabel("time / dynamic model")
    axes.legend(ncols=len(names), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure.savefig(path, dpi=110)


def _model_and_images(weights: str, batch: int, length: int) -> tuple[PARSeq, Tensor]:
    if weights == "random":
        torch.manual_seed(0)
        return PARSeq(94, max_label_length=length).eval(), torch.randn(batch, 3, 32, 128)
    model = load_parseq()
    crops, _ = _words(0, batch)
    return model, torch.from_numpy(ParseqProcessor(charset=model.charset).preprocess(crops))


def _words(seed: int, count: int) -> tuple[list[Any], list[str]]:
    pairs = [render_word(np.random.default_rng([seed, i])) for i in range(count)]
    return [crop for crop, _ in pairs], [word for _, word in pairs]


def _in_turns(functions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in functions}
    for warm in (True, *[False] * rounds):
        for name, function in functions.items():
            begin = time.perf_counter()
            function()
            if not warm:
                times[name].append(time.perf_counter() - begin)
    return times


def _texts(logits: Tensor) -> list[list[int]]:
    """Token ids of each row, up to its EOS."""
    rows = logits.argmax(-1).tolist()
    return [row[: row.index(0)] if 0 in row else row for row in rows]


def _agreement(texts: list[list[int]], expected: list[list[int]]) -> float:
    return sum(a == b for a, b in zip(texts, expected)) / len(expected)


def _operators(static: StaticPARSeq) -> int:
    return neuronkit.analyze(static, target="inf1").total


def _hlo_instructions(static: StaticPARSeq) -> int | None:
    if importlib.util.find_spec("torch_xla") is None or static.method == "unrolled":
        return None
    return sum(neuronkit.analyze(static, target="xla").instructions.values())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="batch 8 and length 25 only")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--words", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("out/decoding.json"))
    parser.add_argument("--plot", type=Path, default=Path("out/decoding.png"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
