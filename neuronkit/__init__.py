"""Exact static graphs of OCR models, compiled for AWS Inferentia.

Names are resolved on first use (PEP 562), so that importing costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from neuronkit.version import __version__ as __version__

if TYPE_CHECKING:
    from neuronkit.adapters.craft import CRAFTOptions as CRAFTOptions
    from neuronkit.adapters.craft import StaticCRAFT as StaticCRAFT
    from neuronkit.adapters.parseq import PARSeqOptions as PARSeqOptions
    from neuronkit.adapters.parseq import StaticPARSeq as StaticPARSeq
    from neuronkit.adapters.registry import make_static as make_static
    from neuronkit.analysis.autocast import emulate_autocast as emulate_autocast
    from neuronkit.analysis.cost import estimate as estimate
    from neuronkit.analysis.operators import analyze as analyze
    from neuronkit.artifact import CompiledModel as CompiledModel
    from neuronkit.artifact import load as load
    from neuronkit.compile import compile_for_inferentia as compile_for_inferentia
    from neuronkit.environment import describe_environment as describe_environment
    from neuronkit.options import CompileOptions as CompileOptions
    from neuronkit.parity import ParityReport as ParityReport
    from neuronkit.parity import assert_parity as assert_parity
    from neuronkit.specs import TensorSpec as TensorSpec
    from neuronkit.static.buckets import Buckets as Buckets
    from neuronkit.static.exact import exact_padding as exact_padding
    from neuronkit.static.greedy import static_greedy_decoder as static_greedy_decoder
    from neuronkit.static.model import StaticModel as StaticModel
    from neuronkit.static.padding import FixedShape as FixedShape
    from neuronkit.static.planning import plan_buckets as plan_buckets
    from neuronkit.static.tiling import Tiled as Tiled

# Name → module that holds it; a subpackage is its own home.
_HOMES = {
    "Buckets": "neuronkit.static.buckets",
    "CRAFTOptions": "neuronkit.adapters.craft",
    "CompileOptions": "neuronkit.options",
    "CompiledModel": "neuronkit.artifact",
    "FixedShape": "neuronkit.static.padding",
    "PARSeqOptions": "neuronkit.adapters.parseq",
    "ParityReport": "neuronkit.parity",
    "StaticCRAFT": "neuronkit.adapters.craft",
    "StaticModel": "neuronkit.static.model",
    "StaticPARSeq": "neuronkit.adapters.parseq",
    "TensorSpec": "neuronkit.specs",
    "Tiled": "neuronkit.static.tiling",
    "analyze": "neuronkit.analysis.operators",
    "assert_parity": "neuronkit.parity",
    "compile_for_inferentia": "neuronkit.compile",
    "describe_environment": "neuronkit.environment",
    "emulate_autocast": "neuronkit.analysis.autocast",
    "estimate": "neuronkit.analysis.cost",
    "exact_padding": "neuronkit.static.exact",
    "load": "neuronkit.artifact",
    "make_static": "neuronkit.adapters.registry",
    "plan_buckets": "neuronkit.static.planning",
    "static_greedy_decoder": "neuronkit.static.greedy",
}
_SUBPACKAGES = frozenset(
    {"adapters", "analysis", "cache", "demo", "errors", "models", "ocr", "serving", "static", "tables", "testing"}
)

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_SUBPACKAGES})
