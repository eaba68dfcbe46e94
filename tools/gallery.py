"""The pictures of docs/gallery.md: ``python -m tools.gallery`` draws them all into docs/images/gallery."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import neuronkit
from neuronkit.analysis import compare_costs
from neuronkit.demo.picture import IMAGE
from neuronkit.demo.render import render_word
from neuronkit.demo.weights import load_craft, load_parseq
from neuronkit.ocr import CraftProcessor, OCRPipeline, ParseqProcessor, crop_words, load_image

FOLDER = Path(__file__).parent.parent / "docs" / "images" / "gallery"
CANVAS = (736, 512)
_DPI = 100


class Models:
    """The demo's models, static, and a page that they read."""

    def __init__(self) -> None:
        self.craft, self.parseq = load_craft(), load_parseq()
        self.detector = neuronkit.StaticCRAFT(self.craft, height=CANVAS[0], width=CANVAS[1])
        self.recognizer = neuronkit.StaticPARSeq(self.parseq, batch_size=8)
        self.finding = CraftProcessor(canvas=CANVAS, mag_ratio=1.0)
        self.reading = ParseqProcessor(charset=self.parseq.charset)

    def pipeline(self, **settings: Any) -> OCRPipeline:
        """A reader of the two models."""
        return OCRPipeline(
            self.detector,
            self.recognizer,
            detector_processor=self.finding,
            recognizer_processor=self.reading,
            **settings,
        )

    def scores(self, network: Callable[..., Any]) -> torch.Tensor:
        """Score maps (H/2, W/2, 2) of the demo's picture on the canvas."""
        canvas, letterboxes = self.finding.preprocess([IMAGE])
        valid = torch.tensor([letterboxes[0].valid_size], dtype=torch.int32)
        with torch.no_grad():
            found: torch.Tensor = network(torch.from_numpy(canvas), valid)[0][0]
        return found


def figure(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def read_page(models: Models) -> Image.Image:
    """What the reader finds on the demo's picture, drawn on it."""
    return Image.fromarray(models.pipeline()(IMAGE).draw())


def heat_map(models: Models) -> Image.Image:
    """Where the detector sees characters."""
    return Image.fromarray(models.pipeline(keep_scores=True)(IMAGE).draw(heat_map=True))


def padding(models: Models) -> Figure:
    """What plain padding changes, beside what the exact graph changes, on one logarithmic scale."""
    alone = models.scores(models.detector.reference)
    plain = models.scores(lambda images, valid: (models.craft(images)[0],))
    exact = models.scores(models.detector)
    rows, columns = (int(n) for n in (alone.abs().amax(-1) > 0).nonzero().amax(0) + 1)
    made = figure(9, 6)
    left, right = made.subplots(1, 2, sharey=True)
    for axes, title, scores in ((left, "padded with zeros", plain), (right, "StaticCRAFT", exact)):
        error = (scores - alone).abs().amax(-1)[:rows, :columns].numpy()
        shown = axes.imshow(np.log10(error.clip(1e-9)), vmin=-8, vmax=-1, cmap="magma")
        axes.set(title=f"{title}: at most {error.max():.1e}", xticks=[], yticks=[])
    made.colorbar(shown, ax=[left, right], label="log10 of the difference from the picture on its own", shrink=0.8)
    return made


def words(models: Models) -> Figure:
    """Words, and what the dynamic and the static model read."""
    (page,) = [models.pipeline()(IMAGE)]
    crops = crop_words(load_image(IMAGE), [word.box for word in page.words if word.box is not None])[:16]
    images = torch.from_numpy(models.reading.preprocess(crops))
    with torch.no_grad():
        dynamic = models.reading.postprocess(models.parseq(images))
    static = models.reading.postprocess(models.recognizer(images))
    made = figure(9, 4)
    for axes, crop, ours, theirs in zip(made.subplots(4, 4).flat, crops, static, dynamic):
        axes.imshow(crop, aspect="auto")
        same = "=" if ours.text == theirs.text else "differs from"
        axes.set_title(f"{ours.text} {same} {theirs.text}", fontsize=9)
        axes.set(xticks=[], yticks=[])
    return made


def passes(models: Models) -> Figure:
    """Decoder passes that words take until nothing changes."""
    rng = np.random.default_rng(7)
    one = neuronkit.StaticPARSeq(models.parseq, batch_size=1)
    images = models.reading.preprocess([render_word(rng)[0] for _ in range(300)])
    counts = Counter(one.passes(torch.from_numpy(image[None])) for image in images)
    made = figure(7, 3.5)
    axes = made.subplots()
    bars = axes.bar(list(map(str, sorted(counts))), [counts[n] for n in sorted(counts)])
    axes.bar_label(bars)
    axes.margins(y=0.12)
    axes.set(xlabel="decoder passes, guess and refinement counted", ylabel="words of 300")
    axes.set_title("One by one, a word of n letters takes n + 1 passes and the refinement")
    return made


def buckets(models: Models) -> Path:
    """Shapes for pages of many sizes."""
    rng = np.random.default_rng(3)
    sizes = [
        (int(height), int(height * ratio))
        for height, ratio in zip(rng.integers(300, 1600, 800), rng.choice([0.45, 0.71, 1.0, 1.41], 800))
    ]
    path = FOLDER / "buckets.png"
    neuronkit.plan_buckets(sizes, 6).plot(path, sizes)
    return path


def roofline(models: Models) -> Figure:
    """FLOPs for each byte that has to move, against what one core of Inferentia2 can do with them."""
    made = figure(7, 4.5)
    axes = made.subplots()
    report = neuronkit.estimate(models.recognizer, target="inf2")
    peak = report.chip.core_flops("float32", report.precision)
    bandwidth = report.chip.core_bytes_per_second
    span = np.logspace(-0.5, 4, 200)
    axes.loglog(span, np.minimum(span * bandwidth, peak) / 1e12, color="black", label="bound of one core")
    for batch in (1, 8, 64):
        static = neuronkit.StaticPARSeq(models.parseq, batch_size=batch)
        costs = neuronkit.estimate(static, target="inf2").graphs
        _mark(axes, {f"{name}, batch {batch}": cost.count for name, cost in costs.items()}, peak, bandwidth, "o")
    for height in (480, 1280):
        cost = neuronkit.estimate(neuronkit.StaticCRAFT(models.craft, height=height, width=height), target="inf2")
        _mark(axes, {f"CRAFT, {height} px": next(iter(cost.graphs.values())).count}, peak, bandwidth, "s")
    axes.set(xlabel="FLOPs for each byte of weights, inputs and outputs", ylabel="10^12 FLOPs a second, at most")
    axes.legend(fontsize=8, loc="lower right")
    axes.grid(alpha=0.3)
    return made


def _mark(axes: Any, counts: dict[str, Any], peak: float, bandwidth: float, marker: str) -> None:
    for name, count in counts.items():
        intensity = count.flops / (count.weight_bytes + count.io_bytes)
        axes.loglog(intensity, min(intensity * bandwidth, peak) / 1e12, marker, label=name)


def costs(models: Models) -> Path:
    """The least time and price of several shapes and batches."""
    path = FOLDER / "costs.png"
    reports = {
        f"PARSeq, batch {batch}": neuronkit.estimate(
            neuronkit.StaticPARSeq(models.parseq, batch_size=batch), target="inf2"
        )
        for batch in (1, 8, 32)
    }
    compare_costs(reports).plot(path)
    return path


def turned(models: Models) -> Figure:
    """A page that lies on its side, as it came and as it was read."""
    image = np.rot90(np.asarray(load_image(IMAGE))).copy()
    page = models.pipeline(rotations=(90, 180, 270))(image)
    made = figure(9, 5)
    left, right = made.subplots(1, 2, width_ratios=[1.4, 1])
    left.imshow(image)
    left.set(title="as it came", xticks=[], yticks=[])
    right.imshow(page.draw())
    right.set(title=f"read after turning by {page.rotation} degrees", xticks=[], yticks=[])
    return made


def compatibility(models: Models) -> Figure:
    """The table of docs/compatibility.md, with the size of each difference as a colour."""
    rows = re.findall(r"^\|(.+)\|$", (FOLDER.parents[1] / "compatibility.md").read_text(encoding="utf-8"), re.MULTILINE)
    (_, *targets), _, *cases = ([cell.strip() for cell in row.split("|")] for row in rows)
    number = re.compile(r"\d+e-\d+")
    made = figure(9, 1 + 0.25 * len(cases))
    axes = made.subplots()
    drawn = [[float(cell) if number.fullmatch(cell) else np.nan for cell in cells] for _, *cells in cases]
    shown = axes.imshow(np.log10(drawn), cmap="YlOrRd", vmin=-8, vmax=-4, aspect="auto")
    for row, (_, *cells) in enumerate(cases):
        for column, cell in enumerate(cells):
            axes.text(column, row, cell, ha="center", va="center", fontsize=9)
    axes.set_xticks(range(len(targets)), targets)
    axes.set_yticks(range(len(cases)), [name for name, *_ in cases], fontsize=9)
    axes.xaxis.tick_top()
    made.colorbar(shown, label="log10 of the largest difference")
    return made


def overview(models: Models) -> Figure:
    """README's picture: what goes in, where words are, and what they say, the same dynamic and static."""
    static = models.pipeline(keep_scores=True)(IMAGE)
    dynamic = OCRPipeline(
        models.craft, models.parseq, detector_processor=models.finding, recognizer_processor=models.reading
    )(IMAGE)
    made = figure(10, 4.6)
    panels = made.subplots(1, 4)
    titles = ("a picture", "characters, found by CRAFT", "words, read by PARSeq", "its text")
    for axes, title in zip(panels, titles):
        axes.set_title(title, fontsize=11)
        axes.set(xticks=[], yticks=[])
    for axes, image in zip(panels, (load_image(IMAGE), static.draw(heat_map=True), static.draw())):
        axes.imshow(image)
    panels[3].set_box_aspect(static.size[0] / static.size[1])
    panels[3].axis("off")
    panels[3].text(0, 0.97, static.text, va="top", family="monospace", fontsize=10, transform=panels[3].transAxes)
    same = "the same" if static.text == dynamic.text else "not the same"
    made.supxlabel(f"Read by static graphs, as Inferentia takes them; the PyTorch models read {same}.", fontsize=11)
    return made


PICTURES: dict[str, Callable[[Models], Any]] = {
    function.__name__: function
    for function in (read_page, heat_map, padding, words, passes, buckets, roofline, costs, turned, compatibility)
}


README = {"overview": overview}
PLOTS = ("passes", "buckets", "roofline", "costs", "compatibility")


def draw(names: list[str]) -> None:
    """Write the named pictures; all of them without names."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    models = Models()
    functions = {**PICTURES, **README}
    for name in names or functions:
        made = functions[name](models)
        # JPEG for what shows photographs and maps, which as PNG would be five times as large.
        path = FOLDER / f"{name}.{'png' if name in PLOTS else 'jpg'}"
        if isinstance(made, Figure):
            made.savefig(path, dpi=_DPI)
        elif isinstance(made, Image.Image):
            made.save(path, quality=85)


if __name__ == "__main__":
    draw(sys.argv[1:])
