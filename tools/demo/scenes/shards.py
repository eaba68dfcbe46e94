"""Rendered crops on disk: ``python -m tools.demo.scenes.shards --out runs/shards``.

Rendering is slower than a training step on an accelerator, and crops may be seen more than once: they are rendered
beforehand, in files of a few thousand. Each depends on its seed and number alone.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from neuronkit.demo.render import render_word
from neuronkit.errors import OptionError
from tools.demo.scenes.words import Scenery, render_crop

SIZE = (32, 128)
# The package's own words, which its receipts and tests show: their labels have small letters alone.
_PLAIN_SHARE = {36: 0.3, 94: 0.0}


def write_shard(
    folder: Path,
    index: int,
    *,
    scenery: Scenery,
    characters: int = 94,
    seed: int = 0,
    count: int = 8192,
    unseen: bool = False,
) -> None:
    """Render a shard, ``00012.npy`` and ``00012.json``; one that is there already is kept.

    Args:
        folder: Where it goes.
        index: Its number.
        scenery: Faces, grounds and words.
        characters: 94 for labels as written, 36 for small letters and digits alone.
        seed: The crops follow from it, the index and the scenery.
        count: How many crops.
        unseen: Words that training keeps out, for evaluation.
    """
    labels_path = folder / f"{index:05}.json"
    if labels_path.exists():
        return
    images = np.empty((count, *SIZE, 3), np.uint8)
    labels = []
    for i in range(count):
        rng = np.random.default_rng([seed, index, i])
        if rng.random() < _PLAIN_SHARE[characters] and not unseen:
            crop, label = render_word(rng)
        else:
            crop, label = render_crop(rng, scenery, characters=characters, unseen=unseen)
        images[i] = np.asarray(Image.fromarray(crop).resize(SIZE[::-1], Image.Resampling.BICUBIC))
        labels.append(label)
    folder.mkdir(parents=True, exist_ok=True)
    for path, write in (
        (folder / f"{index:05}.npy", lambda file: np.save(file, images)),
        (labels_path, lambda file: file.write(json.dumps(labels).encode())),
    ):
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            write(file)
        os.replace(temporary, path)


@dataclass(frozen=True)
class Shards:
    """A folder of shards of one size, read as one endless row of batches.

    Attributes:
        folder: As `write_shard` fills it.
        count: How many of its shards to use.
    """

    folder: Path
    count: int

    def batch(self, seed: int, step: int, size: int) -> tuple[NDArray[np.uint8], list[str]]:
        """Read the crops (size, 32, 128, 3) and labels of a step; the order follows from the seed.

        Raises:
            OptionError: If the step's shard is not there, or holds fewer crops than a batch.
        """
        per_shard = len(_read_shard(self.folder, 0)[1]) // size
        if not per_shard:
            raise OptionError(f"batches of {size}: expected at most a shard's crops; render larger shards")
        visit, turn = divmod(step, per_shard)
        images, labels = _read_shard(self.folder, visit % self.count)
        order = np.random.default_rng([seed, visit]).permutation(len(labels))
        chosen = np.sort(order[turn * size : (turn + 1) * size])
        return images[chosen], [labels[i] for i in chosen]


@lru_cache(maxsize=2)
def _read_shard(folder: Path, index: int) -> tuple[NDArray[np.uint8], list[str]]:
    path = folder / f"{index:05}.json"
    if not path.exists():
        raise OptionError(f"shard {path} is missing; render it: python -m tools.demo.scenes.shards --out {folder}")
    return np.load(path.with_suffix(".npy"), mmap_mode="r"), json.loads(path.read_text())


def vary(rng: np.random.Generator, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Change crops (N, H, W, 3) a little, so that none is seen twice: colours, light and shade, place."""
    count = len(images)
    varied = images[..., rng.permutation(3)].astype(np.float32)
    negative = rng.random(count) < 0.15
    varied[negative] = 255 - varied[negative]
    gain = rng.uniform(0.75, 1.25, size=(count, 1, 1, 1)).astype(np.float32)
    offset = rng.uniform(-25, 25, size=(count, 1, 1, 1)).astype(np.float32)
    varied = (varied - 127) * gain + 127 + offset
    shift = (int(rng.integers(-1, 2)), int(rng.integers(-2, 3)))
    return np.clip(np.roll(varied, shift, axis=(1, 2)), 0, 255).astype(np.uint8)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo.scenes.shards", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--characters", type=int, choices=_PLAIN_SHARE, default=36, help="of the labels")
    parser.add_argument("--first", type=int, default=0, help="number of the first shard")
    parser.add_argument("--count", type=int, default=32, help="how many shards")
    parser.add_argument("--size", type=int, default=8192, help="crops in a shard")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unseen", action="store_true", help="words that training keeps out, for evaluation")
    given = parser.parse_args(arguments)
    scenery = Scenery.installed()
    print(f"{len(scenery.faces)} faces, {len(scenery.grounds.photographs)} photographs, {len(scenery.words)} words")
    for index in tqdm(range(given.first, given.first + given.count), unit="shard"):
        write_shard(
            given.out,
            index,
            scenery=scenery,
            characters=given.characters,
            seed=given.seed,
            count=given.size,
            unseen=given.unseen,
        )


if __name__ == "__main__":
    main()
