"""compile_for_inferentia: the one place where a model meets a target."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from neuronkit import checks
from neuronkit.analysis.operators.checker import analyze, check_operators
from neuronkit.analysis.operators.report import OperatorReport
from neuronkit.artifact.manifest import FORMAT
from neuronkit.artifact.model import CompiledModel
from neuronkit.compile.description import describe, describe_outputs
from neuronkit.compile.verification import Verification, run_eagerly
from neuronkit.errors import OptionError, SpecError
from neuronkit.ocr.processors import Processor, check_processor, processor_for
from neuronkit.options import CompileOptions, check_operator_kinds
from neuronkit.shown import shown
from neuronkit.specs import TensorSpec
from neuronkit.static.families import way_in
from neuronkit.static.model import Graphs, StaticModel, as_static
from neuronkit.targets import find_target
from neuronkit.targets.base import CompiledGraphs, Target, weight_kinds
from neuronkit.targets.progress import Progress
from neuronkit.version import __version__

# Directory of the compile cache where the options name none.
CACHE_VARIABLE = "NEURONKIT_CACHE_DIR"
_REFUSED_DTYPES = ("int64", "float64")


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
            None for a `StaticModel`, which has its own.
        target: "cpu", "onnx", "openvino", "xla", "inf1", "inf2", "trn1", "trn2", ...
        op_whitelist: Operator kinds (``"aten::embedding"``) that the caller vouches for, added to those that the SDK
            says it supports.
        options: Options of the compile. Where they name no `cache_dir`, the environment variable
            ``NEURONKIT_CACHE_DIR`` may, for targets that can use one.
        processor: Pre- and post-processor to keep with the artifact: one of `neuronkit.ocr`, which must belong to the
            model. None takes the default processor of a recogniser whose characters are known.
        verify: Compare with the original on several inputs, before compiling, and after it where the compiled model can
            run here.
        progress: Show on stderr what goes on: stage, graph, seconds, and the last line of the compiler's log; None
            shows it on a terminal, and ends with three lines: what was made, compared how, and where to go from here.

    Returns:
        The compiled model: called like the original, with tensors as its `specs` say.

    Raises:
        UnknownModelError: If the model is not a module.
        OptionError: If an option is bad, the target cannot honour it, or the processor does not belong to the model.
        UnknownTargetError: If there is no such target.
        MissingDependencyError: If the target's SDK (MissingSDKError) or runtime is missing or does not fit; says how
            to install it.
        SpecError: If inputs are missing, or of a shape or dtype that the target or the model cannot take, or if the
            model returns anything but tensors.
        UnsupportedOperatorError: If an operator is neither supported, nor whitelisted, nor left on the CPU.
        ParityError: If the static or the compiled model does not agree with the original.
        CompileError: If the compiler fails, crashes, exceeds the time, or leaves no whole result.

    Examples:
        >>> static = neuronkit.make_static(parseq, batch_size=2)
        >>> model = neuronkit.compile_for_inferentia(static, target="cpu")
        >>> str(model.save("recognizer.pt")), model.role
        ('recognizer.pt', 'recognizer')
    """
    static = as_static(model, example_inputs)
    verify = checks.flag("verify", verify)
    progress = None if progress is None else checks.flag("progress", progress)
    op_whitelist = check_operator_kinds("op_whitelist", op_whitelist)
    if options is not None and not isinstance(options, CompileOptions):
        raise OptionError(f"got options={shown(options)}; expected CompileOptions or None; give CompileOptions(...)")
    chosen = find_target(target)
    options = _with_cache(options or CompileOptions(), chosen)
    chosen.check_options(options)
    static = static.for_target(is_neuron=chosen.is_neuron)
    _check_inputs(static, chosen)
    if processor is not None:
        check_processor(processor, static)
    versions = chosen.check_environment()
    graphs = static.graphs(chosen.rules)
    _check_dtypes(graphs, chosen)
    with Progress(progress) as report:
        report("checking operators")
        operators = _check_operators(static, chosen, op_whitelist, options)
        report("running the static model")
        with static.failures_named():
            given = run_eagerly(static, static.example_inputs())
            outputs = describe_outputs(given, static.interface, way_in(model))
        output_specs = [TensorSpec.from_dict(output) for output in outputs]
        processor = _fitting_processor(processor, static, output_specs)
        verification = Verification(static, report) if verify else None
        parity: dict[str, Any] = {}
        if verification:
            with static.failures_named():
                parity["static"] = verification.rewrite(in_full_size=not chosen.runs_here())
        compiled = chosen.compile(graphs, options=options, op_whitelist=op_whitelist, progress=report)
        manifest = {
            "format": FORMAT,
            "neuronkit": __version__,
            "target": target,
            "versions": versions,
            **describe(static, graphs, processor),
            "outputs": outputs,
            "op_whitelist": list(op_whitelist),
            "operators": operators.to_dict() if operators is not None else None,
            **_compilation(chosen, graphs, options, compiled),
        }
        result = CompiledModel(static.assemble(compiled.callables), manifest, processor, graphs=compiled.callables)
        if verification and chosen.runs_here():
            parity["compiled"] = verification.compiled(result, options.precision.narrow_type)
    result.manifest["parity"] = parity
    # Through JSON, so that a fresh manifest and a loaded one are the same.
    result.manifest = json.loads(json.dumps(result.manifest))
    report.tell(result.summary())
    return result


def _compilation(target: Target, graphs: Graphs, options: CompileOptions, compiled: CompiledGraphs) -> dict[str, Any]:
    """What the manifest says of the compiler: options, commands, cache, and weights beside the programs."""
    described: dict[str, Any] = {
        "options": options.to_dict(),
        "commands": dict(compiled.commands),
        "cache": dict(compiled.cache),
    }
    if not options.inline_weights:
        described["separate_weights"] = {
            name: weight_kinds(target.separate_weights(*graph)) for name, graph in graphs.items()
        }
    return described


def _fitting_processor(
    processor: Processor | None, static: StaticModel, outputs: Sequence[TensorSpec]
) -> Processor | None:
    """The processor, checked against what the model gives; the model's own where none is given and it has one."""
    chosen = processor_for(static.interface, static.specs, outputs) if processor is None else processor
    if chosen is not None:
        check_processor(chosen, static, outputs=outputs)
    return chosen


def _with_cache(options: CompileOptions, target: Target) -> CompileOptions:
    """The options, with the environment's cache where they name none and the target can use one."""
    directory = os.environ.get(CACHE_VARIABLE)
    if options.cache_dir is not None or not directory or "cache_dir" not in target.supported_options:
        return options
    return replace(options, cache_dir=Path(directory))


def _check_inputs(static: StaticModel, target: Target) -> None:
    for spec in static.specs:
        if spec.dtype in target.refused_dtypes:
            raise OptionError(
                f"got a model that takes {spec}, for target {target.name!r}, which documents no such input; expected "
                "normalised float32 images; make the static model without raw_images"
            )


def _check_dtypes(graphs: Graphs, target: Target) -> None:
    if target.rules == "any":
        return
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
