"""The plain CPU: frozen TorchScript, the reference for every other target."""

from __future__ import annotations

import io
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from neuronkit.capture.serialize import save_script
from neuronkit.capture.tracing import trace
from neuronkit.options import CompileOptions
from neuronkit.targets.base import CompiledGraphs, Target
from neuronkit.targets.cached import Built, GraphCache
from neuronkit.targets.progress import ProgressCallback
from neuronkit.targets.sdk.job import RESULT
from neuronkit.targets.sdk.packages import numbers

if TYPE_CHECKING:
    from neuronkit.specs import TensorSpec
    from neuronkit.static.model import Graphs


class CpuTarget(Target):
    """Traces each graph and freezes it. Needs no SDK."""

    name = "cpu"
    supported_options = frozenset({"cache_dir"})

    def check_environment(self) -> dict[str, str]:
        return {"torch": torch.__version__, "python": platform.python_version()}

    def compile(
        self, graphs: Graphs, *, options: CompileOptions, op_whitelist: tuple[str, ...] = (), progress: ProgressCallback
    ) -> CompiledGraphs:
        cache = GraphCache(self, options, op_whitelist, arguments={}, progress=progress)
        return cache.compile(graphs, capture=_trace, build=_freeze, load=_load)


def _trace(module: nn.Module, specs: tuple[TensorSpec, ...]) -> torch.jit.ScriptModule:
    # Convolutions are fastest on channels_last, and the layout of the weights decides. Not on torch 1.13, whose fuser
    # takes masked convolutions of that layout over and computes them slowly.
    if numbers(torch.__version__) >= (2,):
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return trace(module, specs)


def _freeze(graph: str, traced: torch.jit.ScriptModule, specs: tuple[TensorSpec, ...]) -> Built:
    # Loaded, because torch.jit.script refuses a freshly frozen module as a submodule.
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.freeze(traced), buffer)
    buffer.seek(0)
    frozen = torch.jit.load(buffer)
    return Built(
        frozen, "torch.jit.trace + torch.jit.freeze", lambda directory: save_script(frozen, directory / RESULT)
    )


def _load(directory: Path) -> torch.jit.ScriptModule:
    return torch.jit.load(str(directory / RESULT))  # type: ignore[no-any-return]
