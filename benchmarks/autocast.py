"""What Neuron's auto-cast does to the demo's words and boxes, emulated on the CPU.

    python benchmarks/autocast.py                  # 500 words, 20 pages; writes results/autocast.json and .png
    python benchmarks/autocast.py --quick          # 50 words, 2 pages, a small full-size part; writes nothing
    python benchmarks/autocast.py --words 100 --pages 5 --json out.json --plot out.png

First it is checked that the emulation of a matrix product and a convolution is their definition, bit for bit, and that
"none" changes nothing; if not, this stops. Then the demo's recogniser reads the words of ``tools.demo.evaluate``,
and its detector finds the words of rendered pages, in every precision. Agreement is with the same static models in
float32: equal texts, and boxes that overlap by 0.9 of their union. Logits are compared for words that are read alike,
up to their EOS, since after another character everything differs.

The full-size part has random weights, so there is nothing to read; it says how the noise of the roundings compares with
the signal after the depth of the published models, in dB.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plotting import subplots
from torch import Tensor, nn
from torch.nn import functional as F

from neuronkit import StaticCRAFT, StaticPARSeq, emulate_autocast
from neuronkit.analysis.autocast.rounding import ROUNDINGS
from neuronkit.demo.pages import PageStyle, render_page
from neuronkit.demo.render import render_word
from neuronkit.demo.weights import load_craft, load_parseq
from neuronkit.models import CRAFT, PARSeq
from neuronkit.ocr import CraftProcessor, ParseqProcessor, TextBox
from neuronkit.ocr.metrics import box_f1, text_accuracy

SEED = 7
# Keeps the words apart from those of the training, as tools.demo.evaluate does.
UNSEEN = 0x0C3
BATCH = 50
CANVAS = (640, 640)
RESULTS = Path(__file__).parent / "results"
SETTINGS = (("none", "bf16"), *((cast, kind) for cast in ("matmult", "all") for kind in ("bf16", "fp16", "tf32")))


@dataclass(frozen=True)
class Result:
    """One precision.

    Attributes:
        auto_cast, auto_cast_type: As `emulate_autocast` takes them.
        word_accuracy: Share of words read right.
        word_agreement: Share of words read as in float32.
        max_logit_difference: Of words read alike, up to their EOS.
        box_agreement: Share of boxes that have a partner in float32, mean of the pages.
        boxes: How many were found.
        max_score_difference: Of the score maps.
        max_score_difference_dynamic: The same without the static rewrite, whose resizes are computed from positions.
        parseq_snr_db, craft_snr_db: Signal to noise of full-size models with random weights; infinite when equal.
    """

    auto_cast: str
    auto_cast_type: str
    word_accuracy: float
    word_agreement: float
    max_logit_difference: float
    box_agreement: float
    boxes: int
    max_score_difference: float
    max_score_difference_dynamic: float
    parseq_snr_db: float
    craft_snr_db: float

    @property
    def name(self) -> str:
        return "none" if self.auto_cast == "none" else f"{self.auto_cast} {self.auto_cast_type}"

    def __str__(self) -> str:
        return (
            f"{self.name:<13} words right {self.word_accuracy:7.2%}, as in float32 {self.word_agreement:7.2%}, logits "
            f"within {self.max_logit_difference:8.2g} | {self.boxes} boxes, as in float32 {self.box_agreement:7.2%}, "
            f"scores within {self.max_score_difference:8.2g} (dynamic model: "
            f"{self.max_score_difference_dynamic:.2g}) | full-size SNR: PARSeq {self.parseq_snr_db:6.1f} dB, "
            f"CRAFT {self.craft_snr_db:6.1f} dB"
        )


class Words:
    """The demo's recogniser and fresh words."""

    def __init__(self, count: int) -> None:
        pairs = [render_word(np.random.default_rng([SEED, i, UNSEEN])) for i in range(count)]
        model = load_parseq()
        self.static = StaticPARSeq(model, batch_size=BATCH)
        self.processor = ParseqProcessor(charset=model.charset)
        self.truth = [label for _, label in pairs]
        self.images = torch.from_numpy(self.processor.preprocess([crop for crop, _ in pairs]))
        self.logits = self.run(self.static)
        self.texts = self.read(self.logits)

    def run(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Logits of all words, zero after each one's EOS."""
        found = []
        for batch in self.images.split(BATCH):
            filled = torch.cat([batch, batch[:1].expand(BATCH - len(batch), -1, -1, -1)])
            with torch.no_grad():
                found.append(self.static.meaningful(function(filled), (filled,))[: len(batch)])
        return torch.cat(found)

    def read(self, logits: Tensor) -> list[str]:
        return [result.text for result in self.processor.postprocess(logits)]

    def compare(self, function: Callable[[Tensor], Tensor]) -> dict[str, float]:
        logits = self.run(function)
        texts = self.read(logits)
        alike = torch.tensor([a == b for a, b in zip(texts, self.texts)])
        return {
            "word_accuracy": text_accuracy(texts, self.truth),
            "word_agreement": text_accuracy(texts, self.texts),
            "max_logit_difference": float((logits - self.logits)[alike].abs().max()),
        }


class Pages:
    """The demo's detector and rendered pages."""

    def __init__(self, count: int) -> None:
        style = PageStyle(font_sizes=(14, 40))
        pages = [render_page(np.random.default_rng([SEED, i, UNSEEN]), CANVAS, style).image for i in range(count)]
        self.dynamic = load_craft()
        self.static = StaticCRAFT(self.dynamic, height=CANVAS[0], width=CANVAS[1])
        self.processor = CraftProcessor(mag_ratio=1.0, canvas=CANVAS)
        canvas, self.letterboxes = self.processor.preprocess(pages)
        sizes = np.array([letterbox.valid_size for letterbox in self.letterboxes], dtype=np.int32)
        self.inputs = list(zip(torch.from_numpy(canvas).split(1), torch.from_numpy(sizes).split(1)))
        # Pages that fill the canvas: there the dynamic model needs no padding.
        assert (sizes == CANVAS).all()
        self.scores = self.run(self.static)
        self.dynamic_scores = self.run(lambda images, _: self.dynamic(images))
        self.boxes = self.find(self.scores)

    def run(self, function: Callable[..., Any]) -> Tensor:
        with torch.no_grad():
            return torch.cat([function(*inputs)[0] for inputs in self.inputs])

    def find(self, scores: Tensor) -> list[list[TextBox]]:
        return self.processor.postprocess(scores.numpy(), self.letterboxes)

    def compare(self, cast: str, kind: str) -> dict[str, float]:
        static, dynamic = (
            emulate_autocast(model, auto_cast=cast, auto_cast_type=kind) for model in (self.static, self.dynamic)
        )
        scores = self.run(static)
        boxes = self.find(scores)
        moved = self.run(lambda images, _: dynamic(images)) - self.dynamic_scores
        return {
            "box_agreement": float(np.mean([box_f1(a, b) for a, b in zip(boxes, self.boxes)])),
            "boxes": sum(map(len, boxes)),
            "max_score_difference": float((scores - self.scores).abs().max()),
            "max_score_difference_dynamic": float(moved.abs().max()),
        }


class FullSize:
    """The published sizes with random weights, on real images."""

    def __init__(self, words: Words, pages: Pages, rows: int, side: int) -> None:
        torch.manual_seed(SEED)
        # One pass: with random weights a loop would only show at which token the two part.
        parseq = StaticPARSeq(PARSeq(94).eval(), batch_size=rows, decoding="nar", refine_iters=0)
        craft = StaticCRAFT(CRAFT().eval(), height=side, width=side)
        image = pages.inputs[0][0][:, :, :side, :side].contiguous()
        self.models: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = {
            "parseq_snr_db": (parseq, (words.images[:rows],)),
            "craft_snr_db": (craft, (image, torch.tensor([[side, side]], dtype=torch.int32))),
        }
        self.expected = {name: first(model, inputs) for name, (model, inputs) in self.models.items()}

    def compare(self, cast: str, kind: str) -> dict[str, float]:
        found = {}
        for name, (model, inputs) in self.models.items():
            expected = self.expected[name]
            noise = float(
                (first(emulate_autocast(model, auto_cast=cast, auto_cast_type=kind), inputs) - expected).norm()
            )
            found[name] = math.inf if noise == 0 else 20 * math.log10(float(expected.norm()) / noise)
        return found


def first(model: Callable[..., Any], inputs: tuple[Tensor, ...]) -> Tensor:
    """A model's first output."""
    with torch.no_grad():
        outputs = model(*inputs)
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def check_definition() -> None:
    """Stop unless the emulation of a product and a convolution is their definition, bit for bit."""
    generator = torch.Generator().manual_seed(SEED)
    x, y = torch.randn(2, 96, 96, generator=generator).unbind(0)
    images = torch.randn(2, 8, 32, 32, generator=generator)
    linear, conv = nn.Linear(96, 96), nn.Conv2d(8, 16, 3, padding=1)
    linear.weight.data.copy_(y)
    for kind, rounded in ROUNDINGS.items():
        with torch.no_grad():
            product = emulate_autocast(linear, auto_cast_type=kind)(x)
            assert torch.equal(product, F.linear(rounded(x), rounded(y), linear.bias))
            convolved = emulate_autocast(conv, auto_cast_type=kind)(images)
            assert torch.equal(convolved, F.conv2d(rounded(images), rounded(conv.weight), conv.bias, padding=1))
    print("matrix product and convolution equal their definition, bit for bit")


def measure(words: Words, pages: Pages, full_size: FullSize) -> Iterator[Result]:
    for cast, kind in SETTINGS:
        options = {"auto_cast": cast, "auto_cast_type": kind}
        found = {
            **words.compare(emulate_autocast(words.static, **options)),
            **pages.compare(cast, kind),
            **full_size.compare(cast, kind),
        }
        result = Result(**options, **found)  # type: ignore[arg-type]
        if cast == "none":
            assert result.word_agreement == result.box_agreement == 1
            assert result.max_logit_difference == result.max_score_difference == 0
        yield result


def plot(results: list[Result], path: Path) -> None:
    """Draw what changes, on the left, and by how much the numbers move, on the right."""
    figure, (left, right) = subplots(1, 2, size=(12, 4.5))
    places = np.arange(len(results))
    shares = {"words read as in float32": "word_agreement", "boxes as in float32": "box_agreement"}
    for offset, (label, field) in enumerate(shares.items()):
        changed = [100 * (1 - getattr(result, field)) for result in results]
        bars = left.bar(places + 0.4 * offset - 0.2, changed, 0.4, label=label.replace("as in", "not as in"))
        left.bar_label(bars, fmt="%.2g", fontsize=8)
    left.set(xticks=places, ylabel="% of the demo's words and boxes", title="What auto-cast changes")
    differences = {"logits of words read alike": "max_logit_difference", "score maps": "max_score_difference"}
    for offset, (label, field) in enumerate(differences.items()):
        moved = [getattr(result, field) for result in results[1:]]
        bars = right.bar(places[1:] + 0.4 * offset - 0.2, moved, 0.4, label=label)
        right.bar_label(bars, fmt="%.1e", fontsize=7, rotation=90, padding=2)
    right.set(xticks=places[1:], yscale="log", ylabel="largest difference", title="How far the numbers move")
    right.margins(y=0.2)
    for axes, shown in ((left, results), (right, results[1:])):
        axes.set_xticklabels([result.name for result in shown], rotation=30, ha="right")
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=500)
    parser.add_argument("--pages", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="50 words, 2 pages, a small full-size part, no files")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--plot", type=Path, help="draw them here")
    given = parser.parse_args()
    counts = (50, 2) if given.quick else (given.words, given.pages)
    machine = {
        "processor": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "seed": SEED,
        "words": counts[0],
        "pages": counts[1],
    }
    print(json.dumps(machine))
    check_definition()
    words, pages = Words(counts[0]), Pages(counts[1])
    full_size = FullSize(words, pages, *((4, 96) if given.quick else (16, 320)))
    results = []
    for result in measure(words, pages, full_size):
        results.append(result)
        print(result, flush=True)
    rows = [{k: str(v) if v == math.inf else v for k, v in asdict(result).items()} for result in results]
    default = None if given.quick else RESULTS
    json_path, plot_path = (
        chosen or (default and default / f"autocast.{ending}")
        for chosen, ending in ((given.json, "json"), (given.plot, "png"))
    )
    if json_path:
        json_path.write_text(json.dumps({"machine": machine, "results": rows}, indent=1) + "\n")
    if plot_path:
        plot(results, plot_path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
