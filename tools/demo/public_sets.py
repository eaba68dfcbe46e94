"""Read word crops of public sets: ``python -m tools.demo.public_sets --clones DIR``.

DIR holds clones of baudm/parseq, clovaai/deep-text-recognition-benchmark and open-mmlab/mmocr, in folders of these
names. Their pictures are looked at, and neither trained on nor kept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from neuronkit.demo.weights import load_parseq
from neuronkit.errors import ImageError
from neuronkit.ocr.images import load_image
from neuronkit.ocr.parseq import ParseqProcessor
from tools.demo.scenes.texts import simple_text

# The labels that the first two projects give in their README.
_PARSEQ = {
    "art-01107.jpg": "CHEWBACCA",
    "coco-1166773.jpg": "Chevron",
    "cute-184.jpg": "SALMON",
    "ic13_word_256.png": "Verbandstoffe",
    "ic15_word_26.png": "Kappa",
    "uber-27491.jpg": "3rdAve",
}
_BENCHMARK = (
    *("available", "shakeshack", "london", "greenstead", "toast"),
    *("merry", "underground", "ronaldo", "bally", "university"),
)
_LONGEST = 25

Crops = list[tuple[NDArray[np.uint8], str]]


def read_sets(clones: Path) -> dict[str, Crops]:
    """Read the sets' crops and labels of 1 to 25 letters and digits.

    Args:
        clones: Folder with the folders parseq, deep-text-recognition-benchmark and mmocr.

    Raises:
        ImageError: If a picture is missing.
    """
    data = clones / "mmocr" / "tests" / "data"
    receipts = {1: "WildReceipt, a photograph", 2: "WildReceipt, a scan"}
    return {
        "parseq": [(load_image(clones / "parseq" / "demo_images" / k), v) for k, v in _PARSEQ.items()],
        "deep-text-recognition-benchmark": list(_benchmark(clones / "deep-text-recognition-benchmark" / "demo_image")),
        "mmocr, scenes": list(_mmocr_words(data / "rec_toy_dataset")),
        **{name: list(_receipt(data / "kie_toy_dataset" / "wildreceipt", i)) for i, name in receipts.items()},
    }


def _benchmark(folder: Path) -> Iterator[tuple[NDArray[np.uint8], str]]:
    for i, label in enumerate(_BENCHMARK, start=1):
        found = sorted(folder.glob(f"demo_{i}.*"))
        if not found:
            raise ImageError(f"{folder}/demo_{i}.* is missing; expected a clone's picture; clone the repository anew")
        yield load_image(found[0]), label


def _mmocr_words(folder: Path) -> Iterator[tuple[NDArray[np.uint8], str]]:
    for item in json.loads((folder / "labels.json").read_text())["data_list"]:
        yield load_image(folder / "imgs" / item["img_path"]), item["instances"][0]["text"]


def _receipt(folder: Path, number: int) -> Iterator[tuple[NDArray[np.uint8], str]]:
    line = json.loads((folder / "data.txt").read_text(encoding="utf-8").splitlines()[number - 1])
    image = load_image(folder / Path(line["file_name"]).name)
    for word in line["annotations"]:
        label = word["text"]
        x, y = np.reshape(word["box"], (4, 2)).T.astype(int)
        if 1 <= len(simple_text(label)) <= _LONGEST:
            yield image[max(y.min(), 0) : y.max(), max(x.min(), 0) : x.max()], label


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo.public_sets", description=__doc__)
    parser.add_argument("--clones", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="a file of tools.demo.train; else those of the package")
    parser.add_argument("--words", action="store_true", help="print every word and what was read")
    given = parser.parse_args(arguments)
    model = load_parseq() if given.weights is None else load_parseq(given.weights)
    processor = ParseqProcessor(charset=model.charset)
    all_right = all_words = 0
    for name, crops in read_sets(given.clones).items():
        with torch.no_grad():
            logits = model(torch.from_numpy(processor.preprocess([image for image, _ in crops])))
        texts = [result.text for result in processor.postprocess(logits)]
        pairs = [(simple_text(text), simple_text(label)) for text, (_, label) in zip(texts, crops, strict=True)]
        right = sum(read == true for read, true in pairs)
        print(f"{name}: {right} of {len(pairs)}")
        if given.words:
            print("\n".join(f"  {true:>26}  {read}" for read, true in pairs))
        all_right, all_words = all_right + right, all_words + len(pairs)
    print(f"all: {all_right} of {all_words}, {all_right / all_words:.1%}")


if __name__ == "__main__":
    main()
