"""Trn2 and Trn3 through TorchNeuron, the native PyTorch backend: torch.compile(backend="neuron")."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from neuronkit.capture.exporting import export_graph, load_portable
from neuronkit.capture.serialize import save_program
from neuronkit.errors import ArtifactError, CompileError, MissingSDKError, OptionError
from neuronkit.options import CompileOptions
from neuronkit.specs import TensorSpec
from neuronkit.targets.base import CompiledGraphs, Target
from neuronkit.targets.neuronx import cast_args
from neuronkit.targets.progress import ProgressCallback
from neuronkit.targets.sdk.failure import explain
from neuronkit.targets.sdk.packages import (
    check_framework,
    distribution_version,
    import_sdk,
    install_command,
    numbers,
    visible_devices,
    within,
)

if TYPE_CHECKING:
    from neuronkit.static.model import Graphs

INSTALL = install_command("torch==2.14.*", "torch-neuronx==2.14.*", "neuronx-cc==2.*")
_CACHE = "TORCH_NEURONX_NEFF_CACHE_DIR"


class Trn2NativeTarget(Target):
    """AWS Trainium2 through TorchNeuron (public beta of 2026). Compiles in process, at the first call of each graph."""

    name = "trn2-native"
    chip = "Trainium2"
    compiler_target: ClassVar[str] = "trn2"
    rules = "torch-neuron-native"
    saves_directory = True
    is_neuron = True
    supported_options = frozenset(
        {
            "auto_cast",
            "auto_cast_type",
            "optlevel",
            "model_type",
            "cpu_fallback",
            "neuroncores",
            "workdir",
            "cache_dir",
            "extra_args",
        }
    )

    def check_options(self, options: CompileOptions) -> None:
        super().check_options(options)
        environment_of(options, self.name)

    def check_environment(self) -> dict[str, str]:
        found = check_framework(self.name, torch_versions="2.13-2.14", pythons="3.12-3.14", command=INSTALL)
        # Not imported yet where that can be helped: it reads its settings from the environment when it is.
        version = distribution_version("torch-neuronx")
        if version is None:
            version = str(getattr(import_sdk("torch_neuronx", self.name, INSTALL), "__version__", "0"))
        elif importlib.util.find_spec("torch_neuronx") is None:
            raise MissingSDKError(f"torch-neuronx {version} is installed without its package torch_neuronx. {INSTALL}")
        if numbers(version) < (2, 10):
            raise MissingSDKError(
                f"torch-neuronx {version} is the XLA-based SDK, which target {self.name!r} does not use; "
                f"compile for 'inf2', 'trn1' or 'trn2' with it, or: {INSTALL}"
            )
        if not within(version, ".".join(found["torch"].split(".")[:2])):
            raise MissingSDKError(f"torch-neuronx {version} does not fit torch {found['torch']}. {INSTALL}")
        found["torch-neuronx"] = version
        compiler = distribution_version("neuronx-cc")
        return {**found, "neuronx-cc": compiler} if compiler else found

    def prepare_load(self) -> None:
        import_sdk("torch_neuronx", self.name, INSTALL)

    def runs_here(self) -> bool:
        return bool(visible_devices())

    def compile(
        self, graphs: Graphs, *, options: CompileOptions, op_whitelist: tuple[str, ...] = (), progress: ProgressCallback
    ) -> CompiledGraphs:
        environment = environment_of(options, self.name)
        if not self.runs_here():
            environment["TORCH_NEURONX_COMPILE_ONLY"] = "1"
        # Every graph needs a cache of its own name, or a saved artifact would carry a stranger's programs.
        environment.setdefault(_CACHE, tempfile.mkdtemp(prefix="neuronkit-neff-"))
        callables, commands = {}, {}
        for name, (module, specs) in graphs.items():
            progress(f"compiling {name}")
            directory = Path(tempfile.mkdtemp(prefix="neuronkit-graph-"))
            save_program(export_graph(module, specs), directory / "graph.pt2")
            callables[name] = NativeGraph(directory, specs, environment).compiled(name, self.name)
            settings = " ".join(f"{key}={value}" for key, value in environment.items())
            commands[name] = f'{settings} torch.compile(graph, backend="neuron", fullgraph=True, dynamic=False)'
        return CompiledGraphs(callables, commands)

    def replicate(self, function: Callable[..., Any], copies: int) -> Sequence[Callable[..., Any]]:
        raise OptionError(
            f"target {self.name!r} cannot place copies on several cores of one process: TorchNeuron documents no call "
            "for it. Run one process a core, each with neuronkit.serving.cores.claim_cores(1)"
        )

    def save_directory(self, function: Callable[..., Any], directory: Path) -> None:
        """Write a compiled graph: its torch.export program, its settings, and the cache of compiled programs.

        Raises:
            ArtifactError: If it is not a single graph; a Python loop around several cannot be written.
        """
        if not isinstance(function, NativeGraph):
            raise ArtifactError(
                f"target {self.name!r} saves models of one graph; this one joins several in Python. "
                "Compile it with the method that makes a single graph (unrolled decoding)"
            )
        function.save(directory)

    def load_directory(self, directory: Path) -> NativeGraph:
        """Read what `save_directory` wrote. The first call finds its program in the cache."""
        fields = json.loads((directory / "graph.json").read_text(encoding="utf-8"))
        specs = tuple(TensorSpec.from_dict(spec) for spec in fields["specs"])
        return NativeGraph(directory, specs, {**fields["environment"], _CACHE: str(directory / "cache")})


class Trn3Target(Trn2NativeTarget):
    """AWS Trainium3, which TorchNeuron alone supports."""

    name = "trn3"
    chip = "Trainium3"
    compiler_target = "trn3"


class NativeGraph:
    """One graph under torch.compile: takes and gives CPU tensors.

    Args:
        directory: Holds ``graph.pt2``.
        specs: The inputs.
        environment: TorchNeuron's settings, in force while the graph is compiled.
    """

    def __init__(self, directory: Path, specs: tuple[TensorSpec, ...], environment: Mapping[str, str]) -> None:
        self._directory, self._specs, self._environment = directory, specs, dict(environment)
        with settings(self._environment):
            import_sdk("torch_neuronx", "trn2-native", INSTALL)
            module = load_portable(directory / "graph.pt2").to(device())
            # Neuron has fixed shapes, and a graph that falls apart would leave the device between its parts.
            self._function = torch.compile(module, backend="neuron", fullgraph=True, dynamic=False)

    def __call__(self, *inputs: Tensor) -> Any:
        with settings(self._environment), torch.no_grad():
            outputs = self._function(*(x.to(device()) for x in inputs))
        return tree_map(lambda x: x.cpu() if isinstance(x, Tensor) else x, outputs)

    def compiled(self, graph: str, target: str) -> NativeGraph:
        """Compile now, by a call on example inputs, and give itself.

        Raises:
            CompileError: If TorchNeuron fails.
        """
        try:
            self(*(spec.example() for spec in self._specs))
        except Exception as error:
            code, hint = explain(str(error))
            raise CompileError(
                f"graph {graph!r} for target {target!r} was not compiled: {error}. Next: {hint or 'read the message'}",
                code=code,
                hint=hint,
            ) from error
        return self

    def save(self, directory: Path) -> None:
        """Write the graph, its settings and its cache."""
        shutil.copyfile(self._directory / "graph.pt2", directory / "graph.pt2")
        kept = {key: value for key, value in self._environment.items() if key != _CACHE}
        fields = {"specs": [spec.to_dict() for spec in self._specs], "environment": kept}
        (directory / "graph.json").write_text(json.dumps(fields, indent=1), encoding="utf-8")
        cache = Path(self._environment[_CACHE])
        if cache.exists():
            shutil.copytree(cache, directory / "cache", dirs_exist_ok=True)


def device() -> torch.device:
    """TorchNeuron's device."""
    return torch.device("neuron")


def environment_of(options: CompileOptions, target: str) -> dict[str, str]:
    """TorchNeuron's environment variables for these options; it takes them in no other way.

    Raises:
        OptionError: If there is no such setting.
    """
    flags = [*cast_args(options)]
    if options.model_type is not None:
        flags += ["--model-type", options.model_type]
    environment = {"TORCH_NEURONX_DISABLE_FALLBACK_EXECUTION": "0" if options.cpu_fallback else "1"}
    environment["NEURON_CC_FLAGS"] = " ".join([*flags, *options.extra_args])
    if options.optlevel is not None:
        environment["NEURON_COMPILER_OPT_LEVEL"] = str(options.optlevel)
    if options.neuroncores is not None:
        environment["NEURON_LOGICAL_NC_CONFIG"] = logical_cores(options.neuroncores, target)
    if options.workdir is not None:
        environment["TORCH_NEURONX_DEBUG_DIR"] = str(options.workdir)
        environment["TORCH_NEURONX_PRESERVE_COMPILATION_ARTIFACTS"] = "1"
    if options.cache_dir is not None:
        environment[_CACHE] = str(options.cache_dir)
    return environment


def logical_cores(count: int, target: str) -> str:
    """NEURON_LOGICAL_NC_CONFIG for a copy that spans this many physical cores."""
    if count not in (1, 2):
        raise OptionError(f"target {target!r} cannot honour neuroncores={count}; a logical core is made of 1 or 2")
    return str(count)


@contextlib.contextmanager
def settings(environment: Mapping[str, str]) -> Iterator[None]:
    """Put these variables into the process's environment; on leaving, give back what was there."""
    before = {key: os.environ.get(key) for key in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
