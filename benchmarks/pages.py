"""A page from image to text on one thread, against EasyOCR, in one process, in turns.

    python benchmarks/pages.py
    python benchmarks/pages.py --targets openvino

Neuronkit's networks run on ONNX Runtime or OpenVINO. Both sides have the same weights, and must find as many words
before anything is timed. CRAFT is the demo's, its weights laid into the channels of the full-size network. The
recogniser has random weights in the published sizes: it costs what a trained one costs. EasyOCR reads each word once.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from ocr import SEED, EasyOCRDetector, Result, compare, reloaded, widened
from ocr_plot import draw
from torch import Tensor, nn

import neuronkit
from neuronkit import LineOptions, make_static
from neuronkit.demo.pages import PageStyle, render_page
from neuronkit.demo.weights import load_craft
from neuronkit.ocr import CraftProcessor, CtcProcessor, OCRPipeline
from neuronkit.targets import find_target

RUNTIMES = ("onnx", "openvino")
# Of a batch of words.
ROWS = 16


def page_of_words() -> np.ndarray:
    """A page of some thirty words."""
    return render_page(np.random.default_rng(SEED), (480, 640), PageStyle(font_sizes=(16, 20), max_words=200)).image


def against_easyocr(rounds: int, targets: Sequence[str]) -> list[Result]:
    """EasyOCR's way from image to boxes and its recogniser of words; ours with the same CRAFT and recogniser."""
    from easyocr.config import recognition_models
    from easyocr.model.vgg_model import Model

    torch.manual_seed(SEED)
    craft, characters = widened(load_craft()), recognition_models["gen2"]["english_g2"]["characters"]
    network = Model(1, 256, 256, len(characters) + 1).eval()
    peer = EasyOCRWords(craft, network, characters)
    detector, results, page = CraftProcessor(canvas_size=1280, mag_ratio=1.0), [], page_of_words()
    width = peer.words(page)[1]
    canvas, _ = detector.preprocess([page])
    for target in targets:
        lines = [make_static(network, batch_size=ROWS, options=LineOptions(width * i // 4)) for i in (1, 2, 3, 4)]
        ours = OCRPipeline(
            reloaded(craft, canvas.shape, target),
            Widths([reloaded(static, None, target) for static in lines]),
            detector_processor=detector,
            recognizer_processor=CtcProcessor(characters, image_size=(64, width), channels=1, keep_ratio=True),
        )
        count = len(ours(page).words)
        assert count == len(peer(page)) >= 20
        name = f"CRAFT and EasyOCR's recogniser, {page.shape[1]} x {page.shape[0]}, {target}"
        note = f"{count} words"
        results.append(compare(name, "easyocr", lambda: peer(page), lambda read=ours: read(page), rounds, note))  # type: ignore[misc]
    return results


class EasyOCRWords:
    """EasyOCR's detection and recognition of words, each read once."""

    def __init__(self, craft: Any, network: nn.Module, characters: str) -> None:
        from easyocr.utils import CTCLabelConverter

        self._find, self._network, self._characters = EasyOCRDetector(craft), network, characters
        self._converter = CTCLabelConverter(characters)

    def words(self, page: np.ndarray) -> tuple[list[Any], int]:
        """The images of the words, and the width of the widest, to which all are filled up."""
        from easyocr.utils import get_image_list

        corners = [(quad.min(0), quad.max(0)) for quad in self._find(page)]
        boxes = [[int(low[0]), int(high[0]), int(low[1]), int(high[1])] for low, high in corners]
        images, width = get_image_list(boxes, [], cv2.cvtColor(page, cv2.COLOR_RGB2GRAY), model_height=64)
        return images, int(width)

    def __call__(self, page: np.ndarray) -> list[Any]:
        from easyocr.recognition import get_text

        images, width = self.words(page)
        # Without a second look at what is in doubt, with more contrast.
        settings = {"batch_size": ROWS, "contrast_ths": 0.0, "workers": 0}
        return get_text(self._characters, 64, width, self._network, self._converter, images, **settings)  # type: ignore[no-any-return]


class Widths:
    """Compiled recognisers of lines, narrow ones first: a batch runs in the first that holds all its lines.

    Attributes:
        specs: The inputs of the widest.
    """

    def __init__(self, models: list[neuronkit.CompiledModel]) -> None:
        self._models, self.specs = models, models[-1].specs

    def __call__(self, images: Tensor, valid_width: Tensor) -> Tensor:
        width = int(valid_width.max())
        model = next(model for model in self._models if model.specs[0].shape[3] >= width)
        logits = model(images[..., : model.specs[0].shape[3]].contiguous(), valid_width)
        logits = logits if isinstance(logits, Tensor) else logits[0]
        # After the end of each line, CTC reads blanks, which are class 0.
        missing = logits.new_zeros(len(logits), self._models[-1].output_specs[0].shape[1] - logits.shape[1], 1)
        return torch.cat([logits, nn.functional.pad(missing + 1, (0, logits.shape[2] - 1))], dim=1)


def main() -> None:
    """Measure, print, and write JSON and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--targets", nargs="+", choices=RUNTIMES, default=RUNTIMES)
    results = Path(__file__).parent / "results"
    parser.add_argument("--json", type=Path, default=results / "pages.json")
    parser.add_argument("--plot", type=Path, default=results / "pages.png")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rows = against_easyocr(arguments.rounds, arguments.targets)
    print(*rows, sep="\n")
    versions = {
        name: version for t in arguments.targets for name, version in find_target(t).check_environment().items()
    }
    machine = {"processor": platform.machine(), "threads": 1, "rounds": arguments.rounds, "versions": versions}
    found = {"neuronkit": neuronkit.__version__, "machine": machine, "results": [asdict(row) for row in rows]}
    for path in (arguments.json, arguments.plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw(found["results"], arguments.plot)


if __name__ == "__main__":
    main()
