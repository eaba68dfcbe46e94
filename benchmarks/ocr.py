"""OCR processing against EasyOCR and docTR, in one process, each pair measured in turns.

    python benchmarks/ocr.py                # everything
    python benchmarks/ocr.py boxes images   # some parts
    python benchmarks/ocr.py --json out/ocr.json --plot out/ocr.png --rounds 15

Every part first checks that both sides give the same answer, and stops if they do not. Parts that need a peer which is
not installed are left out, and named. Times are medians in milliseconds with the quartiles; the ratio is the median of
the ratios of each round, by the clock on the wall and by computing time, which others on the machine disturb less.
CRAFT is the demo's, its weights laid into the channels of the full-size network, so that it finds words and costs what
the published one costs; it runs on OpenVINO. Whole pages are in ``benchmarks/pages.py``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import neuronkit
from neuronkit.demo.pages import PageStyle, render_page
from neuronkit.demo.weights import load_craft
from neuronkit.models import CRAFT
from neuronkit.ocr import CraftProcessor, ParseqProcessor, crop_words, find_boxes

SEED = 7
CANVAS = (1280, 1280)
THRESHOLDS = (0.7, 0.4, 0.4)
CLOCKS = (time.perf_counter, time.process_time)


@dataclass(frozen=True)
class Result:
    """One comparison: medians and quartiles in milliseconds, ratio = theirs / ours, also of the computing time."""

    name: str
    peer: str
    theirs_ms: tuple[float, float, float]
    ours_ms: tuple[float, float, float]
    ratio: float
    computing_ratio: float
    note: str = ""

    def __str__(self) -> str:
        def ms(quartiles: tuple[float, float, float]) -> str:
            return f"{quartiles[1]:9.1f} ({quartiles[0]:.1f}-{quartiles[2]:.1f})"

        times = f"{self.peer:>11} {ms(self.theirs_ms):<30} neuronkit {ms(self.ours_ms):<28}"
        return f"{self.name:<34} {times} {self.ratio:6.2f}x, computing {self.computing_ratio:.2f}x  {self.note}"


def compare(
    name: str, peer: str, theirs: Callable[[], Any], ours: Callable[[], Any], rounds: int, note: str = ""
) -> Result:
    """Measure two functions in turns, after one call of each to warm up."""
    theirs(), ours()
    # Milliseconds: (wall, computing) of each call.
    taken: tuple[list[list[float]], list[list[float]]] = ([], [])
    for _ in range(rounds):
        for function, times in zip((theirs, ours), taken):
            begin = [clock() for clock in CLOCKS]
            function()
            times.append([(clock() - start) * 1e3 for clock, start in zip(CLOCKS, begin)])
    quartiles = [tuple(statistics.quantiles([t[0] for t in times], n=4, method="inclusive")) for times in taken]
    ratios = [statistics.median(a[i] / b[i] for a, b in zip(*taken)) for i in range(len(CLOCKS))]
    return Result(name, peer, *quartiles, *ratios, note)  # type: ignore[arg-type,call-arg]


def score_maps(size: int, words: int) -> tuple[np.ndarray, np.ndarray]:
    """The score maps that the tests compare on."""
    path = Path(__file__).parent.parent / "tests" / "ocr" / "score_maps.py"
    spec = importlib.util.spec_from_file_location("score_maps", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    region, affinity = module.make_score_maps(size, words, 1000 + size + words)
    return region, affinity


def same_boxes(found: list[Any], quads: Any, polygons: Any = None) -> None:
    """Stop unless the boxes are the peer's: number, order, corners, polygons."""
    assert len(found) == len(quads), f"{len(found)} boxes, the peer finds {len(quads)}"
    for box, quad, polygon in zip(found, quads, polygons or [None] * len(quads)):
        np.testing.assert_allclose(box.quad, quad, rtol=0, atol=1e-3)
        assert (box.polygon is None) == (polygon is None), "only one of the two fits a polygon"
        if polygon is not None:
            np.testing.assert_allclose(box.polygon, polygon, rtol=0, atol=1e-2)


def boxes(rounds: int) -> list[Result]:
    """Score maps to boxes and polygons, against EasyOCR, whose code is clovaai's."""
    from easyocr.craft_utils import getDetBoxes

    results = []
    for size, words in ((640, 20), (640, 100), (640, 400), (1200, 20), (1200, 100), (1200, 400)):
        region, affinity = score_maps(size, words)
        for polygons in (False, True):
            quads, outlines, _ = getDetBoxes(region, affinity, *THRESHOLDS, poly=polygons)
            same_boxes(find_boxes(region, affinity, polygons=polygons), quads, outlines)
            results.append(
                compare(
                    f"{'polygons' if polygons else 'boxes'} {size} px, {words} words",
                    "easyocr",
                    lambda: getDetBoxes(region, affinity, *THRESHOLDS, poly=polygons),  # noqa: B023
                    lambda: find_boxes(region, affinity, polygons=polygons),  # noqa: B023
                    max(3, rounds // 3),
                    f"{len(quads)} equal boxes, {sum(o is not None for o in outlines)} equal polygons",
                )
            )
    return results


def images(rounds: int) -> list[Result]:
    """Images to CRAFT's input, against EasyOCR."""
    from easyocr.imgproc import normalizeMeanVariance, resize_aspect_ratio

    results = []
    for height, width in ((2000, 3000), (720, 1280)):
        photo = cv2.resize(np.random.default_rng(SEED).integers(0, 256, (40, 60, 3), dtype=np.uint8), (width, height))
        processor = CraftProcessor(canvas_size=1280, mag_ratio=1.5)

        def theirs(photo: Any = photo) -> Any:
            resized, _, _ = resize_aspect_ratio(photo, 1280, cv2.INTER_LINEAR, 1.5)
            return torch.from_numpy(np.array([np.transpose(normalizeMeanVariance(resized), (2, 0, 1))]))

        def ours(photo: Any = photo, processor: Any = processor) -> Any:
            return processor.preprocess([photo])[0]

        error = float(np.abs(theirs().numpy() - ours()).max())
        assert error <= 1e-6
        note = f"largest difference {error:.1g}"
        results.append(compare(f"preprocess {width} x {height}", "easyocr", theirs, ours, rounds, note))
    return results


def words(rounds: int) -> list[Result]:
    """Word images to PARSeq's input, against torchvision, and against docTR's processor for its own PARSeq."""
    from doctr.models.preprocessor import PreProcessor
    from PIL import Image

    page = render_page(np.random.default_rng(SEED), (960, 1280), PageStyle(font_sizes=(16, 22), max_words=400))
    crops = crop_words(page.image, [_box(word.quad) for word in page.words[:128]])
    processor = ParseqProcessor(94)
    transform = processor.torchvision_transform()
    doctr = PreProcessor((32, 128), batch_size=128, preserve_aspect_ratio=True)

    def theirs() -> torch.Tensor:
        return torch.stack([transform(Image.fromarray(crop)) for crop in crops])

    np.testing.assert_array_equal(theirs().numpy(), processor.preprocess(crops))
    note = f"{len(crops)} words"
    return [
        compare(
            "word images", "torchvision", theirs, lambda: processor.preprocess(crops), rounds, note + ", equal bits"
        ),
        compare("word images", "doctr", lambda: doctr(crops), lambda: processor.preprocess(crops), rounds, note),
    ]


def detection(rounds: int) -> list[Result]:
    """Detection of pages of words: network alone, and from image to boxes, on reloaded artifacts, against EasyOCR."""
    craft = widened(load_craft())
    theirs = EasyOCRDetector(craft)
    some = render_page(np.random.default_rng(SEED), (736, 960), PageStyle(font_sizes=(14, 16), max_words=150)).image
    # The dense one takes half a minute a round.
    return [
        *detect_page(craft, theirs, some, rounds),
        *detect_page(craft, theirs, dense_page(), max(3, rounds // 3), network=False),
    ]


def detect_page(
    craft: CRAFT, theirs: EasyOCRDetector, page: np.ndarray, rounds: int, *, network: bool = True
) -> list[Result]:
    """Compare on one page: CRAFT compiled as it is for the page's canvas, and with masks, for images of any size."""
    from easyocr.craft_utils import getDetBoxes

    processor = CraftProcessor(canvas_size=1280, mag_ratio=1.0)
    inputs, letterboxes = processor.preprocess([page])
    scores = theirs.network(inputs)[0]
    found = processor.postprocess(scores[None], letterboxes)
    side = f"{inputs.shape[3]} x {inputs.shape[2]}"
    results = [
        compare(
            f"boxes of scores {side}",
            "easyocr",
            lambda: getDetBoxes(scores[..., 0], scores[..., 1], *THRESHOLDS),
            lambda: processor.postprocess(scores[None], letterboxes),
            rounds,
            f"{len(found[0])} equal boxes",
        )
    ]
    static = neuronkit.StaticCRAFT(craft, height=inputs.shape[2], width=inputs.shape[3])
    for kind, artifact in (("", reloaded(craft, inputs.shape)), ("masked ", reloaded(static))):

        def ours(artifact: Any = artifact) -> Any:
            canvas, boxes = processor.preprocess([page])
            return processor.postprocess(scores_of(artifact, canvas), boxes)[0]

        boxes = ours()
        same_boxes(boxes, theirs(page))
        assert len(boxes) >= 100
        error = float(np.abs(scores_of(artifact, inputs)[0] - scores).max())
        if network:
            results.append(
                compare(
                    f"{kind}network {side}",
                    "easyocr",
                    lambda: theirs.network(inputs),
                    lambda artifact=artifact: scores_of(artifact, inputs),  # type: ignore[misc]
                    rounds,
                    f"differs by {error:.1g}",
                )
            )
        name, note = f"{kind}detection {side}", f"{len(boxes)} equal boxes"
        results.append(compare(name, "easyocr", lambda: theirs(page), ours, rounds, note))
    return results


def scores_of(artifact: neuronkit.CompiledModel, canvas: np.ndarray) -> np.ndarray:
    """Run a compiled CRAFT on canvases that are image as a whole."""
    valid = [torch.tensor([canvas.shape[2:]] * len(canvas), dtype=torch.int32)] * (len(artifact.specs) - 1)
    return artifact(torch.from_numpy(canvas), *valid)[0].numpy()  # type: ignore[no-any-return]


class EasyOCRDetector:
    """EasyOCR's CRAFT with given weights, and its way from image to boxes."""

    def __init__(self, craft: CRAFT) -> None:
        from easyocr.craft import CRAFT as TheirCRAFT

        self.craft = TheirCRAFT(pretrained=False)
        self.craft.load_state_dict(craft.state_dict())
        self.craft.eval()

    def network(self, canvas: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.craft(torch.from_numpy(canvas))[0].numpy()  # type: ignore[no-any-return]

    def __call__(self, page: np.ndarray) -> Any:
        from easyocr.detection import test_net

        with torch.no_grad():
            return test_net(1280, 1.0, self.craft, page, *THRESHOLDS, False, "cpu")[0][0]


def dense_page() -> np.ndarray:
    """A page of some four hundred words that fills the canvas."""
    style = PageStyle(font_sizes=(13, 15), max_words=1000, max_turn=1.0)
    return render_page(np.random.default_rng(SEED + 2), CANVAS, style).image


def reloaded(
    model: torch.nn.Module, shape: tuple[int, ...] | None = None, target: str = "openvino"
) -> neuronkit.CompiledModel:
    """Compile a model for one thread, save it, and load it again; a dynamic one for inputs of one shape."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = None if shape is None else [torch.zeros(shape)]
        # TorchScript takes as many threads as torch.
        options = neuronkit.CompileOptions(threads=None if target == "cpu" else 1)
        # What is measured is compared with the peer's.
        compiled = neuronkit.compile_for_inferentia(model, inputs, target=target, options=options, verify=False)
        return neuronkit.load(compiled.save(Path(folder) / "model"))


def widened(small: CRAFT) -> CRAFT:
    """A full-size CRAFT that computes what a narrow one does: its weights in the first channels, zeros elsewhere."""
    large = CRAFT().eval()
    state, given = large.state_dict(), small.state_dict()
    # Where two features meet, the second one's channels begin after the first one's.
    joints = {
        f"upconv{i}.conv.0.weight": f"upconv{i - 1}.conv.3.weight" if i > 1 else "basenet.slice5.2.weight"
        for i in range(1, 5)
    }
    for name, tensor in state.items():
        narrow = given[name]
        tensor.fill_(1.0 if name.endswith("running_var") else 0.0) if tensor.ndim else tensor.copy_(narrow)
        if name in joints:
            first, wide = given[joints[name]].shape[0], state[joints[name]].shape[0]
            tensor[: len(narrow), :first] = narrow[:, :first]
            tensor[: len(narrow), wide : wide + narrow.shape[1] - first] = narrow[:, first:]
        elif tensor.ndim:
            tensor[tuple(slice(0, size) for size in narrow.shape)] = narrow
    probe = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(SEED))
    with torch.no_grad():
        torch.testing.assert_close(large(probe)[0], small.eval()(probe)[0], rtol=1e-4, atol=1e-5)
    return large


def _box(quad: np.ndarray) -> neuronkit.ocr.TextBox:
    return neuronkit.ocr.TextBox(quad)


PARTS: dict[str, Callable[[int], list[Result]]] = {
    "boxes": boxes,
    "images": images,
    "words": words,
    "detection": detection,
}


def main() -> int:
    """Run the parts that are asked for; return 1 if any was left out."""
    from ocr_plot import draw

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="parts to run; all of them without any")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, default=Path("out/ocr.json"), help="where the numbers go")
    parser.add_argument("--plot", type=Path, default=Path("out/ocr.png"), help="where the picture goes")
    arguments = parser.parse_args()
    machine = {
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "seed": SEED,
    }
    print(json.dumps(machine))
    results, missing = [], []
    for name in arguments.parts or PARTS:
        try:
            found = PARTS[name](arguments.rounds)
        except ModuleNotFoundError as error:
            missing.append(name)
            print(f"{name}: left out, {error}")
            continue
        results += found
        print(*found, sep="\n", flush=True)
    rows = [asdict(result) for result in results]
    for path in (arguments.json, arguments.plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps({"machine": machine, "results": rows}, indent=1) + "\n", encoding="utf-8")
    draw(rows, arguments.plot)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
