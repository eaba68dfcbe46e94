"""SdkTarget: what the targets have in common whose SDK compiles TorchScript in a child process."""

from __future__ import annotations

import importlib
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from neuronkit.options import CompileOptions
from neuronkit.specs import TensorSpec
from neuronkit.targets.base import CompiledGraphs, Report, Target
from neuronkit.targets.job import Job, Workshop
from neuronkit.targets.sdk import visible_devices

if TYPE_CHECKING:
    from neuronkit.static.model import Graphs

_COMPILER_CALL = re.compile(r"^.*?(\S*neuronx?-cc compile .*)$", re.MULTILINE)


class SdkTarget(Target):
    """Hands each graph to the SDK in a child process and loads the TorchScript that comes back.

    Attributes:
        sdk: The SDK's package.
    """

    sdk: ClassVar[str]

    def runs_here(self) -> bool:
        return bool(visible_devices())

    def place(
        self, function: Callable[..., Any], *, neuroncore: int, count: int = 1, inline_weights: bool = True
    ) -> None:
        sdk = importlib.import_module(self.sdk)
        # Still experimental in every release; announced to move to the package itself.
        home = sdk if hasattr(sdk, "set_neuron_cores") else importlib.import_module(f"{self.sdk}.experimental")
        home.set_neuron_cores(function, start_nc=neuroncore, nc_count=count)

    def replicate(self, function: Callable[..., Any], copies: int) -> Sequence[Callable[..., Any]]:
        parallel = importlib.import_module(self.sdk).DataParallel(function, device_ids=list(range(copies)))
        # Every core gets exactly the batch it was compiled for: Inf1's SDK would not fill up an odd one.
        parallel.disable_dynamic_batching()
        return [parallel]

    @abstractmethod
    def call_arguments(self, options: CompileOptions, op_whitelist: tuple[str, ...]) -> dict[str, Any]:
        """What the child needs to call the SDK, ready for JSON.

        Raises:
            OptionError: If the target cannot honour an option's value.
        """

    @abstractmethod
    def write_graph(self, module: nn.Module, specs: tuple[TensorSpec, ...], directory: Path) -> None:
        """Write a graph for the child to read, as TorchScript or torch.export, never as a pickle."""

    @abstractmethod
    def compile_in_child(self, job: Job, directory: Path) -> None:
        """In the child: compile the graph in `directory` and write ``compiled.pt``."""

    def check_options(self, options: CompileOptions) -> None:
        super().check_options(options)
        self.call_arguments(options, ())

    def compile(
        self, graphs: Graphs, *, options: CompileOptions, op_whitelist: tuple[str, ...] = (), report: Report
    ) -> CompiledGraphs:
        self.prepare_load()
        arguments = self.call_arguments(options, op_whitelist)
        workshop = Workshop(options)
        callables, commands = {}, {}
        for name, (module, specs) in graphs.items():
            report(f"compiling {name}")
            directory = workshop.directory(name)
            self.write_graph(module, specs, directory)
            result = workshop.run(Job(self.name, name, specs, arguments))
            callables[name] = torch.jit.load(str(result))
            commands[name] = effective_command(directory)
        workshop.clean()
        return CompiledGraphs(callables, commands)


def save_result(compiled: torch.jit.ScriptModule, call: str, directory: Path) -> None:
    """In the child: write what the SDK gave, and the call that made it."""
    torch.jit.save(compiled, str(directory / "compiled.pt"))
    (directory / "call.txt").write_text(call, encoding="utf-8")


def effective_command(directory: Path) -> str:
    """The SDK call, and the compiler's own command line where the log shows it."""
    call = (directory / "call.txt").read_text(encoding="utf-8")
    log = (directory / "compile.log").read_text(encoding="utf-8", errors="replace")
    shown = _COMPILER_CALL.search(log)
    return f"{call}; {shown.group(1)}" if shown else call


def rendered(function: str, keywords: Mapping[str, Any]) -> str:
    """A call as text, the graph and its inputs left out."""
    return f"{function}(graph, inputs, {', '.join(f'{name}={value!r}' for name, value in keywords.items())})"


def examples_of(specs: tuple[TensorSpec, ...]) -> tuple[Tensor, ...]:
    return tuple(spec.example() for spec in specs)


def flag_given(extra_args: tuple[str, ...], *flags: str) -> bool:
    """Whether the caller's own arguments set one of these flags, as ``--flag value`` or ``--flag=value``."""
    return any(argument.partition("=")[0] in flags for argument in extra_args)
