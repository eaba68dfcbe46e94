"""SdkTarget: what the targets have in common whose SDK compiles TorchScript in a child process."""

from __future__ import annotations

import importlib
import os
import re
import shutil
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from neuronkit.capture.serialize import save_script
from neuronkit.errors import CompileError
from neuronkit.options import CompileOptions
from neuronkit.specs import TensorSpec
from neuronkit.targets.base import CompiledGraphs, Target
from neuronkit.targets.cached import Built, GraphCache, with_influence
from neuronkit.targets.progress import ProgressCallback
from neuronkit.targets.sdk.failure import disk_errors
from neuronkit.targets.sdk.job import CALL, LOG, PARTIAL, RESULT, ChildCompiler, Job
from neuronkit.targets.sdk.log import compiler_logs, read_log
from neuronkit.targets.sdk.packages import visible_devices

if TYPE_CHECKING:
    from neuronkit.static.model import Graphs

_TARGET = re.compile(r"""--target['"=, ]+([\w-]+)""")
_KEPT_LOG = 1 << 20  # bytes, from its end


class SdkTarget(Target):
    """Hands each graph to the SDK in a child process and loads the TorchScript that comes back.

    Attributes:
        sdk: The SDK's package.
    """

    sdk: ClassVar[str]
    is_neuron = True

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
    def capture(self, module: nn.Module, specs: tuple[TensorSpec, ...]) -> Any:
        """What the compiler receives: TorchScript or a torch.export program."""

    @abstractmethod
    def write_graph(self, program: Any, directory: Path) -> None:
        """Write what `capture` gave for the child to read, never as a pickle."""

    @abstractmethod
    def compile_in_child(self, job: Job, directory: Path) -> None:
        """In the child: compile the graph in `directory` and write ``compiled.pt``."""

    def check_options(self, options: CompileOptions) -> None:
        super().check_options(options)
        self.call_arguments(options, ())

    def compile(
        self, graphs: Graphs, *, options: CompileOptions, op_whitelist: tuple[str, ...] = (), progress: ProgressCallback
    ) -> CompiledGraphs:
        self.prepare_load()
        arguments = self.call_arguments(options, op_whitelist)
        decisive = self.call_arguments(with_influence(options), tuple(sorted(set(op_whitelist))))
        with ChildCompiler(options, progress) as compiler:
            cache = GraphCache(
                self, options, op_whitelist, arguments=decisive, progress=progress, deadline=compiler.deadline
            )
            build = partial(self._build, compiler, arguments)
            return cache.compile(graphs, capture=self.capture, build=build, load=_load)

    def _build(
        self,
        compiler: ChildCompiler,
        arguments: dict[str, Any],
        graph: str,
        program: Any,
        specs: tuple[TensorSpec, ...],
    ) -> Built:
        job = Job(self.name, (type(self).__module__, type(self).__name__), graph, specs, arguments)
        directory = compiler.directory(graph)
        with disk_errors(str(job)):
            self.write_graph(program, directory)
        result = compiler.run(job)
        try:
            check_target(compiler, job, arguments["compiler_args"])
            function = _load(directory)
        except RuntimeError as error:
            result.unlink()
            if isinstance(error, CompileError):
                raise
            raise compiler.failure(job, f"was not compiled: the result cannot be loaded ({error})") from error
        return Built(function, effective_command(directory), partial(_copy, directory))


def save_result(compiled: Any, call: str, directory: Path) -> None:
    """In the child: write what the SDK gave, and the call that made it; the result has its name once it is whole.

    Raises:
        CompileError: If the SDK gave something else than TorchScript.
    """
    if not isinstance(compiled, torch.jit.ScriptModule):
        raise CompileError(f"{call} gave a {type(compiled).__name__}; a compiled graph is a torch.jit.ScriptModule")
    (directory / CALL).write_text(call, encoding="utf-8")
    save_script(compiled, directory / PARTIAL)
    (directory / PARTIAL).replace(directory / RESULT)


def _load(directory: Path) -> torch.jit.ScriptModule:
    return torch.jit.load(str(directory / RESULT))  # type: ignore[no-any-return]


def _copy(source: Path, directory: Path) -> None:
    for name in (RESULT, CALL):
        shutil.copyfile(source / name, directory / name)
    # Verbose compilers write gigabytes.
    with (source / LOG).open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - _KEPT_LOG))
        (directory / LOG).write_bytes(log.read(_KEPT_LOG))


def rendered(function: str, keywords: Mapping[str, Any]) -> str:
    """A call as text, the graph and its inputs left out."""
    return f"{function}(graph, inputs, {', '.join(f'{name}={value!r}' for name, value in keywords.items())})"


def examples_of(specs: tuple[TensorSpec, ...]) -> tuple[Tensor, ...]:
    return tuple(spec.example() for spec in specs)


def effective_command(directory: Path) -> str:
    """The SDK call, and the compiler's own command line where a log shows it."""
    call = (directory / CALL).read_text(encoding="utf-8")
    return next((f"{call}; {shown}" for shown in compiler_calls(directory)), call)


def compiler_calls(directory: Path) -> Iterator[str]:
    """Every command line of the compiler that the child's log, or the compiler's own files, show."""
    for path in (directory / LOG, *compiler_logs(directory)):
        yield from read_log(path).calls


def check_target(compiler: ChildCompiler, job: Job, compiler_args: Sequence[str]) -> None:
    """Make sure that the compiler was called for the requested chip: releases of 2024 ignored ``--target``.

    The only evidence is a command line in a log; where there is none, nothing is claimed.

    Raises:
        CompileError: If a command line names another chip, or none.
    """
    asked = _TARGET.findall(" ".join(compiler_args))
    for call in compiler_calls(compiler.directory(job.graph)) if asked else ():
        shown = _TARGET.findall(call)
        if asked[-1:] != shown[-1:]:
            found = f"--target {shown[-1]}" if shown else "no --target"
            raise compiler.failure(
                job,
                f"was compiled for another chip: asked for --target {asked[-1]}, the compiler was called with {found} "
                f"({call[:300]})",
                hint="this release of the SDK ignores --target: update it, or compile for the chip that it takes "
                "(inf2 and trn1 run the same programs)",
            )
