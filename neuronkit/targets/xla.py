"""torch-xla on the CPU: what torch_neuronx.trace does up to the HLO, which then runs on XLA's own CPU client."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from neuronkit.capture.exporting import make_portable
from neuronkit.capture.tracing import capturing
from neuronkit.errors import CompileError, MissingSDKError, OptionError
from neuronkit.options import CompileOptions
from neuronkit.targets.base import CompiledGraphs, Target
from neuronkit.targets.progress import ProgressCallback
from neuronkit.targets.sdk.packages import check_framework, distribution_version, within
from neuronkit.threads.turns import Turns

if TYPE_CHECKING:
    from neuronkit.specs import TensorSpec
    from neuronkit.static.model import Graphs

# XLA counts what it leaves to the CPU for the whole process.
_COUNTED = Turns()
INSTALL = "pip install torch==2.9.0 torch-xla==2.9.0"


class XlaTarget(Target):
    """A check of what Inf2 and Trainium will see; it makes nothing that can be saved."""

    name = "xla"
    rules = "torch-xla"
    saves = False

    def check_environment(self) -> dict[str, str]:
        found = check_framework(self.name, torch_versions="2.5-2.9", pythons="3.10-3.13", command=INSTALL)
        version = distribution_version("torch-xla")
        if version is None:
            raise MissingSDKError(f"target 'xla' needs the package torch-xla, which is not installed. {INSTALL}")
        if not within(version, ".".join(found["torch"].split(".")[:2])):
            raise MissingSDKError(f"torch-xla {version} does not fit torch {found['torch']}. {INSTALL}")
        import_xla()
        return {**found, "torch-xla": version}

    def compile(
        self, graphs: Graphs, *, options: CompileOptions, op_whitelist: tuple[str, ...] = (), progress: ProgressCallback
    ) -> CompiledGraphs:
        callables = {}
        for name, (module, specs) in graphs.items():
            progress(f"lowering {name} to HLO")
            callables[name] = lower(module, specs)
        return CompiledGraphs(callables, dict.fromkeys(graphs, "torch.export + torch_xla, PJRT_DEVICE=CPU"))

    def replicate(self, function: Callable[..., Any], copies: int) -> Sequence[Callable[..., Any]]:
        raise OptionError("target 'xla' only checks, on one client; compile for 'cpu' to run several copies")


class XlaGraph:
    """A graph on XLA's CPU client: takes and gives CPU tensors. Threads take turns, at all graphs of a process.

    Attributes:
        hlo: Its HLO as text, before any optimisation.
        fallbacks: ATen operators that XLA left to the CPU, with their counts; each one is a break in a Neuron graph.
    """

    def __init__(self, module: nn.Module, specs: tuple[TensorSpec, ...]) -> None:
        self._xla = import_xla()
        self._device = self._xla.device()
        self._module = module.to(self._device)
        with _COUNTED.taken():
            self.hlo, self.fallbacks = self._lower(specs)

    def __call__(self, *inputs: Tensor) -> Any:
        with _COUNTED.taken():
            return tree_map(lambda x: x.cpu() if isinstance(x, Tensor) else x, self._run(inputs))

    def _run(self, inputs: tuple[Tensor, ...]) -> Any:
        with torch.no_grad():
            return self._module(*(x.to(self._device) for x in inputs))

    def _lower(self, specs: tuple[TensorSpec, ...]) -> tuple[str, dict[str, int]]:
        from torch_xla.debug import metrics

        metrics.clear_counters()
        outputs, _ = tree_flatten(self._run(tuple(spec.example() for spec in specs)))
        fallbacks = {name: metrics.counter_value(name) for name in metrics.counter_names() if name.startswith("aten::")}
        return self._xla._XLAC._get_xla_tensors_hlo([x for x in outputs if isinstance(x, Tensor)]), fallbacks


def lower(module: nn.Module, specs: tuple[TensorSpec, ...]) -> XlaGraph:
    """Lower a graph on the CPU to HLO.

    Raises:
        CompileError: If it cannot be exported or lowered.
    """
    try:
        with torch.no_grad(), capturing():
            program = torch.export.export(module, tuple(spec.example() for spec in specs), strict=False)
            return XlaGraph(make_portable(program.module()), specs)  # type: ignore[arg-type]
    except Exception as error:
        raise CompileError(f"{type(module).__name__} cannot be lowered through torch-xla: {error}") from error


def import_xla() -> ModuleType:
    """Import torch-xla with its CPU client, unless the caller chose another device."""
    os.environ.setdefault("PJRT_DEVICE", "CPU")
    try:
        import torch_xla
    except Exception as error:
        raise MissingSDKError(f"torch-xla is installed but cannot be imported: {error}. {INSTALL}") from error
    return torch_xla  # type: ignore[no-any-return]
