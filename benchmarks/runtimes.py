"""PARSeq and CRAFT on the runtimes of a CPU, against the eager originals, in separate processes that take turns.

    python benchmarks/runtimes.py                              # everything
    python benchmarks/runtimes.py parseq-1 --targets onnx      # a part; the others stay in the file as they are
    python benchmarks/runtimes.py --strhub ../parseq           # a clone of baudm/parseq (needs timm), as the peer

Each candidate is a process of its own, with one thread, which computes when its turn comes: so no runtime's pool of
threads waits beside another's. Time is the processor time of the whole process, to which other work on the machine adds
little. A ratio is the median over the rounds of a candidate's time by the time, in the same round, of what it is
compared with: PARSeq's eager encoder alone, CRAFT's eager network, and on the same runtime the encoder alone or the
network without exact padding. Every candidate must first agree with the original. Weights are random, in the published
sizes; random words end nowhere, so that PARSeq decodes 26 steps and refines. That is the worst case of the methods
"stepwise", which stops where words end, and "fixed_point" and "fused", which stop where tokens settle.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from plotting import subplots
from torch import Tensor, nn

import neuronkit
from neuronkit import CompileOptions, CRAFTOptions, StaticCRAFT, StaticPARSeq, compile_for_inferentia
from neuronkit.models import CRAFT, PARSeq
from neuronkit.targets import find_target

TARGETS = ("cpu", "onnx", "openvino")
RUNTIMES = TARGETS[1:]
METHODS = ("unrolled", "stepwise", "fixed_point", "fused")
CASES = {"parseq-1": 1, "parseq-32": 32, "craft-640": 640, "craft-1280": 1280}
# What each kind is called, and the one whose time its own is divided by.
PARSEQ = {
    "eager encoder": "eager encoder",
    "eager": "eager encoder",
    **{f"{target} encoder": "eager encoder" for target in RUNTIMES},
    "cpu stepwise": "eager encoder",
    **{f"{target} {method}": "eager encoder" for target in RUNTIMES for method in METHODS},
}
DETECTION = {
    "eager": "eager",
    **{f"{target} plain": "eager" for target in TARGETS},
    **{f"{target} exact": "eager" for target in TARGETS},
}


def main() -> None:
    """Measure, print, and write JSON and plot."""
    arguments = _arguments()
    known = json.loads(arguments.json.read_text(encoding="utf-8")) if arguments.json.exists() else {"cases": {}}
    cases = known["cases"]
    for case in arguments.cases or CASES:
        when = {"rounds": arguments.rounds, "date": date.today().isoformat(), "time": "of the processor"}
        found = {**when, **measure(case, arguments)}
        print(case, json.dumps(found, indent=1), flush=True)
        before = cases.get(case, found)["candidates"]
        found["candidates"] = {**before, **found["candidates"]}
        cases[case] = found
    versions = {name: version for t in TARGETS for name, version in find_target(t).check_environment().items()}
    report: dict[str, Any] = {
        "neuronkit": neuronkit.__version__,
        "processor": platform.processor() or platform.machine(),
        "machine": "shared with other work while this ran",
        "threads": 1,
        "versions": versions,
        "cases": {case: cases[case] for case in CASES if case in cases},
    }
    for path in (arguments.json, arguments.plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    draw(report["cases"], arguments.plot)


def measure(case: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The original that was run, and of each candidate its median time and its ratios."""
    every = PARSEQ if case.startswith("parseq") else DETECTION
    kinds = {kind: base for kind, base in every.items() if base == kind or _wanted(kind, arguments)}
    context = multiprocessing.get_context("spawn")
    workers: dict[str, Connection] = {}
    for kind in kinds:
        ours, theirs = context.Pipe()
        context.Process(target=work, args=(case, kind, arguments.strhub, theirs), daemon=True).start()
        # Only so is the end of a process that failed the end of its pipe.
        theirs.close()
        workers[kind] = ours
        difference, original = ours.recv()
        print(f"{case} {kind}: differs by {difference:.0e}", file=sys.stderr, flush=True)
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(arguments.rounds):
        for kind, worker in workers.items():
            worker.send("go")
            times[kind].append(worker.recv())
    for worker in workers.values():
        worker.send("end")
    return {"original": original, "candidates": {kind: _numbers(kind, times, kinds) for kind in kinds}}


def _wanted(kind: str, arguments: argparse.Namespace) -> bool:
    """Whether a candidate is asked for; the eager model as a whole comes with the plain target."""
    target, _, what = kind.partition(" ")
    return (target if what or target in TARGETS else "cpu") in arguments.targets and (
        what not in METHODS or what in arguments.methods
    )


def _numbers(kind: str, times: dict[str, list[float]], bases: dict[str, str]) -> dict[str, float]:
    numbers = {"median_ms": 1e3 * statistics.median(times[kind]), "ratio": _ratio(times[kind], times[bases[kind]])}
    target, _, what = kind.partition(" ")
    beside = "encoder" if what in METHODS else "plain"
    if what in (*METHODS, "exact") and f"{target} {beside}" in times:
        numbers[f"over_{beside}"] = _ratio(times[kind], times[f"{target} {beside}"])
    return {name: round(value, 3) for name, value in numbers.items()}


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs))


def work(case: str, kind: str, strhub: Path | None, pipe: Connection) -> None:
    """Prepare a candidate, compare it with the original, and time one call for each message."""
    torch.set_num_threads(1)
    with torch.no_grad():
        original, inputs = original_and_inputs(case, strhub)
        run, eager = candidate(case, kind, original, inputs), _eager(kind, original, inputs)
        difference = float((_first(run()) - _first(eager())).abs().max())
        if difference > 1e-3:
            raise SystemExit(f"{case}, {kind}: differs from the original by {difference}; nothing was timed")
        pipe.send((difference, f"{type(original).__module__}.{type(original).__qualname__}"))
        while pipe.recv() == "go":
            begin = time.process_time()
            run()
            pipe.send(time.process_time() - begin)


def original_and_inputs(case: str, strhub: Path | None) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The model of a case, the same in every process, and what it is called with."""
    torch.manual_seed(0)
    size = CASES[case]
    if case.startswith("craft"):
        return CRAFT().eval(), (torch.randn(1, 3, size, size), torch.tensor([[size, size]], dtype=torch.int32))
    if strhub is None:
        return PARSeq(94).eval(), (torch.randn(size, 3, 32, 128),)
    sys.path.insert(0, str(strhub))
    from strhub.models.parseq.model import PARSeq as Published

    model = Published(97, 25, (32, 128), (4, 8), 384, 6, 4, 12, 12, 4, 1, True, 1, 0.1).eval()
    return model, (torch.randn(size, 3, 32, 128),)


def candidate(case: str, kind: str, model: Any, inputs: tuple[Tensor, ...]) -> Callable[[], Any]:
    """What a process runs."""
    target, _, what = kind.partition(" ")
    images = inputs[0]
    if target == "eager":
        return _eager(kind, model, inputs)
    if what in ("encoder", "plain"):
        return _compiled(target, model.encoder if what == "encoder" else model, [images])
    if what == "exact":
        static: nn.Module = StaticCRAFT(model, options=CRAFTOptions(CASES[case], CASES[case]))
        return _compiled(target, static, inputs)
    return _compiled(target, StaticPARSeq(model, batch_size=len(images), method=what), inputs)


def _eager(kind: str, model: Any, inputs: tuple[Tensor, ...]) -> Callable[[], Any]:
    """The original: all 26 steps and a refinement, its encoder alone, or CRAFT."""
    if kind.endswith("encoder"):
        model = model.encoder
    elif hasattr(model, "pos_queries"):
        return partial(StaticPARSeq(model, batch_size=len(inputs[0])).reference, *inputs)
    return partial(model, inputs[0])


def _compiled(target: str, module: nn.Module, inputs: Any) -> Callable[[], Any]:
    """A call of the compiled module, which the caller compares."""
    options = CompileOptions(threads=1) if target in RUNTIMES else None
    is_static = isinstance(module, neuronkit.StaticModel)
    function = compile_for_inferentia(
        module, None if is_static else inputs, target=target, options=options, verify=False
    )
    return partial(function, *inputs)


def _first(outputs: Any) -> Tensor:
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def draw(cases: dict[str, Any], path: Path) -> None:
    """Draw the ratios, a panel for each case."""
    figure, axes = subplots(1, len(cases), size=(5 * len(cases), 4), squeeze=False)
    for axis, (case, found) in zip(axes.flat, cases.items()):
        ratios = {kind: numbers["ratio"] for kind, numbers in found["candidates"].items()}
        bars = axis.barh(list(ratios), list(ratios.values()))
        axis.bar_label(bars, fmt="%.2f", padding=2)
        axis.axvline(1, color="black", linewidth=1)
        axis.invert_yaxis()
        axis.margins(x=0.12)
        axis.set(title=case, xlabel=f"time / time of {next(iter(ratios))}")
    figure.savefig(path, dpi=100)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], help="all of them without any")
    parser.add_argument("--strhub", type=Path, help="folder that holds the package strhub; without it our own PARSeq")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS, help="the others stay as they are")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="of decoding, likewise")
    parser.add_argument("--rounds", type=int, default=9)
    results = Path(__file__).parent / "results"
    parser.add_argument("--json", type=Path, default=results / "runtimes.json")
    parser.add_argument("--plot", type=Path, default=results / "runtimes.png")
    return parser.parse_args()


if __name__ == "__main__":
    main()
