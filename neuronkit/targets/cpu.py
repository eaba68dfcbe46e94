"""The plain CPU: frozen TorchScript, the reference for every other target."""

from __future__ import annotations

import io
import platform
from typing import TYPE_CHECKING

import torch

from neuronkit.options import CompileOptions
from neuronkit.targets.base import CompiledGraphs, Report, Target
from neuronkit.targets.tracing import trace

if TYPE_CHECKING:
    from neuronkit.static.model import Graphs


class CpuTarget(Target):
    """Traces each graph and freezes it. Needs no SDK."""

    name = "cpu"
    is_neuron = False

    def check_environment(self) -> dict[str, str]:
        return {"torch": torch.__version__, "python": platform.python_version()}

    def compile(
        self, graphs: Graphs, *, options: CompileOptions, op_whitelist: tuple[str, ...] = (), report: Report
    ) -> CompiledGraphs:
        callables = {}
        for name, (module, specs) in graphs.items():
            report(f"tracing {name}")
            callables[name] = _reload(torch.jit.freeze(trace(module, specs)))
        return CompiledGraphs(callables, dict.fromkeys(graphs, "torch.jit.trace + torch.jit.freeze"))


def _reload(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """Save and load: torch.jit.script refuses a freshly frozen module as a submodule, but takes a loaded one."""
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)  # type: ignore[no-any-return]
