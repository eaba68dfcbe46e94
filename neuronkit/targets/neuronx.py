"""Inf2, Trn1 and Trn2: torch_neuronx.trace, the PyTorch/XLA front end of neuronx-cc."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from torch import Tensor, nn

from neuronkit.capture.exporting import export_graph, load_portable, make_portable
from neuronkit.capture.serialize import save_program
from neuronkit.errors import MissingSDKError
from neuronkit.options import SDK_OPTIONS, CompileOptions
from neuronkit.specs import TensorSpec
from neuronkit.targets.sdk.flags import checked_cores, flag_given, neuronx_flags
from neuronkit.targets.sdk.job import Job
from neuronkit.targets.sdk.packages import (
    check_framework,
    distribution_version,
    import_sdk,
    install_command,
    numbers,
    visible_devices,
    within,
)
from neuronkit.targets.sdk.target import SdkTarget, examples_of, rendered, save_result

# The compiler line of SDK 2.31, from which on torch-neuronx is in maintenance.
INSTALL = install_command("torch==2.9.*", "torch-neuronx==2.9.*", "neuronx-cc==2.26.*")


class NeuronxTarget(SdkTarget):
    """The chips of the second generation and later, through their XLA front end.

    Attributes:
        compiler_target: The chip as neuronx-cc's ``--target`` calls it.
        cores_per_copy: Physical cores that one copy of a model can span.
    """

    sdk = "torch_neuronx"
    rules = "torch-xla"
    supported_options = SDK_OPTIONS
    compiler_target: ClassVar[str]
    cores_per_copy: ClassVar[tuple[int, ...]] = (1,)

    def check_environment(self) -> dict[str, str]:
        found = check_framework(self.name, torch_versions="2.5-2.9", pythons="3.10-3.13", command=INSTALL)
        sdk = import_sdk("torch_neuronx", self.name, INSTALL)
        version = str(getattr(sdk, "__version__", None) or distribution_version("torch-neuronx"))
        if not hasattr(sdk, "trace") or numbers(version) >= (2, 10):
            raise MissingSDKError(
                f"torch-neuronx {version} is TorchNeuron, which has no trace; target {self.name!r} needs the XLA-based "
                f"releases up to 2.9. In another environment: {INSTALL}"
            )
        if not within(version, ".".join(found["torch"].split(".")[:2])):
            raise MissingSDKError(f"torch-neuronx {version} does not fit torch {found['torch']}. {INSTALL}")
        found["torch-neuronx"] = version
        for package in ("neuronx-cc", "torch-xla"):
            installed = distribution_version(package)
            if installed is not None:
                found[package] = installed
        return found

    def prepare_load(self) -> None:
        # This import registers neuron::Model, which torch.jit.load needs.
        import_sdk("torch_neuronx", self.name, INSTALL)

    def place(
        self, function: Callable[..., Any], *, neuroncore: int, count: int = 1, inline_weights: bool = True
    ) -> None:
        super().place(function, neuroncore=neuroncore, count=count)
        if not inline_weights:
            # Weights beside the program would travel to the core at every call.
            import_sdk("torch_neuronx", self.name, INSTALL).move_trace_to_device(function, neuroncore)

    def separate_weights(self, module: nn.Module, specs: tuple[TensorSpec, ...]) -> Mapping[str, Tensor]:
        # The names that the child's graph has; constants that export keeps beside the weights are among them.
        graph = make_portable(export_graph(module, specs).module())
        return {name: weight.detach() for name, weight in (*graph.named_parameters(), *graph.named_buffers())}

    def replace_weights(self, function: Callable[..., Any], weights: Mapping[str, Tensor]) -> None:
        import_sdk("torch_neuronx", self.name, INSTALL).replace_weights(function, dict(weights))

    def call_arguments(self, options: CompileOptions, op_whitelist: tuple[str, ...]) -> dict[str, Any]:
        return {
            "compiler_args": self.compiler_args(options),
            "cpu_operators": list(options.cpu_operators),
            "cpu_fallback": options.cpu_fallback,
            "dynamic_batch": options.dynamic_batch,
            "inline_weights_to_neff": options.inline_weights,
            "cpu_backend": not self.runs_here(),
        }

    def compiler_args(self, options: CompileOptions) -> list[str]:
        """neuronx-cc's command line; what its releases have different defaults for is always written out.

        Raises:
            OptionError: If neuronx-cc has no such setting.
        """
        args = [] if flag_given(options.extra_args, "--target") else ["--target", self.compiler_target]
        args += neuronx_flags(options, self.compiler_target)
        if options.optlevel is not None:
            args.append(f"-O{options.optlevel}")
        if options.neuroncores is not None:
            count = checked_cores(options.neuroncores, self.name, self.cores_per_copy)
            if self.cores_per_copy != (1,):
                args += ["--logical-nc-config", str(count)]
        return [*args, *options.extra_args]

    def capture(self, module: nn.Module, specs: tuple[TensorSpec, ...]) -> Any:
        return export_graph(module, specs)

    def write_graph(self, program: Any, directory: Path) -> None:
        save_program(program, directory / "graph.pt2")

    def compile_in_child(self, job: Job, directory: Path) -> None:
        sdk = import_sdk("torch_neuronx", self.name, INSTALL)
        graph = load_portable(directory / "graph.pt2")
        keywords = _keywords(sdk, job.arguments, directory / "compiler")
        compiled = sdk.trace(graph, examples_of(job.specs), **keywords)
        if job.arguments["dynamic_batch"]:
            compiled = sdk.dynamic_batch(compiled) or compiled
        if not visible_devices() and hasattr(sdk, "lazy_load"):
            # Otherwise loading the file looks for a device, and the machine that compiles has none.
            sdk.lazy_load(compiled, enable_lazy_load=True)
        save_result(compiled, rendered("torch_neuronx.trace", keywords), directory)


class Inf2Target(NeuronxTarget):
    """AWS Inferentia2."""

    name = "inf2"
    chip = "Inferentia2"
    compiler_target = "inf2"


class Trn1Target(NeuronxTarget):
    """AWS Trainium."""

    name = "trn1"
    chip = "Trainium1"
    compiler_target = "trn1"


class Trn2Target(NeuronxTarget):
    """AWS Trainium2; one copy of a model runs on one physical core or on a logical one made of two."""

    name = "trn2"
    chip = "Trainium2"
    compiler_target = "trn2"
    cores_per_copy = (1, 2)


def _keywords(sdk: ModuleType, arguments: dict[str, Any], workdir: Path) -> dict[str, Any]:
    keywords: dict[str, Any] = {
        "compiler_workdir": str(workdir),
        "compiler_args": arguments["compiler_args"],
        "inline_weights_to_neff": arguments["inline_weights_to_neff"],
        "cpu_backend": arguments["cpu_backend"],
    }
    if arguments["cpu_operators"]:
        keywords["partitioner_config"] = sdk.PartitionerConfig(ops_to_partition=set(arguments["cpu_operators"]))
    elif arguments["cpu_fallback"]:
        keywords["partitioner_config"] = sdk.PartitionerConfig()
    return keywords
