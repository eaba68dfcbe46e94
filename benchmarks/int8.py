"""A study: PARSeq's encoder in int8 on ONNX Runtime, with a certificate for each word.

    python benchmarks/int8.py            # 480 words; writes results/int8.json

Weights and activations of the encoder's matrix products are int8 (dynamic quantisation), the decoder stays float32. A
word's margin is the smallest gap of the two best logits over its positions. The largest error of logits is measured on
half of the words; a word of the other half whose margin is below twice as much is read again in float32. It pays where
both together take less time than float32 alone, and is of use only where no accepted word differs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.quantization import quantize_dynamic

from neuronkit import CompileOptions, StaticPARSeq, compile_for_inferentia
from neuronkit.demo.render import render_word
from neuronkit.demo.weights import load_parseq
from neuronkit.models import PARSeq
from neuronkit.ocr import ParseqProcessor

ROWS = 8
EOS = 0


def main() -> None:
    """Measure, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=480, help="a multiple of 16")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "int8.json")
    arguments = parser.parse_args()
    model, rng = load_parseq(), np.random.default_rng(7)
    crops = [render_word(rng)[0] for _ in range(arguments.words)]
    images = ParseqProcessor(charset=model.charset).preprocess(crops).reshape(-1, ROWS, 3, 32, 128)
    with tempfile.TemporaryDirectory() as folder:
        wide, narrow = _models(model, Path(folder))
        batches = [_read(wide, narrow, batch) for batch in images]
        encoders = _models(PARSeq(94).eval(), Path(folder) / "published")
        taken = [[_seconds(model.graphs["encode"], images[0]) for model in encoders] for _ in range(9)]
    report = {
        "onnxruntime": onnxruntime.__version__,
        "threads": 1,
        **_report(batches),
        "encoder_of_published_size_int8_over_float32_time": round(statistics.median(b / a for a, b in taken), 3),
    }
    print(json.dumps(report, indent=1))
    arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _models(model: Any, folder: Path) -> tuple[Any, Any]:
    """The artifact's own page of Python twice, the second with an encoder in int8."""
    folder.mkdir(exist_ok=True)
    static = StaticPARSeq(model, batch_size=ROWS, method="stepwise")
    options = CompileOptions(threads=1)
    path = compile_for_inferentia(static, target="onnx", options=options, verify=False).save(folder / "artifact")
    quantize_dynamic(path / "encode.onnx", folder / "encode.onnx")
    spec = importlib.util.spec_from_file_location("run", path / "run.py")
    assert spec is not None
    assert spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    wide, narrow = page.Model(path), page.Model(path)
    described = json.loads((path / "graphs.json").read_text(encoding="utf-8"))["graphs"]["encode"]
    narrow.graphs["encode"] = page.open_onnx(folder / "encode.onnx", described, 1, "float32")
    return wide, narrow


def _read(wide: Any, narrow: Any, images: Any) -> dict[str, Any]:
    """A batch in both: seconds, and for each word whether it is the same, its margin in int8, and its largest error."""
    taken, logits = [], []
    for model in (wide, narrow):
        begin = time.process_time()
        (found,) = model(images)
        taken.append(time.process_time() - begin)
        logits.append(found)
    words = []
    for exact, rough in zip(*logits):
        ids, others = exact.argmax(-1).tolist(), rough.argmax(-1).tolist()
        length = others.index(EOS) + 1 if EOS in others else len(others)
        best = np.sort(rough[:length], axis=-1)
        # From the first that differs on, the decoder has read another text.
        alike = next((i for i in range(length) if ids[i] != others[i]), length)
        error = float(np.abs(exact - rough)[: alike + 1].max())
        margin = float((best[:, -1] - best[:, -2]).min())
        words.append({"same": alike == length, "margin": margin, "error": error})
    return {"taken": taken, "words": words}


def _seconds(function: Any, images: Any) -> float:
    begin = time.process_time()
    function(images)
    return time.process_time() - begin


def _report(batches: list[dict[str, Any]]) -> dict[str, Any]:
    known, tested = (
        [word for batch in half for word in batch["words"]]
        for half in (batches[: len(batches) // 2], batches[len(batches) // 2 :])
    )
    bound = 2 * max(word["error"] for word in known)
    accepted = [word for word in tested if word["margin"] >= bound]
    share = 1 - len(accepted) / len(tested)
    int8 = statistics.median(narrow / wide for wide, narrow in (batch["taken"] for batch in batches))
    return {
        "words": len(tested),
        "int8_over_float32_time": round(int8, 3),
        "margin_needed": round(bound, 3),
        "read_again": round(share, 3),
        "differ_without_certificate": sum(not word["same"] for word in tested),
        "differ_though_accepted": sum(not word["same"] for word in accepted),
        "with_reading_again_over_float32_time": round(int8 + share, 3),
    }


if __name__ == "__main__":
    main()
