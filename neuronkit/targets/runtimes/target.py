"""RuntimeTarget: graphs as ONNX models, run by a runtime on the CPU."""

from __future__ import annotations

import platform
import shutil
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from neuronkit.capture.onnx import OPSET, export, newest_opset, output_names, trace_flat
from neuronkit.errors import ArtifactError, CompileError, MissingDependencyError, OptionError
from neuronkit.options import CompileOptions
from neuronkit.shown import shown
from neuronkit.specs import TensorSpec
from neuronkit.targets.base import CompiledGraphs, Target, graph_name
from neuronkit.targets.cached import Built, GraphCache, with_influence
from neuronkit.targets.progress import ProgressCallback
from neuronkit.targets.runtimes import bundle
from neuronkit.targets.sdk.packages import distribution_version, import_sdk
from neuronkit.targets.sdk.temporary import owned_directory

if TYPE_CHECKING:
    import numpy as np

    Run = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]
    from neuronkit.static.model import Graphs


@dataclass(frozen=True)
class Port:
    """An input or output of a graph, as a runtime reports it.

    Attributes:
        names: Its names; some runtimes keep several.
        shape: Its sizes; what is not a whole number stands for any size.
        dtype: As `TensorSpec` names it.
    """

    names: frozenset[str]
    shape: tuple[Any, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{' or '.join(sorted(self.names))}: {self.dtype}[{', '.join(map(str, self.shape))}]"

    def fits(self, spec: TensorSpec) -> bool:
        """Whether a spec says the same."""
        sizes = len(self.shape) == len(spec.shape) and all(
            not isinstance(size, int) or size == other for size, other in zip(self.shape, spec.shape)
        )
        return sizes and spec.name in self.names and self.dtype == spec.dtype


@dataclass(frozen=True)
class Opened:
    """A graph in a runtime.

    Attributes:
        run: From inputs by name to outputs in order, for any thread to call; raises RuntimeError where it fails.
        inputs: What it takes.
        outputs: What it gives, in order.
    """

    run: Run
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


class RuntimeTarget(Target):
    """Base of the targets that run ONNX graphs. A subclass opens a graph in its runtime.

    Attributes:
        runtime: The runtime's package.
    """

    runtime: ClassVar[str]
    saves_directory = True
    supported_options = frozenset({"cache_dir", "threads", "opset"})

    def check_options(self, options: CompileOptions) -> None:
        super().check_options(options)
        highest = newest_opset()
        if options.opset is not None and options.opset > highest:
            raise OptionError(
                f"got opset={options.opset}; expected at most {highest}, which is all that torch {torch.__version__} "
                "exports; give a lower one, or leave it out"
            )

    @property
    def install_command(self) -> str:
        """The command that installs the packages."""
        return f"pip install onnx {self.runtime}"

    def check_environment(self) -> dict[str, str]:
        for package in ("onnx", self.runtime):
            import_sdk(package, self.name, self.install_command, MissingDependencyError)
        versions = {package: distribution_version(package) or "unknown" for package in ("onnx", self.runtime)}
        return {"torch": torch.__version__, "python": platform.python_version(), **versions}

    def prepare_load(self) -> None:
        import_sdk(self.runtime, self.name, f"pip install {self.runtime}", MissingDependencyError)

    def settings(self, options: CompileOptions) -> dict[str, Any]:
        """Options of the runtime when a graph is opened, ready for JSON."""
        return {"target": self.name, "threads": options.threads, "precision": "float32"}

    @abstractmethod
    def open(self, path: Path, settings: Mapping[str, Any]) -> Opened:
        """Open a graph's file.

        Raises:
            RuntimeError: If the runtime cannot.
        """

    def compile(
        self, graphs: Graphs, *, options: CompileOptions, op_whitelist: tuple[str, ...] = (), progress: ProgressCallback
    ) -> CompiledGraphs:
        for name in graphs:
            graph_name(name)
        exporter = _Exporter(options.opset or OPSET, self.settings(with_influence(options)), graphs)
        arguments = {"opset": exporter.opset, "settings": exporter.settings}
        cache = GraphCache(self, options, op_whitelist, arguments=arguments, progress=progress)
        exported = cache.compile(graphs, capture=exporter.capture, build=exporter.build, load=_Folder.of)
        progress(f"opening the graphs with {self.runtime}")
        directories = {
            name: folder.directory for name, folder in exported.callables.items() if isinstance(folder, _Folder)
        }
        folder = _Folder(lambda directory: bundle.merge(directories, directory))
        try:
            opened = self._opened(folder, list(graphs))
        except (RuntimeError, ValueError) as error:
            raise CompileError(f"{self.runtime} cannot run the graphs of target {self.name!r}: {error}") from error
        return CompiledGraphs(opened, exported.commands, exported.cache)

    def save_graphs(self, graphs: Mapping[str, Callable[..., Any]], directory: Path) -> None:
        graph = next(iter(graphs.values()))
        if not isinstance(graph, RuntimeGraph):
            raise ArtifactError(
                f"got {type(graph).__name__}; expected graphs that target {self.name!r} compiled; save the model that "
                "compile_for_inferentia gave"
            )
        bundle.copy(graph.folder.directory, directory)
        # Runs the artifact where neither neuronkit nor torch is.
        shutil.copyfile(Path(__file__).with_name("page.py"), directory / "run.py")

    def load_graphs(self, names: Sequence[str], directory: Path) -> dict[str, Callable[..., Any]]:
        return dict(self._opened(_Folder.at(directory), names))

    def _opened(self, folder: _Folder, names: Sequence[str]) -> dict[str, RuntimeGraph]:
        settings, descriptions = bundle.read(folder.directory)
        # Earlier builds did not write for which target the graphs are.
        if settings.get("target", self.name) != self.name:
            raise ArtifactError(
                f"got graphs for target {shown(settings['target'])}; expected {self.name!r}; compile it again"
            )
        if sorted(descriptions) != sorted(names):
            raise ArtifactError(f"got the graphs {sorted(descriptions)}; expected {sorted(names)}; compile it again")
        return {name: RuntimeGraph(self, folder, name, descriptions[name], settings) for name in names}


class RuntimeGraph:
    """One graph in a runtime: takes and gives CPU tensors.

    Attributes:
        folder: Where its file lies.
        name: Its name.
        description: What it takes and gives.
        settings: Options of the runtime.
    """

    def __init__(
        self,
        target: RuntimeTarget,
        folder: _Folder,
        name: str,
        description: bundle.Description,
        settings: Mapping[str, Any],
    ) -> None:
        self.folder, self.name, self.description, self.settings = folder, name, description, dict(settings)
        self._target = target
        # Found once: small graphs are called many times.
        self._numbers, self._structure = tree_flatten(description.tree)
        self.reopen()

    def __call__(self, *inputs: Tensor) -> Any:
        named = {spec.name: x.detach().contiguous().numpy() for spec, x in zip(self.description.inputs, inputs)}
        outputs = self._run(named)
        tensors = [None if i is None else torch.from_numpy(outputs[i]) for i in self._numbers]
        return tree_unflatten(tensors, self._structure)

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """Its inputs."""
        return self.description.inputs

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        """Its outputs, in the order of the structure that they stand in."""
        return tuple(self.description.outputs[i] for i in self._numbers if i is not None)

    def reopen(self, **settings: Any) -> None:
        """Open it again, with other settings; results stay the same."""
        self.settings.update(settings)
        path = self.folder.directory / bundle.graph_file(self.name)
        bundle.check_weights(path)
        opened = self._target.open(path, self.settings)
        for kind, ports, specs in (
            ("takes", opened.inputs, self.description.inputs),
            ("gives", opened.outputs, self.description.outputs),
        ):
            if len(ports) != len(specs) or not all(port.fits(spec) for port, spec in zip(ports, specs)):
                found, expected = (", ".join(map(str, sides)) or "nothing" for sides in (ports, specs))
                raise ArtifactError(
                    f"{shown(self.folder.directory)}: graph {self.name!r} {kind} {found}; expected {expected}, as "
                    f"{bundle.GRAPHS} says; compile it again"
                )
        self._run = opened.run


class _Folder:
    """A folder of graphs, called like a graph where the compile cache gives it."""

    directory: Path

    def __init__(self, fill: Callable[[Path], None]) -> None:
        self.directory = owned_directory(self, "runtime")
        fill(self.directory)

    @classmethod
    def of(cls, directory: Path) -> _Folder:
        """A copy."""
        return cls(lambda copied: bundle.copy(directory, copied))

    @classmethod
    def at(cls, directory: Path) -> _Folder:
        """The folder of an artifact, which stays where it is."""
        folder = cls.__new__(cls)
        folder.directory = directory
        return folder

    def __call__(self, *_: Any) -> Any:
        raise TypeError("a folder of graphs is opened before it is called")


class _Exporter:
    """Captures and exports the graphs of one compile."""

    def __init__(self, opset: int, settings: dict[str, Any], graphs: Graphs) -> None:
        self.opset, self.settings = opset, settings
        self._names = {name: output_names(module) for name, (module, _) in graphs.items()}
        self._trees: dict[Any, Any] = {}

    def capture(self, module: nn.Module, specs: tuple[TensorSpec, ...]) -> torch.jit.ScriptModule:
        traced, self._trees[traced] = trace_flat(module, specs, self.settings["precision"])
        return traced

    def build(self, graph: str, traced: torch.jit.ScriptModule, specs: tuple[TensorSpec, ...]) -> Built:
        model, outputs = export(traced, specs, self._names[graph], self.opset)
        description = bundle.Description(specs, tuple(outputs), self._trees[traced])
        folder = _Folder(lambda directory: bundle.write({graph: (model, description)}, directory, self.settings))
        call = f"torch.onnx.export(opset_version={self.opset}, dynamo=False)"
        return Built(folder, call, lambda directory: bundle.copy(folder.directory, directory))
