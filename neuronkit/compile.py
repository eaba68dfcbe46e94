"""compile_for_inferentia: the one place where a model meets a target."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from neuronkit.analysis.operators.checker import analyze, check_operators
from neuronkit.analysis.operators.report import OperatorReport
from neuronkit.artifact.manifest import FORMAT
from neuronkit.artifact.model import CompiledModel
from neuronkit.capture.fingerprint import hash_tensors
from neuronkit.errors import OptionError, SpecError
from neuronkit.interface import OTHER, PROCESSOR_ROLES, Interface, Output, output_fields
from neuronkit.options import CompileOptions, check_operator_kinds
from neuronkit.parity import ParityReport, assert_parity
from neuronkit.specs import TensorSpec
from neuronkit.static.model import Graphs, StaticModel, as_static
from neuronkit.targets import find_target
from neuronkit.targets.base import Target
from neuronkit.targets.progress import Progress
from neuronkit.version import __version__

# A static rewrite differs from its original by float32 rounding alone.
RTOL, ATOL = 1e-4, 1e-4
# Directory of the compile cache where the options name none.
CACHE_VARIABLE = "NEURONKIT_CACHE_DIR"
_REFUSED_DTYPES = ("int64", "float64")


class Processor(Protocol):
    """Pre- and post-processing whose settings can ride in a manifest."""

    def to_dict(self) -> dict[str, Any]: ...


def compile_for_inferentia(
    model: nn.Module,
    example_inputs: Tensor | TensorSpec | Iterable[Tensor | TensorSpec] | None = None,
    *,
    target: str = "inf2",
    op_whitelist: Sequence[str] = (),
    options: CompileOptions | None = None,
    processor: Processor | None = None,
    verify: bool = True,
    progress: bool | None = None,
) -> CompiledModel:
    """Compile a model for a chip, after checking everything that can be known before.

    The checks run in this order, cheapest first: arguments, options against the target, SDK and versions, shapes and
    dtypes, operators, agreement of the static model with its original. Only then the compiler starts. The model is
    never edited.

    Args:
        model: A `StaticModel`, such as `make_static` gives, or any module that is static already.
        example_inputs: The inputs of a plain module: tensors, as `torch.jit.trace` takes them, or `TensorSpec`s.
            None for a `StaticModel`, which knows its own.
        target: "cpu", "xla", "inf1", "inf2", "trn1", "trn2", ...
        op_whitelist: Operator kinds (``"aten::embedding"``) that the caller vouches for, added to those that the SDK
            says it supports.
        options: What to ask of the compiler. Where it names no `cache_dir`, the environment variable
            ``NEURONKIT_CACHE_DIR`` may, for targets that can use one.
        processor: Pre- and post-processor to keep with the artifact.
        verify: Compare with the original before compiling, and after it where the compiled model can run here.
        progress: Show on stderr what goes on: stage, graph, seconds, and the last line of the compiler's log; None
            shows it on a terminal.

    Returns:
        The compiled model: called like the original, with tensors as its `specs` say.

    Raises:
        OptionError: If an option is bad, or the target cannot honour it.
        UnknownTargetError: If there is no such target.
        MissingSDKError: If the target's SDK is missing or does not fit; says how to install it.
        SpecError: If inputs are missing, or of a shape or dtype that the target or the model cannot take, or if the
            model returns anything but tensors.
        UnsupportedOperatorError: If an operator is neither supported, nor whitelisted, nor left on the CPU.
        ParityError: If the static or the compiled model does not agree with the original.
        CompileError: If the compiler fails, crashes, exceeds the time, or leaves no whole result.
    """
    static = as_static(model, example_inputs)
    _check_arguments(options, processor)
    op_whitelist = check_operator_kinds("op_whitelist", op_whitelist)
    chosen = find_target(target)
    options = _with_cache(options or CompileOptions(), chosen)
    chosen.check_options(options)
    versions = chosen.check_environment()
    graphs = static.graphs()
    if chosen.rules != "any":
        _check_dtypes(graphs)
    with Progress(progress) as report:
        report("checking operators")
        operators = _check_operators(static, chosen, op_whitelist, options)
        if verify:
            report("comparing the static model with the original")
        with static.failures_named():
            parity = {"static": _compare(static, static)} if verify else {}
        compiled = chosen.compile(graphs, options=options, op_whitelist=op_whitelist, progress=report)
        manifest = {
            "format": FORMAT,
            "neuronkit": __version__,
            "target": target,
            "versions": versions,
            **_describe(static, graphs, processor),
            "options": options.to_dict(),
            "op_whitelist": list(op_whitelist),
            "commands": dict(compiled.commands),
            "cache": dict(compiled.cache),
            "operators": operators.to_dict() if operators is not None else None,
            "processor": processor.to_dict() if processor is not None else None,
        }
        result = CompiledModel(static.assemble(compiled.callables), manifest, processor)
        runs = result if chosen.runs_here() else static
        with torch.no_grad():
            outputs = runs(*static.example_inputs())
        if verify and chosen.runs_here():
            report("comparing the compiled model with the original")
            parity["compiled"] = _compare(static, result)
    result.manifest["outputs"] = _describe_outputs(outputs, static.interface)
    result.manifest["parity"] = {name: numbers.to_dict() for name, numbers in parity.items()}
    # Through JSON, so that a fresh manifest and a loaded one are the same.
    result.manifest = json.loads(json.dumps(result.manifest))
    return result


def _describe(static: StaticModel, graphs: Graphs, processor: Processor | None) -> dict[str, Any]:
    """What the manifest says of the model itself."""
    joining, interface = static.joining, static.interface
    if interface.role == OTHER and processor is not None:
        # A plain module does not say what it is; its processor does.
        interface = replace(interface, role=PROCESSOR_ROLES.get(processor.to_dict().get("kind", ""), OTHER))
    source = type(static.source)
    return {
        **interface.to_manifest(),
        "family": static.family,
        "source": {
            "class": f"{source.__module__}.{source.__qualname__}",
            "weight_hash": hash_tensors(static.source.state_dict()),
        },
        "joining": joining.to_dict() if joining is not None else None,
        "inputs": [spec.to_dict() for spec in static.specs],
        "graphs": {name: [spec.to_dict() for spec in specs] for name, (_, specs) in graphs.items()},
        "weight_hash": _weight_hash(graphs),
    }


def _check_arguments(options: Any, processor: Any) -> None:
    if options is not None and not isinstance(options, CompileOptions):
        raise OptionError(f"options={options!r}: expected CompileOptions(...)")
    if processor is not None and (isinstance(processor, type) or not callable(getattr(processor, "to_dict", None))):
        raise OptionError(f"processor={processor!r}: expected a CraftProcessor or ParseqProcessor, or None")


def _with_cache(options: CompileOptions, target: Target) -> CompileOptions:
    """The options, with the environment's cache where they name none and the target can use one."""
    directory = os.environ.get(CACHE_VARIABLE)
    if options.cache_dir is not None or not directory or "cache_dir" not in target.supported_options:
        return options
    return replace(options, cache_dir=Path(directory))


def _check_dtypes(graphs: Graphs) -> None:
    for name, (_, specs) in graphs.items():
        for spec in specs:
            if spec.dtype in _REFUSED_DTYPES:
                raise SpecError(
                    f"graph {name!r} takes {spec}; Neuron graphs take no int64 or float64. "
                    "Use int32 and float32, and convert inside the model"
                )


def _check_operators(
    static: StaticModel, target: Target, op_whitelist: tuple[str, ...], options: CompileOptions
) -> OperatorReport | None:
    # What runs TorchScript takes whatever traces.
    if target.rules == "any":
        return None
    report = analyze(static, target=target.name, op_whitelist=op_whitelist, cpu_operators=options.cpu_operators)
    check_operators(report, op_whitelist, options.cpu_operators, cpu_fallback=options.cpu_fallback)
    return report


def _compare(static: StaticModel, function: Callable[..., Any]) -> ParityReport:
    inputs = static.example_inputs()
    return assert_parity(
        lambda *x: static.meaningful(function(*x), x),
        lambda *x: static.meaningful(static.reference(*x), x),
        [inputs],
        rtol=RTOL,
        atol=ATOL,
    )


def _describe_outputs(outputs: Any, interface: Interface) -> list[dict[str, Any]]:
    """Name, shape, dtype and valid area of each output tensor, for the manifest."""
    tensors, _ = tree_flatten(outputs)
    for item in tensors:
        if not isinstance(item, Tensor):
            raise SpecError(
                f"the model returns a {type(item).__name__}; a graph gives tensors, or tuples, lists or dicts of them"
            )
    declared = interface.outputs or tuple(Output(f"output_{i}") for i in range(len(tensors)))
    if len(declared) != len(tensors):
        raise SpecError(
            f"the model gives {len(tensors)} tensors and its interface names {len(declared)} outputs "
            f"({', '.join(output.name for output in declared)}); name each one, in order"
        )
    return [
        {**TensorSpec.of(output.name, tensor).to_dict(), **output_fields(output)}
        for output, tensor in zip(declared, tensors)
    ]


def _weight_hash(graphs: Graphs) -> str:
    """SHA-256 over the names, shapes and bytes of all weights."""
    return hash_tensors(
        {
            f"{graph}.{name}": tensor
            for graph, (module, _) in graphs.items()
            for name, tensor in (*module.named_parameters(), *module.named_buffers())
        }
    )
