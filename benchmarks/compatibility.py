"""Every family and method on every target that runs on a CPU, as a table in docs/compatibility.md.

    python benchmarks/compatibility.py                 # every case whose packages are installed
    python benchmarks/compatibility.py --only PARSeq   # some, printed and not written

A case is a conformance test of the suite: a small random model whose results differ from image to image. Compiled,
saved and loaded, it must give the results of the static model, which the suite compares with the original.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import torch

from neuronkit import compile_for_inferentia, load
from neuronkit.environment import describe_environment
from neuronkit.errors import NeuronKitError
from neuronkit.static.trees import leaves

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "compatibility.md"
TARGETS = ("cpu", "onnx", "openvino")
PACKAGES = ("torch", "onnx", "onnxruntime", "openvino", "numpy", "python-doctr", "transformers")
# Family and method → test class.
CASES = {
    "CRAFT": "test_conformance.TestCRAFT",
    "PARSeq, fixed point": "test_conformance.TestPARSeq",
    "PARSeq, stepwise": "test_conformance.TestPARSeqStepwise",
    "PARSeq, unrolled": "test_conformance.TestPARSeqUnrolled",
    "PARSeq, fused": "test_conformance.TestPARSeqFused",
    "PARSeq of tokens, stepwise": "test_borders.TestPARSeqTokensStepwise",
    "PARSeq of tokens, fused": "test_borders.TestPARSeqTokensFused",
    "TRBA, stepwise": "test_trba.TestTRBA",
    "TRBA, unrolled": "test_trba.TestTRBAInOneGraph",
    "docTR PARSeq": "test_doctr_parseq.TestDoctrPARSeq",
    "docTR MASTER": "test_doctr_master.TestMASTER",
    "docTR SAR, stepwise": "test_doctr_sar.TestSAR",
    "docTR SAR, unrolled": "test_doctr_sar.TestSARInOneGraph",
    "docTR ViTSTR": "test_doctr_vitstr.TestViTSTR",
    "Hugging Face TrOCR": "test_huggingface.TestTrOCR",
    "Hugging Face Marian": "test_huggingface.TestMarian",
    "Hugging Face BART": "test_huggingface.TestBART",
    "Hugging Face T5": "test_huggingface.TestT5",
}


def main() -> None:
    """Compile and compare every case, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases that contain this")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    rows = [row(name, case) for name, case in CASES.items() if arguments.only in name]
    table = "\n".join(["| family and method | " + " | ".join(TARGETS) + " |", "|---" * (len(TARGETS) + 1) + "|", *rows])
    print(table)
    if not arguments.only:
        packages = describe_environment().packages
        versions = ", ".join(f"{name} {packages[name]}" for name in PACKAGES if name in packages)
        head, _, _ = PAGE.read_text(encoding="utf-8").partition("<!-- generated -->")
        line = f"{date.today().isoformat()}, Python {platform.python_version()}, {platform.machine()}:\n{versions}."
        PAGE.write_text(f"{head}<!-- generated -->\n\n{line}\n\n{table}\n", encoding="utf-8")


def row(name: str, case: str) -> str:
    """One line of the table."""
    module, _, cls = case.partition(".")
    try:
        test = getattr(importlib.import_module(f"tests.adapters.{module}"), cls)()
    except ImportError as error:
        return f"| {name} |" + f" not tried: {error.name} is missing |" * len(TARGETS)
    print(name, file=sys.stderr)
    return f"| {name} | " + " | ".join(cell(test, target) for target in TARGETS) + " |"


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
                scale = max(1.0, float(theirs.abs().nan_to_num(posinf=0, neginf=0).max()))
                difference = torch.where(ours == theirs, 0.0, (ours.double() - theirs.double()).abs())
                worst = max(worst, float(difference.max()) / scale)
            read = [test.results(static, outputs) for outputs in (given, expected)]
            if not same(*read):
                return f"reads otherwise ({worst:.0e})"
    return f"{worst:.0e}" if worst else "equal"


def same(ours: Any, theirs: Any) -> bool:
    """Whether two decoded results are equal, numbers in them to rounding."""
    if isinstance(ours, (list, tuple)):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return bool(abs(ours - theirs) <= 1e-3) if isinstance(ours, float) else bool(ours == theirs)


if __name__ == "__main__":
    main()
