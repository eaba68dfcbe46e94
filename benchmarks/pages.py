"""A page from image to text on one thread, against EasyOCR and OnnxTR, in one process, in turns.

    python benchmarks/pages.py
    python benchmarks/pages.py easyocr dense --targets openvino    # parts; the others stay in the file as they are
    python benchmarks/pages.py onnxtr                              # needs docTR and OnnxTR

Neuronkit's networks run on ONNX Runtime or OpenVINO. Both sides have the same weights, and must find the same words
before anything is timed. CRAFT is the demo's, its weights laid into the channels of the full-size network; docTR's
LinkNet is random but for its last layer, which is fitted so that it finds print. Recognisers have random weights in the
published sizes: they cost what trained ones cost.

EasyOCR is called in three ways: "words" is its detection, and its recogniser on batches of words; "readtext" is what
its users call, as they get it, its recogniser quantised; "readtext, float32" the same in float32, against the drop-in
`neuronkit.integrations.easyocr`, which gives equal results. In none does it read words again that it is unsure of, as
random weights always are. OnnxTR is called as its users call it, and compared with docTR's predictor in which
`neuronkit.integrations.doctr` put compiled networks. It scales crops in another way than docTR; a note says how many
words read the same, and how many once it scales them as docTR does.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from ocr import CANVAS, SEED, EasyOCRDetector, Result, compare, dense_page, reloaded, widened
from ocr_plot import draw
from torch import Tensor, nn

import neuronkit
from neuronkit import LineOptions, make_static
from neuronkit.demo.pages import PageStyle, render_page
from neuronkit.demo.weights import load_craft
from neuronkit.integrations import doctr as doctr_integration
from neuronkit.integrations import easyocr as easyocr_integration
from neuronkit.ocr import CraftProcessor, CtcProcessor, OCRPipeline
from neuronkit.targets import find_target

RUNTIMES = ("onnx", "openvino")
# Of a batch of words: EasyOCR's and ours. Words of a batch are as wide as its widest, a narrow step holds little else.
THEIR_ROWS, ROWS, STEP = 16, 8, 32
# Pixels; what OnnxTR's and docTR's detectors see.
SIDE = 1024
ARCHITECTURES = ("linknet_resnet18", "crnn_vgg16_bn")


def page_of_words() -> np.ndarray:
    """A page of some thirty words."""
    return render_page(np.random.default_rng(SEED), (480, 640), PageStyle(font_sizes=(16, 20), max_words=200)).image


def against_easyocr(rounds: int, targets: Sequence[str]) -> list[Result]:
    """EasyOCR in its three ways on one page."""
    return on_page(page_of_words(), rounds, targets, drop_ins=True)


def on_dense_page(rounds: int, targets: Sequence[str]) -> list[Result]:
    """EasyOCR on a page of some four hundred words, which takes it half a minute a round: a third of the rounds."""
    return on_page(dense_page(), rounds, targets, drop_ins=False)


def on_page(page: np.ndarray, rounds: int, targets: Sequence[str], *, drop_ins: bool) -> list[Result]:
    """EasyOCR's ways to read a page; ours with the same CRAFT and recogniser."""
    from easyocr.config import recognition_models
    from easyocr.model.vgg_model import Model

    torch.manual_seed(SEED)
    craft, characters = widened(load_craft()), recognition_models["gen2"]["english_g2"]["characters"]
    network = Model(1, 256, 256, len(characters) + 1).eval()
    peer, results = EasyOCRWords(craft, network, characters), []
    readtext = partial(easyocr_reader(craft, network, quantised=True).readtext, page, contrast_ths=0.0)
    width = -(-peer.words(page)[1] // STEP) * STEP
    sizes = range(3 * STEP, width + STEP, STEP)
    lines = [make_static(network, batch_size=ROWS, options=LineOptions(size)) for size in sizes]
    detector = CraftProcessor(canvas_size=max(CANVAS), mag_ratio=1.0)
    canvas, _ = detector.preprocess([page])
    for target in targets:
        ours = OCRPipeline(
            reloaded(Scores(craft), canvas.shape, target),
            Widths([reloaded(static, None, target) for static in lines]),
            detector_processor=detector,
            recognizer_processor=CtcProcessor(characters, image_size=(64, width), channels=1, keep_ratio=True),
        )
        count = len(ours(page).words)
        assert count == len(peer(page)) >= 20
        size, note = f"{page.shape[1]} x {page.shape[0]}, {target}", f"{count} words"
        read = partial(ours, page)
        results.append(compare(f"words, {size}", "easyocr", partial(peer, page), read, rounds, note))
        note += f", read by EasyOCR in {len(readtext())} lines"
        results.append(compare(f"readtext, {size}", "easyocr", readtext, read, rounds, note))
        if drop_ins:
            plain = easyocr_reader(craft, network, quantised=False)
            results.append(drop_in(plain, page, target, rounds, f"readtext, float32, {size}"))
    return results


class Scores(nn.Module):
    """CRAFT's score maps alone: nobody reads the features, which take time to be handed out."""

    def __init__(self, craft: nn.Module) -> None:
        super().__init__()
        self.craft = craft

    def forward(self, images: Tensor) -> Tensor:
        return self.craft(images)[0]  # type: ignore[no-any-return]


def drop_in(reader: Any, page: np.ndarray, target: str, rounds: int, name: str) -> Result:
    """EasyOCR's Reader, against the same with compiled networks."""
    expected = reader.readtext(page, contrast_ths=0.0)
    fast = copy.copy(reader)
    easyocr_integration.accelerate(
        fast,
        target=target,
        canvases=[(page.shape[0], page.shape[1])],
        widths=range(64, 64 * 17, 64),
        options=neuronkit.CompileOptions(threads=1),
        verify=False,
    )
    found = fast.readtext(page, contrast_ths=0.0)
    assert [text for _, text, _ in found] == [text for _, text, _ in expected]
    np.testing.assert_array_equal([box for box, *_ in found], [box for box, *_ in expected])
    theirs, ours = (partial(one.readtext, page, contrast_ths=0.0) for one in (reader, fast))
    return compare(name, "easyocr", theirs, ours, rounds, f"{len(found)} equal lines")


def easyocr_reader(craft: Any, network: nn.Module, quantised: bool) -> Any:
    """An EasyOCR Reader of these weights, with the settings that its users get."""
    import easyocr
    from easyocr.detection import get_textbox

    with tempfile.TemporaryDirectory() as folder:
        reader = easyocr.Reader(
            ["en"],
            gpu=False,
            download_enabled=False,
            detector=False,
            recognizer=False,
            verbose=False,
            model_storage_directory=folder,
            user_network_directory=folder,
        )
    reader.detector, reader.get_textbox = EasyOCRDetector(craft).craft, get_textbox
    reader.recognizer, reader.converter = copy.deepcopy(network), easyocr.utils.CTCLabelConverter(reader.character)
    if quantised:
        # As easyocr.recognition.get_recognizer does.
        torch.ao.quantization.quantize_dynamic(reader.recognizer, dtype=torch.qint8, inplace=True)
    return reader


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
        settings = {"batch_size": THEIR_ROWS, "contrast_ths": 0.0, "workers": 0}
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


def against_onnxtr(rounds: int, targets: Sequence[str]) -> list[Result]:
    """OnnxTR's predictor, against docTR's with networks that neuronkit compiled, of the same weights."""
    # Both spread pre-processing over threads otherwise.
    os.environ.update(DOCTR_MULTIPROCESSING_DISABLE="TRUE", ONNXTR_MULTIPROCESSING_DISABLE="TRUE")
    ours = doctr_predictor()
    style = PageStyle(font_sizes=(30, 40), max_words=60)
    page = render_page(np.random.default_rng(SEED), (SIDE, SIDE), style).image
    with tempfile.TemporaryDirectory() as folder:
        theirs = onnxtr_predictor(ours, Path(folder))
    expected, results = words_of(theirs([page])), []
    for target in targets:
        options = neuronkit.CompileOptions(threads=1)
        doctr_integration.accelerate(ours, target=target, options=options, verify=False)
        found = words_of(ours([page]))
        assert len(found) == len(expected) >= 20
        np.testing.assert_allclose([box for _, box in found], [box for _, box in expected], atol=1e-5)
        equal = sum(one == other for (one, _), (other, _) in zip(found, expected))
        scaled = words_of(scaled_alike(theirs, ours)([page]))
        alike = sum(one == other for (one, _), (other, _) in zip(found, scaled))
        note = f"{len(found)} equal boxes, {equal} equal texts, {alike} with crops scaled alike"
        name = f"{' and '.join(ARCHITECTURES)}, {SIDE} x {SIDE}, {target}"
        results.append(compare(name, "onnxtr", partial(theirs, [page]), partial(ours, [page]), rounds, note))
        doctr_integration.restore(ours)
    return results


def doctr_predictor() -> Any:
    """The predictor that docTR makes, of random weights, with a detector that finds print."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from doctr.models import detection, ocr_predictor, recognition

    from tests.integrations.fitting import fit_last, ink, set_statistics

    torch.manual_seed(1)
    networks: list[Any] = [
        getattr(module, name)(pretrained=False, pretrained_backbone=False).eval()
        for module, name in zip((detection, recognition), ARCHITECTURES)
    ]
    made = ocr_predictor(*networks, det_bs=1, reco_bs=32)
    finds, reads = networks
    style = PageStyle(font_sizes=(30, 40), max_words=30)
    pages = [render_page(np.random.default_rng(seed), (SIDE // 2, SIDE // 2), style).image for seed in (9, 10)]
    mean, std = (np.array(finds.cfg[name], np.float32) for name in ("mean", "std"))
    images = torch.from_numpy((np.stack(pages) / np.float32(255) - mean) / std).permute(0, 3, 1, 2).contiguous()
    set_statistics(finds, lambda: finds(images, return_model_output=True))
    printed = ink(images)
    fit_last(finds.classifier[-1], lambda: finds(images, return_model_output=True), printed, -1.5, 1.5)
    with torch.no_grad():
        maps = finds(images, return_model_output=True)["out_map"].flatten()
    share = 1 - float(printed.mean())
    finds.postprocessor.bin_thresh = float(maps.kthvalue(int(share * len(maps))).values)
    finds.postprocessor.box_thresh = 0.0
    crops = torch.from_numpy(np.stack([page[i : i + 32, 64:192] for page in pages for i in range(0, 512, 32)]))
    lines = crops.permute(0, 3, 1, 2) / 100 - 1.5
    set_statistics(reads.feat_extractor, lambda: reads.feat_extractor(lines))
    with torch.no_grad():
        reads.linear.weight.mul_(4)
    return made


def onnxtr_predictor(predictor: Any, folder: Path) -> Any:
    """OnnxTR's predictor with the networks of docTR's."""
    import onnxruntime
    from onnxtr.models import EngineConfig, detection, ocr_predictor, recognition

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    made: list[Any] = []
    parts = predictor.det_predictor.model, predictor.reco_predictor.model
    for module, name, network, rows in zip((detection, recognition), ARCHITECTURES, parts, (1, 2)):
        exportable, path = copy.copy(network), str(folder / f"{name}.onnx")
        exportable.exportable = True
        names: Any = {"input_names": ["input"], "output_names": ["logits"]}
        axes = {name: {0: "batch"} for name in ("input", "logits")}
        example = torch.zeros(rows, *network.cfg["input_shape"])
        torch.onnx.export(exportable, (example,), path, dynamic_axes=axes, opset_version=17, dynamo=False, **names)
        made.append(getattr(module, name)(path, engine_cfg=EngineConfig(session_options=options)))
    for name in ("bin_thresh", "box_thresh"):
        setattr(made[0].postprocessor, name, getattr(parts[0].postprocessor, name))
    return ocr_predictor(*made)


def scaled_alike(theirs: Any, ours: Any) -> Any:
    """OnnxTR's predictor, its crops scaled by docTR."""
    predictor, reader = copy.copy(theirs), copy.copy(theirs.reco_predictor)
    predictor.reco_predictor, scale = reader, ours.reco_predictor.pre_processor
    reader.pre_processor = lambda crops: [batch.numpy().transpose(0, 2, 3, 1) for batch in scale(crops)]
    return predictor


def words_of(document: Any) -> list[tuple[str, Any]]:
    """Text and box of each word."""
    lines = [line for page in document.pages for block in page.blocks for line in block.lines]
    return [(word.value, np.array(word.geometry, float)) for line in lines for word in line.words]


PARTS = {"easyocr": against_easyocr, "dense": on_dense_page, "onnxtr": against_onnxtr}


def main() -> None:
    """Measure, print, and write JSON and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], help="all of them without any; the others stay as they are"
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--targets", nargs="+", choices=RUNTIMES, default=RUNTIMES)
    results = Path(__file__).parent / "results"
    parser.add_argument("--json", type=Path, default=results / "pages.json")
    parser.add_argument("--plot", type=Path, default=results / "pages.png")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    known = json.loads(arguments.json.read_text(encoding="utf-8"))["results"] if arguments.json.exists() else []
    rows = {(row["peer"], row["name"]): row for row in known}
    for part in arguments.parts or PARTS:
        rounds = max(3, arguments.rounds // 3) if part == "dense" else arguments.rounds
        found = PARTS[part](rounds, arguments.targets)
        print(*found, sep="\n", flush=True)
        rows.update({(row.peer, row.name): {**asdict(row), "rounds": rounds} for row in found})
    versions = {
        name: version for t in arguments.targets for name, version in find_target(t).check_environment().items()
    }
    machine = {"processor": platform.machine(), "threads": 1, "versions": versions}
    report = {"neuronkit": neuronkit.__version__, "machine": machine, "results": list(rows.values())}
    for path in (arguments.json, arguments.plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    draw(report["results"], arguments.plot)


if __name__ == "__main__":
    main()
