"""How many texts change when lines are padded to one width: by four ways of padding, on a small CRNN trained for it.

    python benchmarks/lines.py                    # 1,000 lines; the weights of benchmarks/lines.pt
    python benchmarks/lines.py --train 6000       # trains them anew first, 10 to 20 minutes of one thread

Every way is compared with the CRNN on each line alone. "plain" pads with zeros, the grey between black and white;
"corner" with the line's last corner pixel; "replicated" with its last column; "exact" is `neuronkit.make_static`. Speed
is a ratio of times: all lines through compiled shapes, over all lines alone through the CRNN.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from plotting import subplots
from torch import Tensor, nn

import neuronkit
from neuronkit.adapters.lines.crnn import StaticCRNN
from neuronkit.ocr import Charset, CtcProcessor

HEIGHT, NARROWEST, WIDEST = 32, 16, 1024
CHARACTERS = "0123456789"
LONGEST_TRAINED = 16
WEIGHTS = Path(__file__).with_suffix(".pt")


class Layer(nn.Module):
    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(inputs, hidden, bidirectional=True, batch_first=True)
        self.linear = nn.Linear(2 * hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.rnn(x)[0])


class CRNN(nn.Module):
    """Images (N, 1, 32, W) in -1..1 → logits (N, W / 4, 11)."""

    def __init__(self) -> None:
        super().__init__()
        sizes, pools = (1, 12, 24, 32, 48), ((2, 2), (2, 2), (2, 1), (4, 1))
        self.cnn = nn.Sequential(*(
            nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(pool))
            for i, o, pool in zip(sizes, sizes[1:], pools)
        ))  # fmt: skip
        self.rnn = nn.Sequential(Layer(sizes[-1], 48, 48), Layer(48, 48, 1 + len(CHARACTERS)))

    def forward(self, images: Tensor) -> Tensor:
        return self.rnn(self.cnn(images).squeeze(2).transpose(1, 2))


def line(rng: np.random.Generator, length: int) -> tuple[Tensor, str]:
    """A line (1, 32, W) of random characters on a ground of random brightness, and its text."""
    text = "".join(rng.choice(list(CHARACTERS), length))
    font = ImageFont.load_default(int(rng.integers(19, 23)))
    width = min(max(int(font.getlength(text)) + int(rng.integers(3, 9)), NARROWEST), WIDEST)
    ground, ink = int(rng.integers(120, 256)), int(rng.integers(0, 80))
    image = Image.new("L", (width, HEIGHT), ground)
    ImageDraw.Draw(image).text((2, int(rng.integers(0, 6))), text, fill=ink, font=font)
    levels = np.asarray(image, np.float32) + rng.normal(0, rng.uniform(1, 12), (HEIGHT, width))
    return torch.from_numpy(levels.astype(np.float32) / 127.5 - 1)[None], text


def train(steps: int, batch: int = 24) -> CRNN:
    """A CRNN that reads such lines, in a few minutes of one CPU thread."""
    torch.manual_seed(0)
    rng, model = np.random.default_rng(0), CRNN()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.05)
    for step in range(steps):
        # Words of one character first: from longer ones it is slow to learn where characters are.
        longest = min(LONGEST_TRAINED, 1 + step // 40)
        length = int(rng.integers(1, longest + 1))
        lines = [line(rng, length) for _ in range(batch)]
        # Stretched to one width, as recognisers are mostly trained: none of them has padding.
        width = int(np.mean([image.shape[2] for image, _ in lines]))
        images = torch.cat([nn.functional.interpolate(i[None], (HEIGHT, width), mode="bilinear") for i, _ in lines])
        targets = torch.tensor([[1 + CHARACTERS.index(c) for c in text] for _, text in lines])
        logits = model(images).log_softmax(2).transpose(0, 1)
        sizes = torch.full((batch,), len(logits)), torch.full((batch,), length)
        loss = nn.functional.ctc_loss(logits, targets, *sizes, zero_infinity=True)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)
    return model.eval()


def pad(image: Tensor, width: int, how: str) -> Tensor:
    """A line (1, H, W) at the left of a canvas."""
    missing = width - image.shape[2]
    if how == "replicated":
        return torch.cat([image, image[:, :, -1:].expand(-1, -1, missing)], 2)
    return nn.functional.pad(image, [0, missing], value=float(image[0, -1, -1]) if how == "corner" else 0.0)


def trained(steps: int | None) -> CRNN:
    """The CRNN with the weights of the file, in float16; trained first, and written, where that is asked for."""
    if steps is not None:
        state = train(steps).state_dict()
        torch.save({name: t.half() if t.is_floating_point() else t for name, t in state.items()}, WEIGHTS)
    return neuronkit.load_checkpoint(CRNN(), WEIGHTS).eval()


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    model, rng = trained(arguments.train), np.random.default_rng(1)
    lengths = np.exp(rng.uniform(0, np.log(90), arguments.lines)).astype(int)
    written = [line(rng, int(length)) for length in lengths]
    images = [image for image, _ in written]
    processor = CtcProcessor(Charset(CHARACTERS), (HEIGHT, WIDEST), channels=1, keep_ratio=True)
    plan = neuronkit.plan_buckets([image.shape[1:] for image in images], 4)
    widths = sorted({WIDEST, *(width for _, width in plan.shapes)})
    compiled = {width: compile_(model, arguments.batch, width) for width in widths}
    canvas = neuronkit.FixedShape(compiled[WIDEST])
    buckets = neuronkit.Buckets({model.specs[0].shape: model for model in compiled.values()})

    def texts(rows: list[Tensor]) -> list[str]:
        return [processor.postprocess(row[None])[0].text for row in rows]

    def padded(how: str) -> list[Tensor]:
        batches = torch.stack([pad(image, WIDEST, how) for image in images]).split(arguments.batch)
        return [row for batch in batches for row in model(batch)]

    ways: dict[str, Callable[[], list[Tensor]]] = {
        "alone": lambda: [model(image[None])[0] for image in images],
        "one canvas": lambda: [rows[0] for rows in canvas.run([(image[None],) for image in images])],
        "planned widths": lambda: buckets(images),
    }
    with torch.no_grad():
        rows, seconds = timed(ways, arguments.rounds)
        read = {"alone": texts(rows["alone"])}
        read |= {how: texts(padded(how)) for how in ("plain", "corner", "replicated")}
        read |= {"exact": texts(rows["one canvas"]), "exact, planned widths": texts(rows["planned widths"])}
    alone, truth = read["alone"], [text for _, text in written]
    report = {
        "lines": len(images),
        "widths": [min(i.shape[2] for i in images), max(i.shape[2] for i in images)],
        "parameters": sum(p.numel() for p in model.parameters()),
        "right": {how: sum(map(str.__eq__, found, truth)) for how, found in read.items()},
        "changed": {how: sum(map(str.__ne__, found, alone)) for how, found in read.items()},
        "by_width": by_width([image.shape[2] for image in images], read),
        "planned_widths": widths,
        "seconds_over_alone": {way: round(seconds[way] / seconds["alone"], 2) for way in ways},
    }
    print(json.dumps(report, indent=1))
    for path in (arguments.json, arguments.plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    draw(report, arguments.plot)


def compile_(model: CRNN, batch: int, width: int) -> neuronkit.CompiledModel:
    options = neuronkit.LineOptions(width=width, height=HEIGHT)
    return neuronkit.compile_for_inferentia(StaticCRNN(model, batch_size=batch, options=options), target="cpu")


def timed(ways: dict[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, Any], dict[str, float]]:
    """What each way gives, and the least of its times, in turn with the others so that all see the same machine."""
    results, seconds = {}, dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            results[name] = way()
            seconds[name] = min(seconds[name], time.perf_counter() - begin)
    return results, seconds


def by_width(widths: list[int], read: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Lines and changed texts between powers of two."""
    bands = []
    for low in (2**power for power in range(4, 10)):
        inside = [i for i, width in enumerate(widths) if low <= width < 2 * low or width == 2 * low == WIDEST]
        changed = {how: sum(found[i] != read["alone"][i] for i in inside) for how, found in read.items()}
        bands.append({"from": low, "to": 2 * low, "lines": len(inside), "changed": changed})
    return bands


def draw(report: dict[str, Any], path: Path) -> None:
    """The share of changed texts over the width of a line."""
    figure, axes = subplots(size=(7, 3.4))
    bands = report["by_width"]
    places = np.arange(len(bands))
    names = {"plain": "zeros", "corner": "corner pixel", "replicated": "last column", "exact": "exact"}
    for i, (how, name) in enumerate(names.items()):
        changed = [100 * band["changed"][how] / max(band["lines"], 1) for band in bands]
        label = f"{name}: {report['changed'][how]} of {report['lines']:,}"
        axes.bar(places + (i - 1.5) / 5, changed, 1 / 5, label=label)
    axes.set_xticks(places, [f"{band['from']} to {band['to']}" for band in bands])
    axes.set_xlabel(f"width of the line in pixels, padded to {WIDEST:,}")
    axes.set_ylabel("texts changed, %")
    axes.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    figure.savefig(path, dpi=110)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, metavar="STEPS", help="train the CRNN for so many steps first")
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("out/lines.json"))
    parser.add_argument("--plot", type=Path, default=Path("out/lines.png"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
