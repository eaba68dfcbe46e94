"""What padding costs and breaks: plain against exact padding, buckets, tiles.

    python benchmarks/padding.py                         # everything; the largest picture takes 5 GB of memory
    python benchmarks/padding.py errors overhead         # some parts
    python benchmarks/padding.py --page 2016 3008        # a smaller picture for the tiles
    python benchmarks/padding.py --json out/padding.json --plot out/padding.png

Errors are those of the padded run against the image alone, in units of the score map's largest value, and in boxes;
weights are the demo's. Times are of the process's threads on the CPU, so that others on the machine count little:
medians of interleaved runs in one process; a ratio is the median of the rounds'. The U-Nets are random, of four steps,
and meet their skips by transposed convolution, or by bilinear interpolation with `align_corners=True`.
"""

from __future__ import annotations

import argparse
import itertools
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
from numpy.typing import NDArray
from plotting import subplots
from torch import Tensor, nn
from tqdm import tqdm

import neuronkit
from neuronkit import StaticCRAFT, exact_padding
from neuronkit.demo.pages import PageStyle, render_page
from neuronkit.demo.weights import load_craft
from neuronkit.models import CRAFT
from neuronkit.ocr import CraftProcessor
from neuronkit.static.shapes.plan import plan_buckets
from neuronkit.static.shapes.tiled import Tiled

PARTS = ("errors", "overhead", "waste", "tiling")


def main() -> None:
    """Run the parts, print them, write JSON and plot."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    report: dict[str, Any] = {
        "neuronkit": neuronkit.__version__,
        "torch": torch.__version__,
        "threads": arguments.threads,
        "processor": platform.processor() or platform.machine(),
        "seed": arguments.seed,
    }
    with torch.no_grad():
        if "errors" in arguments.parts:
            report["errors"] = errors(arguments.images, arguments.seed)
        if "overhead" in arguments.parts:
            report["overhead"] = overhead(arguments.rounds, arguments.networks)
        if "waste" in arguments.parts:
            report["waste"] = waste(arguments.seed)
        if "tiling" in arguments.parts:
            report["tiling"] = tiling(tuple(arguments.page), arguments.seed)
    print(table(report))
    for path in (arguments.json, arguments.plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    draw(report, arguments.plot)


def errors(count: int, seed: int, canvas: int = 640) -> list[dict[str, Any]]:
    """Plain and exact padding on one square canvas, for pages of many sizes."""
    model = load_craft()
    static = StaticCRAFT(model, height=canvas, width=canvas)
    rng = np.random.default_rng(seed)
    rows = []
    for _ in tqdm(range(count), desc="errors"):
        height, width = (int(side) * 32 for side in rng.integers(6, canvas // 32 + 1, 2))
        image = render_page(rng, (height, width), PageStyle(font_sizes=(14, 40))).image
        alone, box = CraftProcessor(mag_ratio=1.0).preprocess([image])
        padded, fixed_box = CraftProcessor(mag_ratio=1.0, canvas=(canvas, canvas)).preprocess([image])
        valid_size = torch.tensor([fixed_box[0].valid_size], dtype=torch.int32)
        expected = model(torch.from_numpy(alone))[0]
        runs = {
            "plain": model(torch.from_numpy(padded))[0],
            "exact": static(torch.from_numpy(padded), valid_size)[0],
        }
        wanted = _quads(CraftProcessor().postprocess(expected, box)[0])
        row: dict[str, Any] = {"size": (height, width), "boxes": len(wanted)}
        for name, scores in runs.items():
            cut = scores[:, : expected.shape[1], : expected.shape[2]]
            row[f"{name}_error"] = float((cut - expected).abs().max() / expected.abs().max())
            row[f"{name}_same_boxes"] = _found_again(wanted, _quads(CraftProcessor().postprocess(cut, box)[0]))
        rows.append(row)
    return rows


def overhead(rounds: int, networks: str = "") -> list[dict[str, Any]]:
    """Time of the exact graph against the plain one on the same canvas, for networks whose names begin so."""
    torch.manual_seed(0)
    cases: list[tuple[str, Callable[[], nn.Module], int]] = [
        ("demo", load_craft, 640),
        ("demo", load_craft, 1280),
        ("published size", lambda: CRAFT().eval(), 320),
    ]
    for width in (16, 32, 64):
        for join in ("transposed", "bilinear"):
            cases.append((f"U-Net {width}, {join}", lambda w=width, j=join: UNet(w, j).eval(), 256))  # type: ignore[misc]
    cases += [(f"U-Net 16, {join}", lambda j=join: UNet(16, j).eval(), 512) for join in ("transposed", "bilinear")]  # type: ignore[misc]
    cases = [case for case in cases if case[0].startswith(networks)]
    rows = []
    for name, make, canvas in tqdm(cases, desc="overhead"):
        model, images = make(), torch.randn(1, 3, canvas, canvas)
        valid_size = torch.tensor([[canvas - 64, canvas - 96]], dtype=torch.int32)
        if isinstance(model, CRAFT):
            ((graph, _),) = StaticCRAFT(model, height=canvas, width=canvas).graphs().values()
        else:
            graph = exact_padding(model).fix_canvas(canvas, canvas).eval()
        functions: dict[str, Callable[[], Any]] = {
            "plain, eager": partial(model, images),
            "exact, eager": partial(graph, images, valid_size),
            "plain, frozen": _frozen(model, images),
            "exact, frozen": _frozen(graph, images, valid_size),
        }
        times = _in_turns(functions, rounds)
        for kind in ("eager", "frozen"):
            plain, exact = times[f"plain, {kind}"], times[f"exact, {kind}"]
            rows.append(
                {
                    "weights": name,
                    "canvas": canvas,
                    "graph": kind,
                    "plain_ms": 1e3 * statistics.median(plain),
                    "exact_ms": 1e3 * statistics.median(exact),
                    "ratio": statistics.median(e / p for e, p in zip(exact, plain)),
                }
            )
    return rows


class UNet(nn.Module):
    """A U-Net of four steps."""

    def __init__(self, width: int, join: str) -> None:
        super().__init__()
        sizes = [width * 2**i for i in range(5)]
        steps = list(itertools.pairwise(sizes))
        self.first, self.pool, self.last = _double(3, width), nn.MaxPool2d(2), nn.Conv2d(width, 1, 1)
        self.down = nn.ModuleList(_double(i, o) for i, o in steps)
        self.up = nn.ModuleList(_up(join, o, i) for i, o in reversed(steps))
        self.merge = nn.ModuleList(_double(2 * i, i) for i, _ in reversed(steps))

    def forward(self, x: Tensor) -> Tensor:
        seen = [self.first(x)]
        for down in self.down:
            seen.append(down(self.pool(seen[-1])))
        x = seen.pop()
        for up, merge in zip(self.up, self.merge):
            x = merge(torch.cat([seen.pop(), up(x)], dim=1))
        return self.last(x)  # type: ignore[no-any-return]


def _double(i: int, o: int) -> nn.Sequential:
    layers = ([nn.Conv2d(a, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True)] for a in (i, o))
    return nn.Sequential(*itertools.chain.from_iterable(layers))


def _up(join: str, i: int, o: int) -> nn.Module:
    if join == "transposed":
        return nn.ConvTranspose2d(i, o, 2, stride=2)
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), nn.Conv2d(i, o, 1))


def waste(seed: int, count: int = 100_000) -> dict[str, Any]:
    """Share of padding: one square canvas, one fitting canvas, planned buckets."""
    sizes = document_sizes(np.random.default_rng(seed), count)
    side = int(-(-sizes.max() // 32) * 32)
    valid = float(sizes.prod(1).sum())
    plans = []
    for number in (1, 2, 3, 4, 6, 8):
        begin = time.perf_counter()
        plan = plan_buckets(sizes, number)
        plans.append({"count": number, "seconds": time.perf_counter() - begin, **plan.to_dict()})
    return {"inputs": count, "square": side, "square_waste": 1 - valid / (count * side**2), "plans": plans}


def document_sizes(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Sizes as photographs, scans and screenshots have them: areas spread widely, a few proportions in both directions.

    Returns:
        (count, 2) height and width in pixels.
    """
    area = rng.lognormal(np.log(900 * 700), 0.7, count)
    proportions = np.array([np.sqrt(2), 4 / 3, 3 / 2, 16 / 9, 1.0])
    ratio = rng.choice(proportions, count, p=[0.35, 0.25, 0.15, 0.15, 0.1]) * np.exp(rng.normal(0, 0.05, count))
    ratio = np.where(rng.random(count) < 0.6, ratio, 1 / ratio)
    sizes = np.stack([np.sqrt(area * ratio), np.sqrt(area / ratio)], axis=1)
    return np.clip(sizes.round(), 32, 2400).astype(np.int64)


def tiling(size: tuple[int, int], seed: int, tile: int = 1024) -> dict[str, Any]:
    """Tiles of one large page against one pass over it, by overlap."""
    model = load_craft()
    image = render_page(np.random.default_rng(seed), size, PageStyle(font_sizes=(20, 160), max_words=400)).image
    processor = CraftProcessor(canvas_size=max(size) + 31, mag_ratio=1.0)
    canvas, box = processor.preprocess([image])
    images = torch.from_numpy(canvas)
    static = StaticCRAFT(model, height=tile, width=tile)
    ((graph, _),) = static.graphs().values()
    compiled = torch.jit.freeze(torch.jit.trace(graph, static.example_inputs(), check_trace=False))
    begin = time.perf_counter()
    expected = model(images)[0]
    seconds = time.perf_counter() - begin
    wanted = _quads(processor.postprocess(expected, box)[0])
    exact = Tiled(_scores(compiled), static.specs, module=model, valid_size="valid_size", output_sizes=0.5)
    rows = []
    for overlap in tqdm(sorted({0, 32, 64, 96, 128, 192, exact.overlap}), desc="tiling"):
        tiled = Tiled(_scores(compiled), static.specs, overlap=overlap, valid_size="valid_size", output_sizes=0.5)
        begin = time.perf_counter()
        scores = tiled(images)
        rows.append(
            {
                "overlap": overlap,
                "exact": overlap == exact.overlap,
                "seconds": time.perf_counter() - begin,
                "error": float((scores - expected).abs().max() / expected.abs().max()),
                "same_boxes": _found_again(wanted, _quads(processor.postprocess(scores, box)[0])),
            }
        )
    return {
        "size": list(images.shape[2:]),
        "tile": tile,
        "reach": exact.reach.largest if exact.reach else None,
        "boxes": len(wanted),
        "one_pass_seconds": seconds,
        "rows": rows,
    }


def table(report: dict[str, Any]) -> str:
    """The report as text."""
    lines = [f"torch {report['torch']}, {report['threads']} thread(s)"]
    if "errors" in report:
        rows = report["errors"]
        total = sum(row["boxes"] for row in rows)
        for name in ("plain", "exact"):
            worst = [row[f"{name}_error"] for row in rows]
            same = sum(row[f"{name}_same_boxes"] for row in rows)
            lines.append(
                f"{name} padding, {len(rows)} pages: error median {statistics.median(worst):.1e}, largest "
                f"{max(worst):.1e}; {same} of {total} boxes the same"
            )
    for row in report.get("overhead", ()):
        lines.append(
            f"{row['weights']}, canvas {row['canvas']}, {row['graph']}: plain {row['plain_ms']:.0f} ms, exact "
            f"{row['exact_ms']:.0f} ms, ratio {row['ratio']:.2f}"
        )
    if "waste" in report:
        lines.append(f"one canvas {report['waste']['square']} square: {report['waste']['square_waste']:.1%} padding")
        for plan in report["waste"]["plans"]:
            lines.append(f"{plan['count']} planned: {plan['waste']:.1%} padding, found in {plan['seconds']:.2f} s")
    if "tiling" in report:
        part = report["tiling"]
        lines.append(
            f"page {part['size'][0]}x{part['size'][1]}, tiles {part['tile']}, reach {part['reach']}: one pass "
            f"{part['one_pass_seconds']:.1f} s, {part['boxes']} boxes"
        )
        for row in part["rows"]:
            lines.append(
                f"  overlap {row['overlap']:3}: error {row['error']:.1e}, {row['same_boxes']} boxes the same, "
                f"{row['seconds']:.1f} s{' (exact)' if row['exact'] else ''}"
            )
    return "\n".join(lines)


def draw(report: dict[str, Any], path: Path) -> None:
    """One panel for each part."""
    parts = [part for part in PARTS if part in report]
    figure, axes = subplots(1, len(parts), size=(5 * len(parts), 4), squeeze=False)
    for part, axis in zip(parts, axes[0]):
        globals()[f"_draw_{part}"](report[part], axis)
    figure.savefig(path, dpi=110)


def _draw_errors(rows: list[dict[str, Any]], axis: Any) -> None:
    shares = [row["size"][0] * row["size"][1] / 640**2 for row in rows]
    for name in ("plain", "exact"):
        axis.semilogy(
            shares, [max(row[f"{name}_error"], 1e-9) for row in rows], "o", alpha=0.6, label=f"{name} padding"
        )
    axis.set(xlabel="share of the canvas that is image", ylabel="largest error / largest score", title="Score map")
    axis.legend()


def _draw_overhead(rows: list[dict[str, Any]], axis: Any) -> None:
    names = list(dict.fromkeys(f"{row['weights']}, {row['canvas']}" for row in rows))
    for shift, kind in ((-0.2, "eager"), (0.2, "frozen")):
        ratios = [row["ratio"] for row in rows if row["graph"] == kind]
        axis.barh([place + shift for place in range(len(names))], ratios, 0.4, label=kind)
    axis.axvline(1.0, color="black", linewidth=1)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.invert_yaxis()
    axis.set(xlabel="exact / plain, time", title="Overhead of exactness", xlim=(0, 1.3))
    axis.legend(loc="lower left", framealpha=1)


def _draw_waste(part: dict[str, Any], axis: Any) -> None:
    names = ["square", *(str(plan["count"]) for plan in part["plans"])]
    bars = axis.bar(names, [100 * part["square_waste"], *(100 * plan["waste"] for plan in part["plans"])])
    axis.bar_label(bars, fmt="%.0f")
    axis.set(xlabel="one square canvas, or this many planned", ylabel="padding, % of pixels", title="Waste")


def _draw_tiling(part: dict[str, Any], axis: Any) -> None:
    overlaps = [row["overlap"] for row in part["rows"]]
    axis.semilogy(overlaps, [max(row["error"], 1e-9) for row in part["rows"]], "o-")
    axis.axvline(part["reach"], color="black", linewidth=1, linestyle="--", label="reach of the network")
    axis.set(xlabel="overlap, pixels", ylabel="largest error / largest score", title="Tiles")
    axis.legend()


def _scores(compiled: Callable[..., Any]) -> Callable[..., Tensor]:
    """The score maps alone: the features of a large page would fill the memory."""
    return lambda images, valid_size: compiled(images, valid_size)[0]


def _quads(boxes: list[Any]) -> NDArray[np.float32]:
    return np.array([box.quad for box in boxes], dtype=np.float32).reshape(-1, 4, 2)


def _found_again(wanted: NDArray[np.float32], found: NDArray[np.float32]) -> int:
    """How many of the boxes are among others, to a hundredth of a pixel."""
    if not len(found):
        return 0
    return sum(bool((np.abs(found - quad).max((1, 2)) < 0.01).any()) for quad in wanted)


def _frozen(module: nn.Module, *examples: Tensor) -> Callable[[], Any]:
    traced = torch.jit.freeze(torch.jit.trace(module.eval(), examples, check_trace=False))
    return lambda: traced(*examples)


def _in_turns(functions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in functions}
    for warm in (True, True, *[False] * rounds):
        for name, function in functions.items():
            begin = time.process_time()
            function()
            if not warm:
                times[name].append(time.process_time() - begin)
    return times


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", default=list(PARTS), help=f"{PARTS}; all")
    parser.add_argument("--images", type=int, default=40, help="pages for the errors")
    parser.add_argument("--networks", default="", help="how names of networks begin whose overhead is measured; all")
    parser.add_argument("--rounds", type=int, default=9, help="interleaved timings of each")
    parser.add_argument("--page", type=int, nargs=2, default=(4000, 6000), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=Path("out/padding.json"))
    parser.add_argument("--plot", type=Path, default=Path("out/padding.png"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
