"""Ways of generating compared with `generate` of transformers and its cache: calls, positions, CPU time.

    python benchmarks/generation.py           # texts of 20 to 1,024 tokens, greedily and with 4 beams: a few minutes
    python benchmarks/generation.py --quick   # two lengths, one row
    python benchmarks/generation.py --text wanders --tokens 256   # some cases, the others as the JSON file has them

Models are small. Two are random: the text of one soon repeats itself, that of the other seldom does. The third is
made to say a block of 48 tokens again and again. Every candidate must
first give the ids that `generate` gives, row for row; nothing is timed otherwise. "prompt lookup" is that of
transformers, which drafts what follows where the last tokens stood before, too, for a single row. Candidates run in
turns in one process; a time is the CPU time of the process, and a ratio the median of the rounds' ratios to `generate`
with its cache, eager, greedily or with as many beams. What publications report is of other models and machines, and is
only quoted.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from plotting import subplots
from torch import Tensor, nn
from tqdm import tqdm

import neuronkit
from neuronkit import HuggingFaceOptions, compile_for_inferentia, make_static

VOCABULARY, SOURCE, BLOCK = 512, 12, 48
BEAMS = 4
# All positions at once are too many beyond.
LONGEST_AT_ONCE = 64
COMPILED = ("stepwise", "windowed, 16", "beams")
TEXTS = ("repeats itself", "repeats blocks", "wanders")
PUBLISHED = (
    {
        "what": "parallel decoding (Jacobi and Gauss-Seidel) in translation",
        "figure": "up to 1.38 times as fast as greedy decoding, nearly 2 times with parallel resources",
        "source": "Santilli et al., ACL 2023, arXiv 2305.10427",
    },
    {
        "what": "prompt lookup, where outputs repeat their inputs",
        "figure": "2 to 4 times as fast",
        "source": "Saxena, 2023, github.com/apoorvumang/prompt-lookup-decoding",
    },
)


def main() -> None:
    """Run the comparison, print the table, write JSON and plot."""
    arguments = _arguments()
    import transformers

    transformers.logging.set_verbosity_error()
    warnings.simplefilter("ignore", UserWarning)
    torch.set_num_threads(1)
    sizes = ((1, 20), (1, 64)) if arguments.quick else ((1, 20), (1, 64), (1, 512), (1, 1024), (4, 64))
    # At 1,024 tokens the large weights of the one that wanders round too much for windows of 64 to be trusted.
    cases = [(text, *size) for text in TEXTS for size in sizes if (text, size[1]) != ("wanders", 1024)]
    rows: list[dict[str, Any]] = []
    cases = [case for case in cases if arguments.text in (None, case[0]) and arguments.tokens in (None, case[2])]
    if (arguments.text or arguments.tokens) and arguments.json.exists():
        kept = json.loads(arguments.json.read_text(encoding="utf-8"))["rows"]
        rows = [row for row in kept if (row["text"], row["batch"], row["length"]) not in cases]
    models = {text: make_model(text) for text in TEXTS}
    for text, batch, length in tqdm(cases, desc="generation"):
        # Beams take as many calls whatever the text.
        for beams in (1, BEAMS) if text == TEXTS[0] else (1,):
            rows += measure(text, models[text], batch, length, beams, arguments.rounds)
    rows.sort(key=lambda row: (TEXTS.index(row["text"]), row["batch"], row["length"], row["beams"]))
    report = {
        "neuronkit": neuronkit.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "processor": platform.processor() or platform.machine(),
        "threads": 1,
        "rounds": arguments.rounds,
        "rows": rows,
        "published": PUBLISHED,
    }
    print(table(report))
    for path in (arguments.json, arguments.plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    draw(report, arguments.plot)


def measure(text: str, model: Any, batch: int, length: int, beams: int, rounds: int) -> list[dict[str, Any]]:
    """Check and time every way of generating one text."""
    ids = torch.randint(3, VOCABULARY, (batch, SOURCE), generator=torch.Generator().manual_seed(batch))
    inputs = ids.to(torch.int32), torch.ones_like(ids, dtype=torch.int32)
    expected = _generate(model, ids, length, beams)
    functions, counts = _candidates(model, inputs, length, beams)
    for name, (run, decode) in functions.items():
        with torch.no_grad():
            if decode(run()) != expected:
                raise SystemExit(f"{name} gives other ids than generate ({text}, {batch} × {length}); nothing is timed")
    # TorchScript settles down in its second call.
    times = _in_turns({name: run for name, (run, _) in functions.items()}, 1 + rounds)
    tokens = max(len(row) for row in expected)
    rows = []
    for name, taken in times.items():
        calls, positions = counts[name]()
        ratios = [t / base for t, base in zip(taken[1:], times["generate"][1:])]
        rows.append(
            {
                **{"text": text, "batch": batch, "length": length, "beams": beams, "method": name},
                **{"tokens": tokens, "calls": calls, "positions": positions, "tokens_per_call": tokens / calls},
                **{"median_s": statistics.median(taken[1:]), "ratio": statistics.median(ratios)},
                **{"ratio_low": min(ratios), "ratio_high": max(ratios)},
            }
        )
    return rows


def make_model(text: str) -> Any:
    """A small model of texts whose own text is of this kind."""
    from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    if text == "wanders":
        # What follows depends on places too.
        sides = ("encoder", "decoder")
        sizes = {f"{side}_{name}": n for side in sides for name, n in _BART_SIZES.items()}
        config = BartConfig(vocab_size=VOCABULARY, d_model=128, max_position_embeddings=1100, init_std=0.1, **sizes)
        model: Any = BartForConditionalGeneration(config)
        model.generation_config.forced_eos_token_id = None
        return _lively(model, 6.0)
    sizes = {"d_model": 128, "d_kv": 32, "d_ff": 256, "num_layers": 2, "num_heads": 4}
    model = T5ForConditionalGeneration(T5Config(vocab_size=VOCABULARY, decoder_start_token_id=0, **sizes))
    return _lively(model, 4.0) if text == "repeats itself" else _circling(model)


_BART_SIZES = {"layers": 2, "attention_heads": 4, "ffn_dim": 256}


def _lively(model: Any, scale: float) -> Any:
    """Random weights scaled up, until what follows depends on what came before; the end is never likely."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(scale)
        # A head of its own, so that it does not repeat what went in.
        head = model.get_output_embeddings()
        head.weight = nn.Parameter(0.3 * torch.randn(head.weight.shape, generator=generator))
        head.weight[model.generation_config.eos_token_id] = 0
    return model.eval()


def _circling(model: Any) -> Any:
    """Made to say the same block of tokens again and again: each token follows from the one before."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # What layers add to a token is nothing; they are computed all the same.
            if name.endswith((".o.weight", ".wo.weight")) and name.startswith("decoder"):
                parameter.zero_()
        following = torch.arange(VOCABULARY)
        block = torch.arange(3, 3 + BLOCK)
        following[block] = block.roll(-1)
        following[0] = 3
        known = model.get_input_embeddings().weight
        head = torch.zeros_like(known).index_add_(0, following, known)
        model.get_output_embeddings().weight = nn.Parameter(head)
    return model.eval()


def _candidates(
    model: Any, inputs: tuple[Tensor, Tensor], length: int, beams: int
) -> tuple[dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]], dict[str, Callable[[], tuple[int, int]]]]:
    """Name → how it is run and its ids are read; and how many calls and positions that takes."""
    ids = inputs[0].long()
    batch = len(ids)
    runs: dict[str, Any] = {"generate": lambda: _generate(model, ids, length, beams)}
    if batch == 1 and beams == 1:
        runs["generate, prompt lookup"] = lambda: _generate(model, ids, length, beams, prompt_lookup_num_tokens=15)
    functions: dict[str, Any] = {name: (run, list) for name, run in runs.items()}
    counts: dict[str, Any] = {name: lambda run=run: _watched(model, run) for name, run in runs.items()}
    methods: dict[str, dict[str, Any]] = {"stepwise": {"method": "stepwise"}}
    if beams > 1:
        methods = {"beams": {}}
    else:
        if length <= LONGEST_AT_ONCE:
            methods["fixed point"] = {"method": "fixed_point"}
        methods |= {f"windowed, {n}": {"method": "windowed", "window": n} for n in (16, 64)}
    for name, options in methods.items():
        chosen = HuggingFaceOptions(max_length=length, source_length=SOURCE, num_beams=beams, **options)
        static: Any = make_static(model, batch_size=batch, options=chosen)

        def count(static: Any = static) -> tuple[int, int]:
            passes = static.passes(*inputs)
            return int(passes), passes.positions

        forms = {name: static}
        if name in COMPILED:
            forms[f"{name}, compiled"] = compile_for_inferentia(static, target="cpu", progress=False, verify=False)
        for title, function in forms.items():
            functions[title] = (lambda function=function: function(*inputs), static.decoded)
            counts[title] = count
    return functions, counts


def _generate(model: Any, ids: Tensor, length: int, beams: int, **settings: Any) -> list[list[int]]:
    made = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=length, num_beams=beams, do_sample=False, **settings
    )
    end = model.generation_config.eos_token_id
    return [row[1 : row.index(end, 1) if end in row[1:] else None] for row in made.tolist()]


def _watched(model: Any, run: Callable[[], Any]) -> tuple[int, int]:
    """Calls of the model's head, and positions of a row that it is given."""
    sizes: list[int] = []
    head = model.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda module, given: sizes.append(given[0].shape[1]))
    run()
    handle.remove()
    return len(sizes), sum(sizes)


def _in_turns(functions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in functions}
    with torch.no_grad():
        for _ in range(rounds):
            for name, function in functions.items():
                begin = time.process_time()
                function()
                times[name].append(time.process_time() - begin)
    return times


def table(report: dict[str, Any]) -> str:
    """The report as text."""
    lines = [f"torch {report['torch']}, transformers {report['transformers']}, one thread, {report['rounds']} rounds"]
    head = f"{'text':15} {'rows':>4} {'tokens':>6} {'beams':>5} {'method':24}"
    lines.append(f"{head} {'calls':>5} {'positions':>9} {'a call':>6} {'time / generate':>20}")
    for row in report["rows"]:
        spread = f"{row['ratio']:.2f} ({row['ratio_low']:.2f}-{row['ratio_high']:.2f})"
        lines.append(
            f"{row['text']:15} {row['batch']:4} {row['tokens']:6} {row['beams']:5} {row['method']:24} "
            f"{row['calls']:5} {row['positions']:9} {row['tokens_per_call']:6.1f} {spread:>20}"
        )
    lines += [f"published: {one['what']}: {one['figure']} ({one['source']})" for one in report["published"]]
    return "\n".join(lines)


def draw(report: dict[str, Any], path: Path) -> None:
    """Tokens a call and time relative to generate, by length, for one row."""
    figure, axes = subplots(len(TEXTS), 2, size=(10, 10), sharex=True, sharey="col")
    for text, (left, right) in zip(TEXTS, axes):
        rows = [row for row in report["rows"] if row["text"] == text and row["batch"] == 1]
        for beams, style in ((1, "o-"), (BEAMS, "s--")):
            for name in dict.fromkeys(row["method"] for row in rows if row["beams"] == beams):
                chosen = [row for row in rows if row["method"] == name and row["beams"] == beams]
                lengths = [row["length"] for row in chosen]
                label = name if beams == 1 else f"{name} ({beams} beams)"
                colour = _COLOURS.get(name.removesuffix(", compiled"))
                face = "white" if name.endswith("compiled") else colour
                right.plot(lengths, [row["ratio"] for row in chosen], style, color=colour, mfc=face, label=label)
                if beams == 1 and not name.endswith("compiled"):
                    left.plot(lengths, [row["tokens_per_call"] for row in chosen], style, color=colour, label=label)
        left.set(title=f"text {text}", ylabel="tokens a call", xscale="log", yscale="log")
        right.set(title=f"text {text}", ylabel="CPU time / generate", yscale="log")
        right.axhline(1, color="black", linewidth=1)
        lengths = sorted({row["length"] for row in report["rows"]})
        left.set_xticks(lengths, [f"{length:,}" for length in lengths])
        for axis, ticks in ((left, (1, 2, 5, 10, 20, 50)), (right, (0.05, 0.1, 0.2, 0.5, 1, 2))):
            axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.minorticks_off()
    for axis in axes[-1]:
        axis.set_xlabel("tokens of the text, one row")
    handles, labels = axes[0][1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=110)


_COLOURS = {
    "generate": "black",
    "generate, prompt lookup": "tab:brown",
    "stepwise": "tab:blue",
    "fixed point": "tab:red",
    "windowed, 16": "tab:green",
    "windowed, 64": "tab:olive",
    "beams": "tab:purple",
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 and 64 tokens, one row")
    parser.add_argument("--text", choices=TEXTS, help="this text alone")
    parser.add_argument("--tokens", type=int, help="this length alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("out/generation.json"))
    parser.add_argument("--plot", type=Path, default=Path("out/generation.png"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
