"""How many texts change when lines are padded to one width: by four ways of padding, on a small CRNN trained here.

    python -m benchmarks.lines [--steps 900] [--lines 1000]

Every way is compared with the CRNN on each line alone. "plain" pads with zeros, "corner" with the line's last corner
pixel, "replicated" with its last column, "exact" is `neuronkit.make_static`. Speed is a ratio: all lines through the
compiled canvas, over all lines alone.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

import neuronkit
from neuronkit.adapters.lines.crnn import StaticCRNN
from neuronkit.ocr import Charset, CtcProcessor

HEIGHT, NARROWEST, WIDEST = 32, 16, 1024
CHARACTERS = "0123456789"


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
    levels = np.asarray(image, np.float32) + rng.normal(0, 3, (HEIGHT, width))
    return torch.from_numpy(levels.astype(np.float32) / 127.5 - 1)[None], text


def train(steps: int, batch: int = 24) -> CRNN:
    """A CRNN that reads such lines, in a few minutes of one CPU thread."""
    torch.manual_seed(0)
    rng, model = np.random.default_rng(0), CRNN()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.05)
    for step in range(steps):
        # Words of one character first: from longer ones it is slow to learn where characters are.
        length = int(rng.integers(1, 2 + min(6, step // 40)))
        lines = [line(rng, length) for _ in range(batch)]
        widest = max(image.shape[2] for image, _ in lines)
        images = torch.stack([pad(image, widest, "replicated") for image, _ in lines])
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


def main() -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, rng = train(arguments.steps), np.random.default_rng(1)
    lengths = np.exp(rng.uniform(0, np.log(90), arguments.lines)).astype(int)
    written = [line(rng, int(length)) for length in lengths]
    images = [image for image, _ in written]
    processor = CtcProcessor(Charset(CHARACTERS), (HEIGHT, WIDEST), channels=1, keep_ratio=True)
    options = neuronkit.LineOptions(width=WIDEST, height=HEIGHT)
    static = StaticCRNN(model, batch_size=arguments.batch, options=options)
    compiled = neuronkit.FixedShape(neuronkit.compile_for_inferentia(static, target="cpu"))

    def texts(rows: list[Tensor]) -> list[str]:
        return [processor.postprocess(row[None])[0].text for row in rows]

    def timed(read: Callable[[], list[Tensor]]) -> tuple[list[str], float]:
        begin = time.perf_counter()
        rows = read()
        return texts(rows), time.perf_counter() - begin

    def padded(how: str) -> list[Tensor]:
        batches = torch.stack([pad(image, WIDEST, how) for image in images]).split(arguments.batch)
        return [row for batch in batches for row in model(batch)]

    with torch.no_grad():
        alone, alone_s = timed(lambda: [model(image[None])[0] for image in images])
        exact, exact_s = timed(lambda: [rows[0] for rows in compiled.run([(image[None],) for image in images])])
        ways = {how: texts(padded(how)) for how in ("plain", "corner", "replicated")}
    changed = {how: sum(a != b for a, b in zip(read, alone)) for how, read in {**ways, "exact": exact}.items()}
    result = {
        "lines": len(images),
        "widths": [min(i.shape[2] for i in images), max(i.shape[2] for i in images)],
        "read_right_alone": sum(a == text for a, (_, text) in zip(alone, written)),
        "changed": changed,
        "exact_over_alone_seconds": round(exact_s / alone_s, 2),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    print(json.dumps(result, indent=1))
    return result


if __name__ == "__main__":
    main()
