"""The plain CPU: frozen TorchScript, the reference for every other target."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from neuronkit.options import CompileOptions
from neuronkit.targets.base import CompiledGraphs, Report, Target
from neuronkit.targets.onednn import reload, with_onednn_linear
from neuronkit.targets.sdk import numbers
from neuronkit.targets.tracing import trace

if TYPE_CHECKING:
    from neuronkit.specs import TensorSpec
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
            # Convolutions are fastest on channels_last, and the layout of the weights decides. Not on torch 1.13, whose
            # fuser takes masked convolutions of that layout over and computes them slowly.
            if numbers(torch.__version__) >= (2,):
                module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            traced = trace(module, specs)
            # Loaded, because torch.jit.script refuses a freshly frozen module as a submodule.
            callables[name] = reload(torch.jit.freeze(traced))
        return CompiledGraphs(callables, dict.fromkeys(graphs, "torch.jit.trace + torch.jit.freeze"))

    def accelerate(
        self, function: Callable[..., Any], graphs: Mapping[str, Sequence[TensorSpec]]
    ) -> Callable[..., Any]:
        return with_onednn_linear(function, graphs) if isinstance(function, torch.jit.ScriptModule) else function
