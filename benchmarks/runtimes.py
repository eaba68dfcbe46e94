"""PARSeq and CRAFT on the runtimes of a CPU, against the eager originals, in separate processes that take turns.

    python benchmarks/runtimes.py                          # everything
    python benchmarks/runtimes.py parseq-1 craft-640       # some cases
    python benchmarks/runtimes.py --json out/runtimes.json --rounds 9

Each candidate is a process of its own, with one thread, which computes when its turn comes: so no runtime's pool of
threads waits beside another's. A ratio is the median over the rounds of a candidate's time by the time, in the same
round, of what the case is compared with: PARSeq's eager encoder alone, CRAFT's eager network. Every candidate must
first agree with the original. Weights are random, in the published sizes; random words end nowhere, and need the most
passes, so that PARSeq decodes 26 steps and refines.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import neuronkit
from neuronkit import CompileOptions, StaticCRAFT, StaticPARSeq, compile_for_inferentia
from neuronkit.models import CRAFT, PARSeq
from neuronkit.targets import find_target

TARGETS = ("cpu", "onnx", "openvino")
CASES = {"parseq-1": 1, "parseq-32": 32, "craft-640": 640, "craft-1280": 1280}


def main() -> None:
    """Measure, print and write JSON."""
    arguments = _arguments()
    report = {
        "neuronkit": neuronkit.__version__,
        "date": date.today().isoformat(),
        "processor": platform.processor() or platform.machine(),
        "machine": "shared with other work while this ran",
        "threads": 1,
        "rounds": arguments.rounds,
        "versions": {name: v for t in TARGETS for name, v in find_target(t).check_environment().items()},
        "cases": {case: measure(case, arguments.method, arguments.rounds) for case in arguments.cases or CASES},
    }
    print(json.dumps(report["cases"], indent=1))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def measure(case: str, method: str, rounds: int) -> dict[str, Any]:
    """Name of a candidate → its median time in ms, and its ratio to the case's first candidate."""
    kinds = ("eager", "eager whole", *TARGETS, "onnx encoder", "openvino encoder")
    if case.startswith("craft"):
        kinds = ("eager", *TARGETS, "onnx plain", "openvino plain")
    context = multiprocessing.get_context("spawn")
    workers, times = {}, {kind: [] for kind in kinds}  # type: dict[str, Any], dict[str, list[float]]
    for kind in kinds:
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(case, kind, method, theirs), daemon=True)
        process.start()
        workers[kind] = ours
        assert ours.recv() == "ready", kind
    for _ in range(rounds):
        for kind, worker in workers.items():
            worker.send("go")
            times[kind].append(worker.recv())
    for worker in workers.values():
        worker.send("end")
    return {
        kind: {
            "median_ms": round(1e3 * statistics.median(taken), 2),
            "ratio": round(statistics.median(t / e for t, e in zip(taken, times["eager"])), 3),
        }
        for kind, taken in times.items()
    }


def work(case: str, kind: str, method: str, pipe: Connection) -> None:
    """Prepare a candidate, and time one call for each message."""
    torch.set_num_threads(1)
    with torch.no_grad():
        run = candidate(case, kind, method)
        run()
        pipe.send("ready")
        while pipe.recv() == "go":
            begin = time.perf_counter()
            run()
            pipe.send(time.perf_counter() - begin)


def candidate(case: str, kind: str, method: str) -> Callable[[], Any]:
    """What a process runs."""
    torch.manual_seed(0)
    options = CompileOptions(threads=1) if kind.partition(" ")[0] in ("onnx", "openvino") else None
    target = kind.partition(" ")[0]
    size = CASES[case]
    if case.startswith("parseq"):
        model, images = PARSeq(94).eval(), torch.randn(size, 3, 32, 128)
        if kind.startswith("eager"):
            return (lambda: model(images)) if kind == "eager whole" else (lambda: model.encode(images))
        if kind.endswith("encoder"):
            return _calls(_compiled(_Encoder(model), [images], target, options), images)
        static = StaticPARSeq(model, batch_size=size, method=method)
        return _calls(compile_for_inferentia(static, target=target, options=options), images)
    craft, canvas = CRAFT().eval(), torch.randn(1, 3, size, size)
    if kind == "eager":
        return lambda: craft(canvas)
    if kind.endswith("plain"):
        return _calls(_compiled(craft, [canvas], target, options), canvas)
    compiled = compile_for_inferentia(
        StaticCRAFT(craft, height=size, width=size), target=target, options=options, verify=size < 1000
    )
    return _calls(compiled, canvas, torch.tensor([[size, size]], dtype=torch.int32))


class _Encoder(nn.Module):
    def __init__(self, model: PARSeq) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.encode(images)


def _compiled(model: nn.Module, inputs: list[Tensor], target: str, options: CompileOptions | None) -> Any:
    return compile_for_inferentia(model, inputs, target=target, options=options, verify=False)


def _calls(function: Callable[..., Any], *inputs: Tensor) -> Callable[[], Any]:
    return lambda: function(*inputs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], help="all of them without any")
    parser.add_argument("--method", default="fused", help="of decoding")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "runtimes.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
