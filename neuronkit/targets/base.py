"""Target: one way of turning static graphs into something that runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from neuronkit.cache.store import CompileCache
from neuronkit.errors import ArtifactError, OptionError
from neuronkit.options import CompileOptions
from neuronkit.shown import shown
from neuronkit.targets.progress import ProgressCallback
from neuronkit.tensors import dtype_name

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from neuronkit.specs import TensorSpec
    from neuronkit.static.model import Graphs


@dataclass(frozen=True)
class CompiledGraphs:
    """What a target made of a model's graphs.

    Attributes:
        callables: Name → compiled graph, called with tensors as its specs say.
        commands: Name → the compiler's effective command line or call, for the manifest.
        cache: Name → whether the compile cache held it, under which key, and why; empty without a cache.
    """

    callables: Mapping[str, Callable[..., Any]]
    commands: Mapping[str, str] = field(default_factory=dict)
    cache: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Target(ABC):
    """A compile target. Subclasses import their SDK inside methods only.

    Attributes:
        name: What `compile_for_inferentia(target=...)` calls it.
        supported_options: The fields of `CompileOptions` that it passes on.
        saves: Whether what it makes can be written to an artifact.
        saves_directory: Whether its artifact is a directory, which `save_directory` writes and `load_directory` reads,
            rather than TorchScript.
        chip: Its chip in `neuronkit.tables.hardware`, for `estimate`; None without published figures.
        rules: Whose operators it takes: "torch-neuron", "torch-xla", "torch-neuron-native", or "any" for TorchScript.
        is_neuron: Whether what it makes runs on Neuron devices.
        refused_dtypes: Dtypes of inputs that its devices do not take, besides int64 and float64.
    """

    name: ClassVar[str]
    supported_options: ClassVar[frozenset[str]] = frozenset()
    saves: ClassVar[bool] = True
    saves_directory: ClassVar[bool] = False
    chip: ClassVar[str | None] = None
    rules: ClassVar[str] = "any"
    is_neuron: ClassVar[bool] = False
    refused_dtypes: ClassVar[frozenset[str]] = frozenset()

    def check_options(self, options: CompileOptions) -> None:
        """Raise OptionError for a field that this target cannot honour, or a cache that is none."""
        # Where nothing can be cast, "none" is honoured anyway.
        met = {"auto_cast"} if options.auto_cast == "none" else set()
        refused = sorted(set(options.changed()) - self.supported_options - met)
        if refused:
            given = ", ".join(f"{name}={getattr(options, name)!r}" for name in refused)
            takes = ", ".join(sorted(self.supported_options)) or "no option"
            raise OptionError(
                f"got {given}, which target {self.name!r} cannot honour; expected {takes}; leave the others out"
            )
        if options.cache_dir is not None:
            CompileCache(options.cache_dir)

    @abstractmethod
    def check_environment(self) -> dict[str, str]:
        """Make sure that the SDK is there and fits torch and Python.

        Returns:
            Package → version, for the manifest.

        Raises:
            MissingSDKError: If it is not, with the command that installs it.
        """

    def prepare_load(self) -> None:  # noqa: B027  most targets need nothing
        """Import what must be there before `torch.jit.load` reads an artifact of this target.

        Raises:
            MissingSDKError: If it is not installed.
        """

    def place(
        self, function: Callable[..., Any], *, neuroncore: int, count: int = 1, inline_weights: bool = True
    ) -> None:
        """Put a loaded model on given cores of this machine.

        Args:
            function: What `torch.jit.load` gave, or `compile`.
            neuroncore: The first core, counted from those that this process may use.
            count: Number of cores.
            inline_weights: Whether it was compiled with its weights inside the program.

        Raises:
            OptionError: If the target has no cores to choose from.
        """
        raise OptionError(f"target {self.name!r} has no cores to choose from; leave neuroncore out")

    def replicate(self, function: Callable[..., Any], copies: int) -> Sequence[Callable[..., Any]]:
        """Make what computes several batches at once.

        Args:
            function: What `compile` made, joined.
            copies: How many batches.

        Returns:
            One function for each copy, called from a thread of its own; or a single one for all, which takes `copies`
            times the rows.

        Raises:
            OptionError: If the target cannot.
        """
        # TorchScript runs outside Python's lock, and its weights are only read.
        return [function] * copies

    def separate_weights(self, module: nn.Module, specs: tuple[TensorSpec, ...]) -> Mapping[str, Tensor]:
        """The weights of a graph, by the names that they have beside a program compiled without them.

        Args:
            module: As `compile` gets it.
            specs: Its inputs.

        Returns:
            Name → weight; none where the target cannot replace them.
        """
        return {}

    def replace_weights(self, function: Callable[..., Any], weights: Mapping[str, Tensor]) -> None:
        """Put other weights beside a compiled graph's program.

        Args:
            function: What `compile` gave for one graph, with `inline_weights=False`; it is changed.
            weights: As `separate_weights` names them.

        Raises:
            OptionError: If the target cannot.
        """
        raise OptionError(f"got target={self.name!r}; expected one that replaces weights; compile the new model")

    def runs_here(self) -> bool:
        """Whether this machine has the device that a compiled graph runs on."""
        return True

    def save_directory(self, function: Callable[..., Any], directory: Path) -> None:
        """Write a compiled graph into an existing directory.

        Raises:
            ArtifactError: If it cannot be written.
        """
        raise ArtifactError(f"target {self.name!r} makes no directory")

    def load_directory(self, directory: Path) -> Callable[..., Any]:
        """Read what `save_directory` wrote.

        Raises:
            ArtifactError: If it cannot be read.
        """
        raise ArtifactError(f"target {self.name!r} makes no directory")

    def save_graphs(self, graphs: Mapping[str, Callable[..., Any]], directory: Path) -> None:
        """Write compiled graphs into an empty directory: a single one into it, several into a folder each.

        Args:
            graphs: Name → what `compile` made.
            directory: Where.

        Raises:
            ArtifactError: If one cannot be written.
        """
        for name, folder in _folders(list(graphs), directory).items():
            folder.mkdir(parents=True, exist_ok=True)
            self.save_directory(graphs[name], folder)

    def load_graphs(self, names: Sequence[str], directory: Path) -> dict[str, Callable[..., Any]]:
        """Read what `save_graphs` wrote.

        Raises:
            ArtifactError: If one cannot be read.
        """
        return {name: self.load_directory(folder) for name, folder in _folders(names, directory).items()}

    @abstractmethod
    def compile(
        self, graphs: Graphs, *, options: CompileOptions, op_whitelist: tuple[str, ...] = (), progress: ProgressCallback
    ) -> CompiledGraphs:
        """Compile every graph.

        Args:
            graphs: Name → (module on the CPU in eval mode, its input specs).
            options: Checked before.
            op_whitelist: Operator kinds that the user vouches for.
            progress: Called with each stage, in a few words.

        Raises:
            CompileError: If the compiler fails.
        """


def _folders(names: Sequence[str], directory: Path) -> dict[str, Path]:
    """Where each graph lies."""
    if len(names) == 1:
        return {names[0]: directory}
    return {name: directory / "graphs" / graph_name(name) for name in names}


def graph_name(name: str) -> str:
    """The name of a graph, which a file is to have.

    Raises:
        ArtifactError: If a file cannot be called so.
    """
    if not name.isidentifier():
        raise ArtifactError(f"got a graph called {shown(name)}; expected a name of letters and digits; rename it")
    return name


def weight_kinds(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Name → dtype and shape, for a manifest."""
    return {name: f"{dtype_name(weight.dtype)}{list(weight.shape)}" for name, weight in weights.items()}
