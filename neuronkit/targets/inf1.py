"""Inf1: torch_neuron.trace, with neuron-cc behind it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.capture.serialize import save_script
from neuronkit.capture.tracing import trace
from neuronkit.errors import MissingSDKError, OptionError
from neuronkit.options import SDK_OPTIONS, CompileOptions, Precision
from neuronkit.specs import TensorSpec
from neuronkit.targets.sdk.flags import refuse_set_twice, sets
from neuronkit.targets.sdk.job import Job
from neuronkit.targets.sdk.packages import (
    check_framework,
    distribution_version,
    driver_version,
    import_sdk,
    install_command,
    numbers,
    within,
)
from neuronkit.targets.sdk.target import SdkTarget, examples_of, rendered, save_result

INSTALL = install_command(
    "torch==1.13.1", "torch-neuron==1.13.1.*", "neuron-cc[tensorflow]==1.24.*", "protobuf<3.20", "numpy<2"
)
_LAST_DRIVER = "2.24"

# neuron-cc's --fast-math. NeuronCore-v1 multiplies no float32 matrices: "none" is what neuron-cc calls so, with matrix
# operands in bf16. Fast relayout moves tensors through bf16 and is left off.
_FAST_MATH: dict[Precision, tuple[str, ...]] = {
    Precision(): ("none",),
    Precision("none"): ("none",),
    Precision("matmult"): ("fp32-cast-matmult", "no-fast-relayout"),
    Precision("matmult", "bf16"): ("fp32-cast-matmult-bf16", "no-fast-relayout"),
    Precision("matmult", "fp16"): ("fp32-cast-matmult-fp16", "no-fast-relayout"),
    Precision("all"): ("fp32-cast-all", "no-fast-relayout"),
    Precision("all", "bf16"): ("fp32-cast-all", "no-fast-relayout"),
    Precision("all", "fp16"): ("fp32-cast-all-fp16", "no-fast-relayout"),
}


class Inf1Target(SdkTarget):
    """AWS Inferentia of the first generation. The SDK is frozen: torch 1.13.1 and Python 3.10."""

    name = "inf1"
    refused_dtypes = frozenset({"uint8"})
    sdk = "torch_neuron"
    chip = "Inferentia"
    rules = "torch-neuron"
    supported_options = SDK_OPTIONS - {"model_type"}

    def check_environment(self) -> dict[str, str]:
        found = check_framework(self.name, torch_versions="1.13", pythons="3.10", command=INSTALL)
        sdk = import_sdk("torch_neuron", self.name, INSTALL)
        found["torch-neuron"] = str(getattr(sdk, "__version__", None) or distribution_version("torch-neuron"))
        if not within(found["torch-neuron"], "1.13"):
            raise MissingSDKError(
                f"torch-neuron {found['torch-neuron']} does not fit torch {found['torch']}. {INSTALL}"
            )
        found.update(_compiler_versions())
        return found

    def prepare_load(self) -> None:
        # Without this import, torch.jit.load ends with "Unknown builtin op: neuron::forward_1".
        import_sdk("torch_neuron", self.name, INSTALL)

    def call_arguments(self, options: CompileOptions, op_whitelist: tuple[str, ...]) -> dict[str, Any]:
        return {
            "compiler_args": compiler_args(options),
            "op_whitelist": list(op_whitelist),
            "cpu_operators": list(options.cpu_operators),
            "fallback": options.cpu_fallback,
            "dynamic_batch_size": options.dynamic_batch,
            "separate_weights": not options.inline_weights,
            "compiler_timeout": None if options.timeout_s is None else max(1, int(options.timeout_s)),
        }

    def capture(self, module: nn.Module, specs: tuple[TensorSpec, ...]) -> Any:
        return trace(module, specs)

    def write_graph(self, program: Any, directory: Path) -> None:
        save_script(program, directory / "graph.pt")

    def compile_in_child(self, job: Job, directory: Path) -> None:
        sdk = import_sdk("torch_neuron", self.name, INSTALL)
        graph = _Graph(torch.jit.load(str(directory / "graph.pt")))
        compiled, call = _trace(sdk, graph, examples_of(job.specs), job.arguments, directory / "compiler")
        save_result(compiled, call, directory)


class _Graph(nn.Module):
    """A plain module around TorchScript: the SDK documents nn.Module, and jit.trace returns TorchScript untraced."""

    def __init__(self, graph: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.graph = graph

    @property
    def gives_tensors(self) -> bool:
        """Whether the outputs are a tensor or a tuple of tensors."""
        returned = self.graph.forward.schema.returns[0].type.annotation_str  # type: ignore[attr-defined]
        return "List[" not in returned and "Dict[" not in returned

    def forward(self, *inputs: Tensor) -> Any:
        return self.graph(*inputs)


def compiler_args(options: CompileOptions) -> list[str]:
    """neuron-cc's command line.

    Raises:
        OptionError: If neuron-cc has no such setting.
    """
    refuse_set_twice(options)
    args: list[str] = []
    precision = options.precision
    if sets(options.extra_args, "auto_cast"):
        pass
    elif precision in _FAST_MATH:
        args += ["--fast-math", *_FAST_MATH[precision]]
    else:
        raise OptionError(
            f"got auto_cast_type={options.auto_cast_type!r} for target 'inf1'; expected 'bf16' or 'fp16', to which "
            "neuron-cc casts; choose one"
        )
    if options.optlevel is not None:
        if options.optlevel != 2:
            raise OptionError(
                f"got optlevel={options.optlevel}, which target 'inf1' cannot honour; expected 2, the only one that "
                "neuron-cc documents; leave it out"
            )
        args.append("-O2")
    if options.neuroncores is not None:
        args += ["--neuroncore-pipeline-cores", str(options.neuroncores)]
    return [*args, *options.extra_args]


def _trace(
    sdk: ModuleType, graph: _Graph, examples: tuple[Tensor, ...], arguments: dict[str, Any], workdir: Path
) -> tuple[torch.jit.ScriptModule, str]:
    """Call torch_neuron.trace with the given options alone; also gives the call as text."""
    on_cpu = frozenset(arguments["cpu_operators"])
    # Leaving named operators on the CPU needs the partitioner; without any, nothing may leave the device unnoticed.
    keywords: dict[str, Any] = {
        "compiler_args": arguments["compiler_args"],
        "compiler_workdir": str(workdir),
        "fallback": arguments["fallback"] or bool(on_cpu),
    }
    if not graph.gives_tensors:
        keywords["strict"] = False  # Handed on to torch.jit.trace, which otherwise refuses lists and dictionaries.
    if arguments["compiler_timeout"] is not None:
        keywords["compiler_timeout"] = arguments["compiler_timeout"]
    for name in ("dynamic_batch_size", "separate_weights"):
        if arguments[name]:
            keywords[name] = True
    if on_cpu:
        keywords["subgraph_builder_function"] = _NodeFilter(None, on_cpu)
    if arguments["op_whitelist"]:
        supported = frozenset(sdk.get_supported_operations()) | frozenset(arguments["op_whitelist"])
        keywords["op_whitelist"] = sorted(supported)
        try:
            return _call(sdk, graph, examples, keywords)
        except TypeError as error:
            # Undocumented, and the signature does not show it: it ends in **kwargs.
            if "op_whitelist" not in str(error):
                raise
        del keywords["op_whitelist"]
        keywords.update(subgraph_builder_function=_NodeFilter(supported, on_cpu), fallback=True)
    return _call(sdk, graph, examples, keywords)


def _call(
    sdk: ModuleType, graph: nn.Module, examples: tuple[Tensor, ...], keywords: dict[str, Any]
) -> tuple[torch.jit.ScriptModule, str]:
    return sdk.trace(graph, examples, **keywords), rendered("torch_neuron.trace", keywords)


class _NodeFilter:
    """Whether a node goes to the device: the partitioner's callback.

    Args:
        taken: Operator kinds to put on the device; None for all that torch-neuron supports.
        refused: Operator kinds to leave on the CPU.
    """

    def __init__(self, taken: frozenset[str] | None, refused: frozenset[str]) -> None:
        self.taken, self.refused = taken, refused

    def __call__(self, node: Any) -> bool:
        kind = node.kind() if callable(node.kind) else node.kind
        return kind not in self.refused and (self.taken is None or kind in self.taken)

    def __repr__(self) -> str:
        taken = "supported" if self.taken is None else f"{len(self.taken)} kinds"
        return f"<kind in {taken} and not in {sorted(self.refused)}>"


def _compiler_versions() -> dict[str, str]:
    """Versions of neuron-cc, protobuf and driver, as far as they are installed.

    Raises:
        MissingSDKError: If one does not fit.
    """
    found = {}
    compiler = distribution_version("neuron-cc")
    if compiler is not None:
        found["neuron-cc"] = compiler
    elif distribution_version("torch-neuron") is not None:
        raise MissingSDKError(f"torch-neuron is installed without its compiler, neuron-cc. {INSTALL}")
    protobuf = distribution_version("protobuf")
    if compiler is not None and protobuf is not None and numbers(protobuf) >= (3, 20):
        raise MissingSDKError(f"protobuf {protobuf} breaks neuron-cc, which needs protobuf<3.20. {INSTALL}")
    driver = driver_version()
    if driver is not None:
        if numbers(driver)[:2] > numbers(_LAST_DRIVER):
            raise MissingSDKError(
                f"the Neuron driver {driver} no longer drives Inf1; install the last that does: "
                f"apt-get install 'aws-neuronx-dkms={_LAST_DRIVER}.*'"
            )
        found["aws-neuronx-dkms"] = driver
    return found
