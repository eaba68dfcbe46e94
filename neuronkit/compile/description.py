"""The part of a manifest that describes the model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten

from neuronkit.capture.fingerprint import hash_tensors, hash_weights
from neuronkit.errors import SpecError
from neuronkit.interface import OTHER, PROCESSOR_ROLES, Interface, Output, output_fields
from neuronkit.ocr.processors import Processor
from neuronkit.specs import TensorSpec
from neuronkit.static.model import Graphs, StaticModel


def describe(static: StaticModel, graphs: Graphs, processor: Processor | None) -> dict[str, Any]:
    """Role, source, inputs, graphs and processor of a model."""
    joining, interface, refused = static.joining, static.interface, static.refused_sizes
    if interface.role == OTHER and processor is not None:
        # A plain module does not say what it is; its processor does.
        interface = replace(interface, role=PROCESSOR_ROLES.get(processor.kind, OTHER))
    source = type(static.source)
    return {
        **interface.to_manifest(),
        "family": static.family,
        "source": {
            "class": f"{source.__module__}.{source.__qualname__}",
            "weight_hash": hash_tensors(static.source.state_dict()),
        },
        "joining": joining.to_dict() if joining is not None else None,
        "input_ranges": {name: list(ids) for name, ids in static.input_ranges.items()},
        "column_ranges": {
            name: [[column, *ids] for column, ids in columns.items()] for name, columns in static.column_ranges.items()
        },
        "refused_sizes": refused.to_dict() if refused is not None else None,
        "inputs": [spec.to_dict() for spec in static.specs],
        "graphs": {name: [spec.to_dict() for spec in specs] for name, (_, specs) in graphs.items()},
        "weight_hash": hash_weights(graphs),
        "processor": processor.to_dict() if processor is not None else None,
    }


def describe_outputs(outputs: Any, interface: Interface, advice: str = "") -> list[dict[str, Any]]:
    """Name, shape, dtype and valid area of each output tensor, for the manifest.

    Args:
        outputs: What the model gave.
        interface: What it says of them.
        advice: What to do where the model gives anything but tensors.
    """
    tensors, _ = tree_flatten(outputs)
    for item in tensors:
        if not isinstance(item, Tensor):
            raise SpecError(
                f"got an output of type {type(item).__name__} from the model; expected tensors, or tuples, lists or "
                f"dicts of them; {advice or 'return nothing else'}"
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
