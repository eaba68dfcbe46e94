"""The plain CPU: frozen TorchScript, the reference for every other target."""

from __future__ import annotations

import platform
import warnings

import torch
from torch import nn

from neuronkit.options import CompileOptions
from neuronkit.specs import TensorSpec
from neuronkit.static.model import Graphs
from neuronkit.targets.base import CompiledGraphs, Report, Target


class CpuTarget(Target):
    """Traces each graph and freezes it. Needs no SDK."""

    name = "cpu"

    def check_environment(self) -> dict[str, str]:
        return {"torch": torch.__version__, "python": platform.python_version()}

    def compile(
        self, graphs: Graphs, *, options: CompileOptions, op_whitelist: tuple[str, ...] = (), report: Report
    ) -> CompiledGraphs:
        callables = {}
        for name, (module, specs) in graphs.items():
            report(f"tracing {name}")
            callables[name] = torch.jit.freeze(trace(module, specs))
        return CompiledGraphs(callables, dict.fromkeys(graphs, "torch.jit.trace + torch.jit.freeze"))


def trace(module: nn.Module, specs: tuple[TensorSpec, ...]) -> torch.jit.ScriptModule:
    """Trace a static graph. A TracerWarning is an error: it marks a value that the trace would freeze in."""
    examples = tuple(spec.example() for spec in specs)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)
        # Parity against the original is checked on the whole model, which says more than running the trace again.
        return torch.jit.trace(module, examples, check_trace=False, strict=False)  # type: ignore[no-any-return]
