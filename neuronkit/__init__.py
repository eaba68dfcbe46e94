"""Exact static graphs of OCR models, compiled for AWS Inferentia.

    model = neuronkit.load_checkpoint(neuronkit.PARSeq, "parseq.ckpt")  # or a model of your own
    static = neuronkit.make_static(model, batch_size=8)                 # the same, in fixed shapes
    print(neuronkit.analyze(static, target="inf2"))                     # what will not compile
    artifact = neuronkit.compile_for_inferentia(static, target="cpu")
    artifact.save("recognizer.pt")
    read = neuronkit.OCRPipeline(neuronkit.load("detector.pt"), neuronkit.load("recognizer.pt"))
    print(read("page.png").text)

Static models   make_static, StaticCRAFT, StaticPARSeq, static_greedy_decoder, exact_padding
Sizes           FixedShape, Buckets, plan_buckets, Tiled
Before renting  analyze, estimate, emulate_autocast, describe_environment
Artifacts       compile_for_inferentia, CompileOptions, load, CompiledModel
Comparing       assert_parity, compare_models
Models, pages   load_checkpoint, CRAFT, PARSeq, OCRPipeline; processors in neuronkit.ocr
Serving         neuronkit.serving.triton, neuronkit.serving.ray, neuronkit.build

Names are resolved on first use (PEP 562): importing costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names
from neuronkit.version import __version__ as __version__

if TYPE_CHECKING:
    from neuronkit.adapters.craft import CRAFTOptions as CRAFTOptions
    from neuronkit.adapters.craft import StaticCRAFT as StaticCRAFT
    from neuronkit.adapters.doctr.detector import DoctrDetectorOptions as DoctrDetectorOptions
    from neuronkit.adapters.doctr.recognizer import DoctrOptions as DoctrOptions
    from neuronkit.adapters.doctr.sar import SAROptions as SAROptions
    from neuronkit.adapters.huggingface.options import HuggingFaceOptions as HuggingFaceOptions
    from neuronkit.adapters.lines.model import LineOptions as LineOptions
    from neuronkit.adapters.parseq import PARSeqOptions as PARSeqOptions
    from neuronkit.adapters.parseq import StaticPARSeq as StaticPARSeq
    from neuronkit.adapters.registry import make_static as make_static
    from neuronkit.adapters.trba import TRBAOptions as TRBAOptions
    from neuronkit.analysis.autocast.emulator import emulate_autocast as emulate_autocast
    from neuronkit.analysis.cost.estimator import estimate as estimate
    from neuronkit.analysis.operators.checker import analyze as analyze
    from neuronkit.artifact import CompiledModel as CompiledModel
    from neuronkit.artifact import load as load
    from neuronkit.compile import compare_models as compare_models
    from neuronkit.compile import compile_for_inferentia as compile_for_inferentia
    from neuronkit.compile.environment import describe_environment as describe_environment
    from neuronkit.compile.parity import ParityReport as ParityReport
    from neuronkit.compile.parity import assert_parity as assert_parity
    from neuronkit.models.checkpoint import load_checkpoint as load_checkpoint
    from neuronkit.models.craft import CRAFT as CRAFT
    from neuronkit.models.parseq import PARSeq as PARSeq
    from neuronkit.ocr.pipeline.reader import OCRPipeline as OCRPipeline
    from neuronkit.options import CompileOptions as CompileOptions
    from neuronkit.specs import TensorSpec as TensorSpec
    from neuronkit.static.decoding.beams import static_beam_search as static_beam_search
    from neuronkit.static.decoding.greedy import static_greedy_decoder as static_greedy_decoder
    from neuronkit.static.exact import exact_padding as exact_padding
    from neuronkit.static.model import StaticModel as StaticModel
    from neuronkit.static.shapes.buckets import Buckets as Buckets
    from neuronkit.static.shapes.fixed import FixedShape as FixedShape
    from neuronkit.static.shapes.plan import plan_buckets as plan_buckets
    from neuronkit.static.shapes.tiled import Tiled as Tiled

_HOMES = {
    "Buckets": "static.shapes.buckets",
    "CRAFT": "models.craft",
    "CRAFTOptions": "adapters.craft",
    "CompileOptions": "options",
    "CompiledModel": "artifact",
    "DoctrDetectorOptions": "adapters.doctr.detector",
    "DoctrOptions": "adapters.doctr.recognizer",
    "FixedShape": "static.shapes.fixed",
    "HuggingFaceOptions": "adapters.huggingface.options",
    "OCRPipeline": "ocr.pipeline.reader",
    "PARSeq": "models.parseq",
    "LineOptions": "adapters.lines.model",
    "PARSeqOptions": "adapters.parseq",
    "ParityReport": "compile.parity",
    "SAROptions": "adapters.doctr.sar",
    "StaticCRAFT": "adapters.craft",
    "StaticModel": "static.model",
    "StaticPARSeq": "adapters.parseq",
    "TRBAOptions": "adapters.trba",
    "TensorSpec": "specs",
    "Tiled": "static.shapes.tiled",
    "analyze": "analysis.operators.checker",
    "assert_parity": "compile.parity",
    "compare_models": "compile",
    "compile_for_inferentia": "compile",
    "describe_environment": "compile.environment",
    "emulate_autocast": "analysis.autocast.emulator",
    "estimate": "analysis.cost.estimator",
    "exact_padding": "static.exact",
    "load": "artifact",
    "load_checkpoint": "models.checkpoint",
    "make_static": "adapters.registry",
    "plan_buckets": "static.shapes.plan",
    "static_beam_search": "static.decoding.beams",
    "static_greedy_decoder": "static.decoding.greedy",
}
_SUBPACKAGES = (
    *("adapters", "analysis", "build", "cache", "demo", "errors"),
    *("integrations", "models", "ocr", "serving", "static", "tables", "testing"),
)
__all__ = ["__version__", *_HOMES]
__getattr__, __dir__ = lazy_names(__name__, {**_HOMES, **dict.fromkeys(_SUBPACKAGES)})
