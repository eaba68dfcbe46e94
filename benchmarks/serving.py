"""How many more words Triton serves to 2 ... 32 clients than to one: the demo's recogniser, compiled for batches of 8.

    python benchmarks/serving.py                          # in the serving environment, which has a tritonserver
    python benchmarks/serving.py --clients 1 16 --rounds 3
    python benchmarks/serving.py --json out/serving.json --plot out/serving.png

Each client sends its next word when it has the answer to the last, over gRPC. Rounds of all numbers of clients are
interleaved, and each is compared with the first number of clients in the same round; numbers are medians over the
rounds, with the quartiles. Batch fill is that of the server's own counters. Server and clients share the machine's
cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import torch
from plotting import subplots
from tqdm import tqdm

import neuronkit
from neuronkit import StaticPARSeq, compile_for_inferentia
from neuronkit.demo.weights import load_parseq
from neuronkit.ocr import ParseqProcessor
from neuronkit.serving.triton import Server, export_repository, serve

BATCH_SIZE = 8


@dataclass(frozen=True)
class Round:
    """What clients got in one round.

    Attributes:
        throughput: Words a second.
        latency_ms: Median over the requests.
        batch_fill: Rows asked for by rows computed.
    """

    throughput: float
    latency_ms: float
    batch_fill: float


def main() -> None:
    """Measure, print, write JSON and plot."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        model = load_parseq()
        compiled = compile_for_inferentia(
            StaticPARSeq(model, batch_size=BATCH_SIZE), target="cpu", processor=ParseqProcessor(charset=model.charset)
        )
        export_repository({"recognizer": compiled}, Path(folder) / "models", max_queue_delay_us=arguments.delay_us)
        with serve(Path(folder) / "models") as server:
            rows = measure(server, arguments.clients, arguments.rounds, arguments.seconds)
    report = {
        "neuronkit": neuronkit.__version__,
        "torch": torch.__version__,
        "cores": len(os.sched_getaffinity(0)),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "processor": platform.processor() or platform.machine(),
        "model": "PARSeq, demo weights, cpu",
        "batch_size": BATCH_SIZE,
        "max_queue_delay_us": arguments.delay_us,
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "rows": rows,
    }
    for row in rows:
        print(
            f"{row['clients']:3} clients: {row['throughput']:5.2f} times the words "
            f"({row['throughput_quartiles'][0]:.2f} to {row['throughput_quartiles'][1]:.2f}), "
            f"{row['latency']:5.2f} times the latency, batches {row['batch_fill']:.0%} full"
        )
    for path in (arguments.json, arguments.plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    draw(report, arguments.plot)


def measure(server: Server, clients: Sequence[int], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Throughput and latency for each number of clients, as multiples of those for the first number."""
    found: dict[int, list[Round]] = {count: [] for count in clients}
    run_round(server, max(clients), seconds)
    for _ in tqdm(range(rounds), desc="rounds"):
        for count in clients:
            found[count].append(run_round(server, count, seconds))
    return [_summary(count, results, found[clients[0]]) for count, results in found.items()]


def run_round(server: Server, clients: int, seconds: float) -> Round:
    """Let clients ask for some seconds."""
    begin, before = Barrier(clients), _rows(server)

    def ask() -> list[float]:
        import tritonclient.grpc as triton

        client = triton.InferenceServerClient(server.grpc)
        words = triton.InferInput("images", [1, 3, 32, 128], "FP32")
        words.set_data_from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 3, 32, 128)).astype(np.float32))
        wanted = [triton.InferRequestedOutput("text")]
        begin.wait()
        times = [time.perf_counter()]
        while times[-1] < times[0] + seconds:
            client.infer("recognizer", [words], outputs=wanted)
            times.append(time.perf_counter())
        client.close()
        return list(np.diff(times))

    with ThreadPoolExecutor(clients) as threads:
        latencies = [time for times in threads.map(lambda _: ask(), range(clients)) for time in times]
    asked, computed = (after - earlier for after, earlier in zip(_rows(server), before))
    return Round(len(latencies) / seconds, 1e3 * statistics.median(latencies), asked / computed)


def _rows(server: Server) -> tuple[float, float]:
    """Rows asked for and rows computed so far."""
    with urllib.request.urlopen(server.metrics) as page:
        text = page.read().decode()
    asked, computed = (
        sum(map(float, re.findall(rf"^neuronkit_{name}_total{{.*}} (\S+)$", text, re.MULTILINE)))
        for name in ("rows", "batch_rows")
    )
    return asked, computed


def _summary(clients: int, results: list[Round], first: list[Round]) -> dict[str, Any]:
    throughputs = [result.throughput / one.throughput for result, one in zip(results, first)]
    return {
        "clients": clients,
        "throughput": statistics.median(throughputs),
        "throughput_quartiles": np.percentile(throughputs, [25, 75]).tolist(),
        "latency": statistics.median(result.latency_ms / one.latency_ms for result, one in zip(results, first)),
        "batch_fill": statistics.median(result.batch_fill for result in results),
    }


def draw(report: dict[str, Any], path: Path) -> None:
    """Throughput, and how full the batches are, by the number of clients."""
    rows = report["rows"]
    clients = [row["clients"] for row in rows]
    middle = np.array([row["throughput"] for row in rows])
    low, high = np.array([row["throughput_quartiles"] for row in rows]).T
    figure, (left, right) = subplots(1, 2, size=(9, 4))
    left.errorbar(clients, middle, [middle - low, high - middle], marker="o", capsize=3)
    left.set(
        xlabel="clients",
        ylabel="words, by those of one client",
        title="Throughput, median and quartiles",
        ylim=(0, None),
    )
    right.plot(clients, [100 * row["batch_fill"] for row in rows], "o-")
    right.set(xlabel="clients", ylabel="batch fill, %", title=f"Batches of {report['batch_size']}", ylim=(0, 100))
    for axis in (left, right):
        axis.set_xscale("log", base=2)
        axis.set_xticks(clients, map(str, clients))
    figure.savefig(path, dpi=110)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round")
    parser.add_argument("--delay-us", type=int, default=2_000, help="how long the first of a batch waits for others")
    parser.add_argument("--json", type=Path, default=Path("out/serving.json"))
    parser.add_argument("--plot", type=Path, default=Path("out/serving.png"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
