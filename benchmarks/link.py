"""What crosses the host link: bytes and device calls, counted over words, pages and pictures.

    python benchmarks/link.py
    python benchmarks/link.py --words 200 --pages 4 --json out/link.json --plot out/link.png

Nothing is timed. The demo's trained weights read words and pages, which gives the calls of each graph; bytes are those
of the tensors that these calls take and give, for graphs of the published sizes. Every word must be read as the dynamic
model reads it. Bytes of full-size graphs come from `estimate`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from plotting import subplots
from torch import Tensor
from tqdm import tqdm

import neuronkit
from neuronkit import (
    CompiledModel,
    CRAFTOptions,
    FixedShape,
    PARSeqOptions,
    StaticCRAFT,
    StaticPARSeq,
    compile_for_inferentia,
    estimate,
)
from neuronkit.demo.pages import PageStyle, render_page
from neuronkit.demo.render import render_word
from neuronkit.demo.weights import load_craft, load_parseq
from neuronkit.models import CRAFT, PARSeq
from neuronkit.ocr import CraftProcessor, OCRPipeline, ParseqProcessor
from neuronkit.serving.triton.metering import Metered

BATCH = 32
FEW_BYTES = PARSeqOptions(method="fused", raw_images=True, outputs="tokens")
PAGE = (640, 480)


class Counted(Metered):
    """A compiled model that counts calls of its graph, and the bytes of what they take and give."""

    def __init__(self, model: CompiledModel) -> None:
        super().__init__(model)
        self.calls = self.bytes = 0

    def _counted(self, function: Callable[..., Any], inputs: Any) -> Any:
        outputs = super()._counted(function, inputs)
        given = outputs if isinstance(outputs, (tuple, list)) else [outputs]
        self.calls += 1
        self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in (*inputs, *given))
        return outputs


def main() -> None:
    """Count, print the table, write JSON and plot."""
    arguments = _arguments()
    report = {
        "neuronkit": neuronkit.__version__,
        "torch": torch.__version__,
        "batch": BATCH,
        "words": count_words(arguments.words, arguments.seed),
        "pages": count_pages(arguments.pages, arguments.seed),
        "craft": count_craft(),
    }
    print(table(report))
    for path in (arguments.json, arguments.plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    draw(report, arguments.plot)


def count_words(count: int, seed: int) -> dict[str, Any]:
    """One call of the recogniser with all words, in several forms."""
    model = load_parseq()
    crops = [render_word(np.random.default_rng([seed, i]))[0] for i in tqdm(range(count), desc="words")]
    floats, levels = (
        torch.from_numpy(ParseqProcessor(charset=model.charset, raw_images=raw).preprocess(crops))
        for raw in (False, True)
    )
    batches = -(-count // BATCH)
    expected = _dynamic_texts(model, floats)
    loop = StaticPARSeq(model, batch_size=BATCH, method="fixed_point")
    once = StaticPARSeq(model, batch_size=BATCH, method="fused")
    filled = torch.cat([floats, floats[:1].expand(batches * BATCH - count, -1, -1, -1)]).split(BATCH)
    few = Counted(compile_for_inferentia(StaticPARSeq(model, batch_size=BATCH, options=FEW_BYTES), target="cpu"))
    carried = Counted(compile_for_inferentia(once, target="cpu"))
    processor = ParseqProcessor(charset=model.charset)
    for compiled, images in ((few, levels), (carried, floats)):
        if [r.text for r in processor.postprocess(FixedShape(compiled)(images))] != expected:
            raise SystemExit("words are not read as the dynamic model reads them; nothing was counted")
    full = PARSeq(94)
    # A call of the fused graph makes this many passes, and says so by `passes`.
    each = once.decoding.passes_in_call
    passes = sum(loop.passes(batch) for batch in tqdm(filled, desc="fixed point"))
    repeated = sum(once.passes(batch) // each for batch in tqdm(filled, desc="fused"))
    rows = [
        _row(
            "fixed point",
            {"encode": batches, "decode": passes},
            StaticPARSeq(full, batch_size=BATCH, method="fixed_point"),
        ),
        _row("fused, batches repeated", {"fused": repeated}, StaticPARSeq(full, batch_size=BATCH, method="fused")),
        _row(
            "fused, rows carried over", {"fused": carried.calls}, StaticPARSeq(full, batch_size=BATCH, method="fused")
        ),
        _row(
            "the same, bytes in and tokens out",
            {"fused": few.calls},
            StaticPARSeq(full, batch_size=BATCH, options=FEW_BYTES),
        ),
    ]
    if rows[-1]["bytes"] != few.bytes:
        raise SystemExit(f"estimate says {rows[-1]['bytes']} bytes, and {few.bytes} were passed; one of them is wrong")
    # Pixels, and four numbers for each position: start, ids and probabilities; and settled.
    needed = count * (3 * 32 * 128 + 4 * (3 * 26 + 1))
    return {"count": count, "batches": batches, "bytes_needed": needed, "rows": rows}


def count_pages(count: int, seed: int) -> dict[str, Any]:
    """Calls of the recogniser for pages read one by one, as a list, and as one batch."""
    pages = _pages(count, seed)
    craft, parseq = load_craft(), load_parseq()
    for_pages, for_words = CraftProcessor(mag_ratio=1.0), ParseqProcessor(charset=parseq.charset)
    detector = compile_for_inferentia(
        StaticCRAFT(craft, height=PAGE[0], width=PAGE[1]), target="cpu", processor=for_pages
    )
    fused = StaticPARSeq(parseq, batch_size=BATCH, options=FEW_BYTES)
    recognizer = Counted(compile_for_inferentia(fused, target="cpu"))
    pipeline = OCRPipeline(detector, recognizer, progress=False)
    dynamic = OCRPipeline(detector, parseq, recognizer_processor=for_words, recognizer_batch_size=1, progress=False)
    expected = [page.text for page in dynamic(pages)]
    ways: dict[str, Callable[[], list[Any]]] = {
        "one by one": lambda: [pipeline(page) for page in pages],
        "as a list": lambda: pipeline(pages),
        "as one batch": lambda: pipeline.read_batch(pages).pages,
    }
    calls, words = {}, 0
    for name, read in ways.items():
        recognizer.calls = 0
        found = read()
        if [page.text for page in found] != expected:
            raise SystemExit(f"pages read {name} are not what the dynamic model reads; nothing was counted")
        words, calls[name] = sum(len(page.words) for page in found), recognizer.calls
    return {"count": count, "words": words, "batches": -(-words // BATCH), "calls": calls}


def count_craft() -> list[dict[str, Any]]:
    """One picture of 1280 x 1280 pixels, in three forms."""
    forms = {
        "score maps and features": CRAFTOptions(1280, 1280),
        "score maps alone": CRAFTOptions(1280, 1280, features=False),
        "the same, bytes in": CRAFTOptions(1280, 1280, features=False, raw_images=True),
    }
    model = CRAFT()
    return [
        _row(name, {"detect": 1}, StaticCRAFT(model, options=options))
        for name, options in tqdm(forms.items(), desc="CRAFT")
    ]


def _row(name: str, executions: dict[str, int], static: Any) -> dict[str, Any]:
    given = dict(zip(static.graph_specs(), executions.values(), strict=True))
    report = estimate(static, target="inf2", passes=given)
    return {
        "name": name,
        "bytes_in": report.input_bytes,
        "bytes_out": report.output_bytes,
        "bytes": report.io_bytes,
        "device_calls": int(report.device_calls),
    }


def _dynamic_texts(model: PARSeq, images: Tensor) -> list[str]:
    processor = ParseqProcessor(charset=model.charset)
    with torch.no_grad():
        return [
            processor.postprocess(model(image))[0].text for image in tqdm(images.split(1), desc="the dynamic model")
        ]


def _pages(count: int, seed: int) -> list[NDArray[np.uint8]]:
    """Pages of 30 to 60 words."""
    style, tried = PageStyle(font_sizes=(16, 24), max_words=60, max_turn=2.0), 0
    found: list[NDArray[np.uint8]] = []
    while len(found) < count:
        page = render_page(np.random.default_rng([seed, tried]), PAGE, style)
        tried += 1
        if 30 <= len(page.words) <= 60:
            found.append(page.image)
    return found


def table(report: dict[str, Any]) -> str:
    """The report as text."""
    words, pages = report["words"], report["pages"]
    lines = [f"{words['count']:,} words in one call, batch {report['batch']}, {words['batches']} batches:"]
    for row in words["rows"]:
        lines.append(
            f"  {row['name']:34} {row['bytes'] / 1e6:8.1f} MB {row['bytes'] / words['bytes_needed']:7.3f} of what is "
            f"needed {row['device_calls']:4} calls {row['device_calls'] / words['batches']:6.3f} a batch"
        )
    lines.append(f"{pages['count']} pages, {pages['words']:,} words, {pages['batches']} batches of the recogniser:")
    for name, calls in pages["calls"].items():
        lines.append(f"  {name:34} {calls:4} calls {calls / pages['batches']:6.3f} a batch")
    lines.append("CRAFT, 1280 x 1280 pixels:")
    lines += [f"  {row['name']:34} {row['bytes'] / 1e6:8.1f} MB" for row in report["craft"]]
    return "\n".join(lines)


def draw(report: dict[str, Any], path: Path) -> None:
    """Bytes of words and of a picture, and calls for pages."""
    words, pages = report["words"], report["pages"]
    panels = (
        ("kB a word", {r["name"]: r["bytes"] / 1e3 / words["count"] for r in words["rows"]}),
        ("recogniser's calls, by the fewest", {n: c / pages["batches"] for n, c in pages["calls"].items()}),
        ("MB a picture, CRAFT 1280²", {r["name"]: r["bytes"] / 1e6 for r in report["craft"]}),
    )
    figure, axes = subplots(1, len(panels), size=(15, 3.2))
    for axis, (label, values) in zip(axes, panels):
        bars = axis.barh(list(values), list(values.values()))
        axis.bar_label(
            bars, [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in values.values()], padding=2
        )
        axis.invert_yaxis()
        axis.margins(x=0.2)
        axis.set_xlabel(label)
    figure.savefig(path, dpi=110)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=2000)
    parser.add_argument("--pages", type=int, default=40)
    parser.add_argument("--seed", type=int, default=18)
    parser.add_argument("--json", type=Path, default=Path("out/link.json"))
    parser.add_argument("--plot", type=Path, default=Path("out/link.png"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
