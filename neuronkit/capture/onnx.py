"""A traced graph as an ONNX model, whose inputs and outputs have the names they are to have."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from neuronkit.capture.tracing import capturing, trace
from neuronkit.errors import CompileError, SpecError
from neuronkit.specs import TensorSpec
from neuronkit.storage.atomic import temporary_directory

# Every release of torch that neuronkit runs on can write it, and every current runtime reads it.
OPSET = 17
# Bytes of a constant that is to be kept as a weight.
_SMALLEST = 1024
# Before the export inputs and outputs are called so, which no weight is.
_INPUT, _OUTPUT = "neuronkit::input::", "neuronkit::output::"
_NAMES = "neuronkit_output_names"
_pools: ContextVar[bool] = ContextVar("_pools", default=False)
_folds: ContextVar[bool] = ContextVar("_folds", default=False)


def name_outputs(module: nn.Module, names: Sequence[str]) -> None:
    """Note what the outputs of a graph are called."""
    module.__dict__[_NAMES] = tuple(names)


def output_names(module: nn.Module) -> tuple[str, ...]:
    """What `name_outputs` noted; nothing where it did not."""
    names: tuple[str, ...] = module.__dict__.get(_NAMES, ())
    return names


@contextlib.contextmanager
def pooling_by_operator() -> Iterator[None]:
    """Within, max pooling is torch's operator: runtimes other than torch compute it faster than maxima of slices."""
    token = _pools.set(True)
    try:
        yield
    finally:
        _pools.reset(token)


def pools_by_operator() -> bool:
    """Whether `pooling_by_operator` is in force."""
    return _pools.get()


@contextlib.contextmanager
def masks_as_channels(wanted: bool = True) -> Iterator[None]:
    """Within, a convolution of few channels takes the mask of its result as one more: a product costs such a runtime
    a change of the memory's layout and back.

    Args:
        wanted: False where numbers are kept in float16, which does not hold those that a mask needs.
    """
    token = _folds.set(wanted)
    try:
        yield
    finally:
        _folds.reset(token)


def takes_masks_as_channels() -> bool:
    """Whether `masks_as_channels` is in force."""
    return _folds.get()


class Flat(nn.Module):
    """A graph that gives its output tensors one by one, and notes what structure they stood in.

    Args:
        module: The graph.

    Attributes:
        tree: What `module` returned when it was last called, with the tensors' numbers in their places.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.tree: Any = None

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = self.module(*inputs)
        tensors = [leaf for leaf in tree_flatten(outputs)[0] if isinstance(leaf, Tensor)]
        numbers = iter(range(len(tensors)))
        self.tree = tree_map(lambda leaf: next(numbers) if isinstance(leaf, Tensor) else None, outputs)
        return tuple(tensors)


def newest_opset() -> int:
    """The newest version of ONNX's operators that this torch exports to."""
    from torch.onnx import _constants

    return int(_constants.ONNX_MAX_OPSET)


def trace_flat(
    module: nn.Module, specs: Sequence[TensorSpec], precision: str = "float32"
) -> tuple[torch.jit.ScriptModule, Any]:
    """Trace a graph for an ONNX runtime.

    Args:
        module: The graph.
        specs: Its inputs.
        precision: What the runtime keeps float32 in.

    Returns:
        The trace, which gives a tuple of tensors, and the structure that they stand in.

    Raises:
        CompileError, UnsupportedOperatorError: As `neuronkit.capture.tracing.trace` does.
        SpecError: If it takes a type that NumPy does not have.
    """
    for spec in specs:
        if spec.dtype == "bfloat16":
            raise SpecError(f"got {spec}; expected a type that NumPy has too; take float32 or float16")
    flat = Flat(module)
    with pooling_by_operator(), masks_as_channels(precision != "float16"):
        traced = trace(flat, specs)
    return traced, flat.tree


def export(
    traced: torch.jit.ScriptModule, specs: Sequence[TensorSpec], names: Sequence[str], opset: int
) -> tuple[Any, list[TensorSpec]]:
    """Export a trace.

    Args:
        traced: As `trace_flat` gives it.
        specs: Its inputs.
        names: What its outputs are called; where they are not as many, ``output_0`` and so on.
        opset: The version of ONNX's operators.

    Returns:
        The model, with its weights in memory, and its outputs.

    Raises:
        CompileError: If torch cannot export it.
    """
    examples = tuple(spec.example() for spec in specs)
    with torch.no_grad():
        outputs = traced(*examples)
    made = [TensorSpec.of(name, x) for name, x in zip(_output_names(names, specs, len(outputs)), outputs)]
    import onnx

    with temporary_directory("onnx") as work, capturing():
        path = work / "graph.onnx"
        try:
            _write(traced, examples, path, len(made), opset)
            model = onnx.load(str(path))
        except Exception as error:
            raise CompileError(f"torch.onnx cannot export the graph at opset {opset}: {error}") from error
    _rename(model.graph, specs, made)
    _add_unused_inputs(model.graph, examples, specs)
    _lift_constants(model.graph)
    return model, made


def _write(traced: torch.jit.ScriptModule, examples: tuple[Tensor, ...], path: Path, outputs: int, opset: int) -> None:
    # The exporter through torch.export, which releases before 2.9 do not take by default, needs a further package,
    # and fails where an output is a buffer.
    exporter: Any = {"dynamo": False} if "dynamo" in torch.onnx.export.__code__.co_varnames else {}
    torch.onnx.export(
        traced,
        examples,
        str(path),
        opset_version=opset,
        # Folded, a weight that is used as it is and transposed would be there twice; runtimes fold for themselves.
        do_constant_folding=False,
        input_names=[f"{_INPUT}{i}" for i in range(len(examples))],
        output_names=[f"{_OUTPUT}{i}" for i in range(outputs)],
        **exporter,
    )


def _output_names(names: Sequence[str], specs: Sequence[TensorSpec], count: int) -> list[str]:
    chosen = list(names) if len(names) == count else [f"output_{i}" for i in range(count)]
    taken = {spec.name for spec in specs}
    return [f"next_{name}" if name in taken else name for name in chosen]


def _rename(graph: Any, specs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Give inputs and outputs their names, and other ones to weights that bear these."""
    final = {f"{_INPUT}{i}": spec.name for i, spec in enumerate(specs)}
    final |= {f"{_OUTPUT}{i}": spec.name for i, spec in enumerate(outputs)}
    taken = set(final.values())

    def renamed(name: str) -> str:
        return final.get(name) or (f"{name}.inner" if name in taken else name)

    for node in graph.node:
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = renamed(value.name)


def _add_unused_inputs(graph: Any, examples: Sequence[Tensor], specs: Sequence[TensorSpec]) -> None:
    """Name the inputs that nothing depends on, which the exporter leaves out."""
    from onnx import helper

    used = {value.name: value for value in graph.input}
    for spec, example in zip(specs, examples):
        kind = helper.np_dtype_to_tensor_dtype(example.numpy().dtype)
        used.setdefault(spec.name, helper.make_tensor_value_info(spec.name, kind, spec.shape))
    del graph.input[:]
    graph.input.extend(used[spec.name] for spec in specs)


def _lift_constants(graph: Any) -> None:
    """Make weights of the constants among the nodes, which only so can lie beside the graph."""
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        tensor = next((attribute.t for attribute in node.attribute if attribute.HasField("t")), None)
        if tensor is not None and len(tensor.raw_data) >= _SMALLEST:
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
            graph.node.remove(node)
