"""The compile cache as targets use it: one entry for each graph."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronkit import version
from neuronkit.cache.store import CompileCache
from neuronkit.capture.fingerprint import fingerprint
from neuronkit.errors import ArtifactError
from neuronkit.options import CompileOptions
from neuronkit.specs import TensorSpec
from neuronkit.targets.base import CompiledGraphs, Target
from neuronkit.targets.progress import ProgressCallback, detail

if TYPE_CHECKING:
    from torch import nn

    from neuronkit.static.model import Graphs

# What compilers read besides their arguments, and what of it only matters to running programs or names a directory.
_VARIABLES = ("NEURON_", "XLA_", "TORCH_NEURON")
_OTHER_VARIABLES = (
    "NEURON_RT_",
    "NEURON_COMPILE_CACHE_URL",
    "TORCH_NEURONX_NEFF_CACHE_DIR",
    "TORCH_NEURONX_NEFF_LOCAL_CACHE_DIR",
    "TORCH_NEURONX_DEBUG_DIR",
    "TORCH_NEURONX_PRESERVE_COMPILATION_ARTIFACTS",
)
_OTHER_PACKAGES = ("aws-neuronx-dkms",)


@dataclass(frozen=True)
class Built:
    """A graph that was compiled just now.

    Attributes:
        function: The compiled graph.
        command: The compiler's effective command line or call.
        fill: Writes it into an empty directory.
    """

    function: Callable[..., Any]
    command: str
    fill: Callable[[Path], None]


class GraphCache:
    """Finds compiled graphs under `CompileOptions.cache_dir`; without one, builds every graph.

    Args:
        target: Whose graphs they are.
        options: With the cache's directory.
        op_whitelist: Operator kinds that the user vouches for.
        arguments: What the target calls its compiler with, for `with_influence(options)`.
        progress: Called with each stage, and with what the cache holds.
        deadline: When to give up waiting for other builders, on the clock of `time.monotonic`.
    """

    def __init__(
        self,
        target: Target,
        options: CompileOptions,
        op_whitelist: tuple[str, ...],
        *,
        arguments: Mapping[str, Any],
        progress: ProgressCallback,
        deadline: float | None = None,
    ) -> None:
        self._cache = CompileCache(options.cache_dir) if options.cache_dir is not None else None
        self._progress, self._deadline = progress, deadline
        self._common = _common(target, options, op_whitelist, arguments) if self._cache is not None else {}

    def compile(
        self,
        graphs: Graphs,
        *,
        capture: Callable[[nn.Module, tuple[TensorSpec, ...]], Any],
        build: Callable[[str, Any, tuple[TensorSpec, ...]], Built],
        load: Callable[[Path], Callable[..., Any]],
    ) -> CompiledGraphs:
        """Find each compiled graph, or build it and keep it.

        Args:
            graphs: Name → (module, its input specs).
            capture: Makes of a module and its specs what the compiler receives: TorchScript or a torch.export program.
            build: Compiles that, given the graph's name and specs too.
            load: Reads what `Built.fill` wrote.
        """
        callables, commands, records = {}, {}, {}
        for name, (module, specs) in graphs.items():
            self._progress(f"compiling {name}")
            program = capture(module, specs)
            if self._cache is None:
                built = build(name, program, specs)
                callables[name], commands[name] = built.function, built.command
                continue
            inputs = [spec.to_dict() for spec in specs]
            ingredients = {**self._common, "inputs": inputs, **asdict(fingerprint(program))}
            make = partial(build, name, program, specs)
            callables[name], commands[name], records[name] = self._obtain(self._cache, name, ingredients, make, load)
        return CompiledGraphs(callables, commands, records)

    def _obtain(
        self,
        cache: CompileCache,
        graph: str,
        ingredients: Mapping[str, Any],
        build: Callable[[], Built],
        load: Callable[[Path], Callable[..., Any]],
    ) -> tuple[Callable[..., Any], str, Mapping[str, str]]:
        """The compiled graph, what compiled it, and what the manifest says of the cache."""
        waiting = lambda text: detail(self._progress, f"{graph}: {text}")  # noqa: E731
        with cache.slot(ingredients, graph=graph, deadline=self._deadline, report=waiting) as slot:
            self._progress(f"cache: {slot}")
            if slot.path is not None:
                try:
                    return load(slot.path), str(slot.details["command"]), slot.record()
                except (OSError, RuntimeError, LookupError, ArtifactError) as error:
                    slot.reject(f"it cannot be loaded ({error})")
            built = build()
            slot.store(built.fill, {"command": built.command})
            return built.function, built.command, slot.record()


def with_influence(options: CompileOptions) -> CompileOptions:
    """The options without those that say where and for how long to work, rather than what to make."""
    return replace(options, workdir=None, timeout_s=None, cache_dir=None)


def _common(
    target: Target, options: CompileOptions, op_whitelist: tuple[str, ...], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """The ingredients that all graphs of one compile share."""
    versions = {name: v for name, v in target.check_environment().items() if name not in _OTHER_PACKAGES}
    return {
        "target": target.name,
        "options": with_influence(options).to_dict(),
        "op_whitelist": sorted(set(op_whitelist)),
        "arguments": dict(arguments),
        "versions": {**versions, "neuronkit": version.__version__},
        "platform": f"{platform.system()} {platform.machine()}",
        "environment": _variables() if target.is_neuron else {},
    }


def _variables() -> dict[str, str]:
    found = (name for name in os.environ if name.startswith(_VARIABLES) and not name.startswith(_OTHER_VARIABLES))
    return {name: os.environ[name] for name in sorted(found)}
