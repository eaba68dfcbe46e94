"""Every family and method on every target that runs on a CPU, as a table in docs/compatibility.md.

    python benchmarks/compatibility.py                 # every case whose packages are installed
    python benchmarks/compatibility.py --only PARSeq   # those; the other rows stay as they are

A case is a conformance test of the suite: a small random model whose results differ from image to image. Compiled,
saved and loaded, it must give the results of the static model, which the suite compares with the original.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import torch

from neuronkit import compile_for_inferentia, load
from neuronkit.adapters.registry import families
from neuronkit.compile.environment import describe_environment
from neuronkit.errors import NeuronKitError
from neuronkit.static.trees import leaves

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "compatibility.md"
TARGETS = ("cpu", "onnx", "openvino")
PACKAGES = ("torch", "onnx", "onnxruntime", "openvino", "numpy", "python-doctr", "transformers")
# Beyond any score that a network computes: what rules put in the place of one.
HIDDEN = 1e9
# Family and method → test class, and options that it does not set.
CASES = {
    "CRAFT": "test_conformance.TestCRAFT",
    "CRAFT, bytes": "test_borders.TestRawCRAFT",
    "PARSeq, fixed point": "test_conformance.TestPARSeq",
    "PARSeq, stepwise": "test_conformance.TestPARSeqStepwise",
    "PARSeq, unrolled": "test_conformance.TestPARSeqUnrolled",
    "PARSeq, fused": "test_conformance.TestPARSeqFused",
    "PARSeq of tokens, fixed point": "test_borders.TestPARSeqTokens",
    "PARSeq of tokens, unrolled": "test_borders.TestPARSeqTokens method=unrolled",
    "PARSeq of tokens, stepwise": "test_borders.TestPARSeqTokensStepwise",
    "PARSeq of tokens, fused": "test_borders.TestPARSeqTokensFused",
    "TRBA, stepwise": "test_trba.TestTRBA",
    "TRBA, unrolled": "test_trba.TestTRBAInOneGraph",
    "TRBA of tokens, stepwise": "test_borders.TestTRBATokens",
    "a decoder of one's own, tokens": "test_borders.TestTokensOfADecoder",
    "CRNN, lines": "test_lines.TestCRNN",
    "deep-text-recognition-benchmark, CTC, lines": "test_lines.TestBenchmark",
    "deep-text-recognition-benchmark, attention, lines": "test_lines.TestBenchmarkAttention",
    "deep-text-recognition-benchmark of tokens, CTC, lines": "test_lines.TestBenchmarkTokens",
    "deep-text-recognition-benchmark of tokens, attention, lines": "test_lines.TestBenchmarkAttentionTokens",
    "EasyOCR, lines": "test_lines.TestEasyOCR",
    "EasyOCR of tokens, lines": "test_lines.TestEasyOCRTokens",
    "docTR CRNN, lines": "test_lines.TestDoctrCRNN",
    "docTR CRNN of tokens, lines": "test_lines.TestDoctrCRNNTokens",
    "docTR DBNet": "test_doctr_detector.TestDetector",
    "docTR DBNet, bytes": "test_doctr_detector.TestRawDetector",
    "docTR PARSeq, fixed point": "test_doctr_parseq.TestDoctrPARSeq",
    "docTR PARSeq, stepwise": "test_doctr_parseq.TestDoctrPARSeq method=stepwise",
    "docTR PARSeq, unrolled": "test_doctr_parseq.TestDoctrPARSeq method=unrolled",
    "docTR PARSeq, fused": "test_doctr_parseq.TestDoctrPARSeq method=fused",
    "docTR PARSeq of tokens, fused": "test_doctr_parseq.TestDoctrPARSeqFusedTokens",
    "docTR MASTER, fixed point": "test_doctr_master.TestMASTER",
    "docTR MASTER, stepwise": "test_doctr_master.TestMASTER method=stepwise",
    "docTR MASTER, unrolled": "test_doctr_master.TestMASTER method=unrolled",
    "docTR MASTER, fused": "test_doctr_master.TestMASTER method=fused",
    "docTR MASTER of tokens, fused": "test_doctr_master.TestMASTERFusedTokens",
    "docTR SAR, stepwise": "test_doctr_sar.TestSAR",
    "docTR SAR, unrolled": "test_doctr_sar.TestSARInOneGraph",
    "docTR ViTSTR": "test_doctr_vitstr.TestViTSTR",
    "docTR ViPTR": "test_doctr_viptr.TestViPTR",
    **{
        f"Hugging Face {name}, {way}": f"test_huggingface.Test{name}{options}"
        for name in ("TrOCR", "Marian", "BART", "T5")
        for way, options in {
            "fixed point": "",
            "caches": " method=stepwise",
            "windows": " method=windowed",
            "unrolled": " method=unrolled",
            "fused": " method=fused",
            "beams": " num_beams=2",
        }.items()
    },
    "Hugging Face TrOCR of bytes and tokens, fused": "test_huggingface.TestTrOCRTokens",
    "Hugging Face TrOCR with sinusoidal positions, fixed point": "test_huggingface.TestTrOCRWithSinusoidalPositions",
    "Hugging Face Marian of tokens, fused": "test_huggingface.TestMarianFusedTokens",
}


def main() -> None:
    """Compile and compare every case, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases that contain this")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    packages = describe_environment().packages
    versions = ", ".join(f"{name} {packages[name]}" for name in PACKAGES if name in packages)
    line = f"{date.today().isoformat()}, Python {platform.python_version()}, {platform.machine()}:\n{versions}."
    for name, case in CASES.items():
        if arguments.only in name:
            write(name, row(name, case), line)


def write(name: str, made: str, line: str) -> None:
    """Put a row into the page, in the order of `CASES`; rows of cases that are no more are left out."""
    head, _, tail = PAGE.read_text(encoding="utf-8").partition("<!-- generated -->")
    rows = {old.split(" | ")[0].strip("| "): old for old in tail.splitlines() if old.startswith("| ")} | {name: made}
    title = "| family and method | " + " | ".join(TARGETS) + " |"
    table = "\n".join([title, "|---" * (len(TARGETS) + 1) + "|", *(rows[case] for case in CASES if case in rows)])
    print(made, flush=True)
    PAGE.write_text(f"{head}<!-- generated -->\n\n{line}\n\n{table}\n", encoding="utf-8")


def row(name: str, case: str) -> str:
    """One line of the table."""
    place, *given = case.split()
    module, _, cls = place.partition(".")
    try:
        test = getattr(importlib.import_module(f"tests.adapters.{module}"), cls)()
        test.options = with_options(test, dict(pair.split("=") for pair in given))
    except ImportError as error:
        return f"| {name} |" + f" not tried: {error.name} is missing |" * len(TARGETS)
    return f"| {name} | " + " | ".join(cell(test, target) for target in TARGETS) + " |"


def with_options(test: Any, given: dict[str, str]) -> Any:
    """The options of a test, with others that the case gives."""
    if not given:
        return test.options
    family = test._static().family
    options = test.options or next(known.options for known in families() if known.name == family)()
    return replace(options, **{key: int(value) if value.isdecimal() else value for key, value in given.items()})


def cell(test: Any, target: str) -> str:
    """Largest difference of a case on a target, and whether what it reads is the same."""
    static = test._static()
    try:
        compiled = compile_for_inferentia(static, target=target, progress=False)
    except NeuronKitError as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        loaded = load(compiled.save(Path(folder) / "model"))
        for inputs in test._inputs():
            with torch.no_grad():
                expected = static.meaningful(static(*inputs), inputs)
            given = static.meaningful(loaded(*inputs), inputs)
            for ours, theirs in zip(leaves(given), leaves(expected)):
                worst = max(worst, difference(ours.double(), theirs.double()))
            read = [test.results(static, outputs) for outputs in (given, expected)]
            if not same(*read):
                return f"reads otherwise ({worst:.0e})"
    return f"{worst:.0e}" if worst else "equal"


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest one, in units of the range where that is above 1; of scores that rules hide, that both are hidden."""
    hidden = theirs.abs() >= HIDDEN
    scale = max(1.0, float(theirs.abs().masked_fill(hidden, 0).max()))
    equal = (ours == theirs) | (hidden & (ours.abs() >= HIDDEN) & (ours.sign() == theirs.sign()))
    return float(torch.where(equal, 0.0, (ours - theirs).abs()).nan_to_num(nan=float("inf")).max()) / scale


def same(ours: Any, theirs: Any) -> bool:
    """Whether two decoded results are equal, numbers in them to rounding."""
    if isinstance(ours, (list, tuple)):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return bool(abs(ours - theirs) <= 1e-3) if isinstance(ours, float) else bool(ours == theirs)


if __name__ == "__main__":
    main()
