"""Trn2 and Trn3 through TorchNeuron, the native PyTorch backend: torch.compile(backend="neuron")."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from neuronkit.capture.exporting import export_graph, load_portable
from neuronkit.capture.serialize import save_program
from neuronkit.errors import ArtifactError, CompileError, MissingSDKError, OptionError
from neuronkit.options import SDK_OPTIONS, CompileOptions
from neuronkit.specs import TensorSpec
from neuronkit.targets.base import CompiledGraphs, Target
from neuronkit.targets.cached import Built, GraphCache, with_influence
from neuronkit.targets.progress import ProgressCallback
from neuronkit.targets.sdk.failure import explain
from neuronkit.targets.sdk.flags import checked_cores, neuronx_flags
from neuronkit.targets.sdk.packages import (
    check_framework,
    distribution_version,
    import_sdk,
    install_command,
    numbers,
    visible_devices,
    within,
)
from neuronkit.targets.sdk.temporary import owned_directory
from neuronkit.threads.turns import Turns

if TYPE_CHECKING:
    from neuronkit.static.model import Graphs

INSTALL = install_command("torch==2.14.*", "torch-neuronx==2.14.*", "neuronx-cc==2.28.*")
_PROGRAM = "graph.pt2"
# TorchNeuron's two tiers of compiled programs. A hit in the local one may leave the other without the program.
_CACHES = {"TORCH_NEURONX_NEFF_CACHE_DIR": "cache", "TORCH_NEURONX_NEFF_LOCAL_CACHE_DIR": "cache-local"}
_PLATFORM = "NEURON_PLATFORM_TARGET_OVERRIDE"
_LEVEL, _CORES = "NEURON_COMPILER_OPT_LEVEL", "NEURON_LOGICAL_NC_CONFIG"
# What decides about the compiled program, and so goes into an artifact; the rest is of this machine.
_KEPT = ("TORCH_NEURONX_DISABLE_FALLBACK_EXECUTION", "NEURON_CC_FLAGS", _CORES, _LEVEL)
_TELLING = Turns()
# With it set, an artifact would have no program.
_NO_CACHE = "TORCH_NEURONX_NEFF_DISABLE_CACHE"


class Trn2NativeTarget(Target):
    """AWS Trainium2 through TorchNeuron (public beta of 2026). Compiles in process, at the first call of each graph."""

    name = "trn2-native"
    chip = "Trainium2"
    compiler_target: ClassVar[str] = "trn2"
    cores_per_copy: ClassVar[tuple[int, ...]] = (1, 2)
    rules = "torch-neuron-native"
    saves_directory = True
    is_neuron = True
    supported_options = SDK_OPTIONS - {"cpu_operators", "dynamic_batch", "inline_weights", "timeout_s"}

    def check_options(self, options: CompileOptions) -> None:
        super().check_options(options)
        self.environment_of(options)

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
        environment = self.environment_of(options)
        decisive = self.environment_of(with_influence(options))
        cache = GraphCache(self, options, op_whitelist, arguments=decisive, progress=progress)
        return cache.compile(
            graphs, capture=export_graph, build=partial(self._build, environment), load=self.load_directory
        )

    def _build(self, environment: Mapping[str, str], graph: str, program: Any, specs: tuple[TensorSpec, ...]) -> Built:
        made = NativeGraph(lambda directory: save_program(program, directory / _PROGRAM), specs, environment)
        try:
            made(*(spec.example() for spec in specs))
        except Exception as error:
            code, hint = explain(str(error))
            raise CompileError(
                f"graph {graph!r} for target {self.name!r} was not compiled: {error}. Next: "
                f"{hint or 'read the message'}",
                code=code,
                hint=hint,
            ) from error
        settings = " ".join(f"{key}={value}" for key, value in environment.items())
        call = f'{settings} torch.compile(graph, backend="neuron", fullgraph=True, dynamic=False)'
        return Built(made, call, made.save)

    def replicate(self, function: Callable[..., Any], copies: int) -> Sequence[Callable[..., Any]]:
        raise OptionError(
            f"target {self.name!r} cannot place copies on several cores of one process: TorchNeuron documents no call "
            "for it. Run one process a core, each with neuronkit.serving.cores.claim_cores(1)"
        )

    def save_directory(self, function: Callable[..., Any], directory: Path) -> None:
        """Write a compiled graph: its torch.export program, its settings, and both caches of compiled programs.

        Raises:
            ArtifactError: If it is something else.
        """
        if not isinstance(function, NativeGraph):
            raise ArtifactError(
                f"got {type(function).__name__}; expected a graph that target {self.name!r} compiled; save the "
                "model that compile_for_inferentia gave"
            )
        function.save(directory)

    def load_directory(self, directory: Path) -> NativeGraph:
        """Read what `save_directory` wrote. The first call finds its program in the cache.

        TorchNeuron writes to its caches, so it is given copies: what runs an artifact never changes it.
        """
        fields = json.loads((directory / "graph.json").read_text(encoding="utf-8"))
        specs = tuple(TensorSpec.from_dict(spec) for spec in fields["specs"])
        kept = {key: str(value) for key, value in fields["environment"].items() if key in _KEPT}
        # As artifacts of format 1 have it.
        if kept.get(_LEVEL, "").isdigit():
            kept[_LEVEL] = f"-O{kept[_LEVEL]}"
        return NativeGraph(partial(_copy, directory), specs, {**kept, **self._platform()})

    def environment_of(self, options: CompileOptions) -> dict[str, str]:
        """TorchNeuron's environment variables for these options; it takes them in no other way.

        Raises:
            OptionError: If there is no such setting.
        """
        environment = {
            "TORCH_NEURONX_DISABLE_FALLBACK_EXECUTION": "0" if options.cpu_fallback else "1",
            "NEURON_CC_FLAGS": " ".join([*neuronx_flags(options, self.compiler_target), *options.extra_args]),
            **self._platform(),
            # The process's own, unless the options say otherwise: an artifact has to say what made it.
            **{name: os.environ[name] for name in (_LEVEL, _CORES) if name in os.environ},
        }
        if options.optlevel is not None:
            # Passed on to the compiler as it is.
            environment[_LEVEL] = f"-O{options.optlevel}"
        if options.neuroncores is not None:
            count = checked_cores(options.neuroncores, self.name, self.cores_per_copy)
            # Chips without logical cores refuse the setting.
            if self.cores_per_copy != (1,):
                environment[_CORES] = str(count)
        if options.workdir is not None:
            environment["TORCH_NEURONX_DEBUG_DIR"] = str(options.workdir)
            environment["TORCH_NEURONX_PRESERVE_COMPILATION_ARTIFACTS"] = "1"
        return environment

    def _platform(self) -> dict[str, str]:
        """TorchNeuron's settings where there is no device to detect."""
        if self.runs_here():
            return {}
        return {"TORCH_NEURONX_COMPILE_ONLY": "1", _PLATFORM: self.compiler_target}


class Trn3Target(Trn2NativeTarget):
    """AWS Trainium3, which TorchNeuron alone supports."""

    name = "trn3"
    chip = "Trainium3"
    compiler_target = "trn3"


class Inf2NativeTarget(Trn2NativeTarget):
    """AWS Inferentia2 through TorchNeuron, which does not support it officially.

    According to public reports it works with the platform set for TorchNeuron.
    """

    name = "inf2-native"
    chip = "Inferentia2"
    compiler_target = "inf2"
    cores_per_copy = (1,)

    def _platform(self) -> dict[str, str]:
        return {**super()._platform(), _PLATFORM: self.compiler_target}


class NativeGraph:
    """One graph under torch.compile: takes and gives CPU tensors.

    Its program, both of TorchNeuron's caches and the temporary files of its compile lie in a temporary directory, which
    lives as long as the object. Threads take turns, at all graphs of a process: settings are variables of the process.

    Args:
        fill: Writes ``graph.pt2``, and the caches where there are any, into an empty directory.
        specs: The inputs; they stay an attribute.
        environment: TorchNeuron's settings, in force while the graph is compiled.
    """

    def __init__(
        self, fill: Callable[[Path], None], specs: tuple[TensorSpec, ...], environment: Mapping[str, str]
    ) -> None:
        self._directory = owned_directory(self, "native")
        fill(self._directory)
        self.specs = specs
        # Caches of its own, or a saved artifact would carry the programs of other graphs.
        caches = {variable: str(self._directory / name) for variable, name in _CACHES.items()}
        # Without a name, TorchNeuron takes the chip from the device, and not from the rest of the environment.
        self._environment: dict[str, str | None] = {_NO_CACHE: None, _PLATFORM: None, **environment, **caches}
        self._is_compiled = False
        with self._told():
            import_sdk("torch_neuronx", "trn2-native", INSTALL)
            module = load_portable(self._directory / _PROGRAM).to(device())
            # Neuron has fixed shapes, and a graph that falls apart would leave the device between its parts.
            self._function = torch.compile(module, backend="neuron", fullgraph=True, dynamic=False)

    def __call__(self, *inputs: Tensor) -> Any:
        with self._told(), torch.no_grad():
            outputs = self._function(*(x.to(device()) for x in inputs))
        self._is_compiled = True
        return tree_map(lambda x: x.cpu() if isinstance(x, Tensor) else x, outputs)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """The graph's settings, in force; while it compiles, temporary files have a place that goes with it."""
        with _TELLING.taken(), self._in_force():
            yield

    @contextlib.contextmanager
    def _in_force(self) -> Iterator[None]:
        if self._is_compiled:
            with settings(self._environment):
                yield
            return
        scratch, before = self._directory / "scratch", tempfile.tempdir
        scratch.mkdir(exist_ok=True)
        places = {"TMPDIR": str(scratch), "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor")}
        # Python asks for the variable only once.
        try:
            tempfile.tempdir = str(scratch)
            with settings({**self._environment, **places}):
                yield
        finally:
            tempfile.tempdir = before

    def save(self, directory: Path) -> None:
        """Write the graph, its caches, and those of its settings that decide what is compiled."""
        _copy(self._directory, directory)
        kept = {key: value for key, value in self._environment.items() if key in _KEPT and value is not None}
        fields = {"specs": [spec.to_dict() for spec in self.specs], "environment": kept}
        (directory / "graph.json").write_text(json.dumps(fields, indent=1), encoding="utf-8")


def _copy(source: Path, directory: Path) -> None:
    """Copy a graph's program and its caches."""
    shutil.copyfile(source / _PROGRAM, directory / _PROGRAM)
    for name in _CACHES.values():
        if (source / name).exists():
            shutil.copytree(source / name, directory / name, dirs_exist_ok=True)


def device() -> torch.device:
    """TorchNeuron's device."""
    return torch.device("neuron")


@contextlib.contextmanager
def settings(environment: Mapping[str, str | None]) -> Iterator[None]:
    """Put these variables into the process's environment, None for none; on leaving, give back what was there."""
    before = {key: os.environ.get(key) for key in environment}
    try:
        _put(environment)
        yield
    finally:
        _put(before)


def _put(environment: Mapping[str, str | None]) -> None:
    for key, value in environment.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value
