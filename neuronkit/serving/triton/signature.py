"""What a served model takes and gives, as config.pbtxt describes it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from neuronkit.errors import ArtifactError
from neuronkit.serving.artifact import ServedArtifact
from neuronkit.specs import TensorSpec
from neuronkit.static.shapes.canvas import padded_size
from neuronkit.static.shapes.fixed import VALID_SIZE

# NumPy has no bfloat16: such tensors travel as float32.
_TYPES = {
    "float32": "TYPE_FP32", "float16": "TYPE_FP16", "bfloat16": "TYPE_FP32", "float64": "TYPE_FP64",
    "uint8": "TYPE_UINT8", "int8": "TYPE_INT8", "int16": "TYPE_INT16", "int32": "TYPE_INT32", "int64": "TYPE_INT64",
    "bool": "TYPE_BOOL",
}  # fmt: skip


@dataclass(frozen=True)
class Port:
    """An input or output.

    Attributes:
        name: What clients call it.
        data_type: Triton's name of the dtype.
        dims: Its shape without the batch; -1 where a request may choose.
        optional: Whether a request may leave it out.
    """

    name: str
    data_type: str
    dims: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True)
class Signature:
    """Everything of a model that its clients see.

    Attributes:
        inputs: In the order of the graph's.
        outputs: The graph's, then those made of them.
        batch_size: Rows of a compiled batch.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    batch_size: int


def file_port(name: str, *, optional: bool = False) -> Port:
    """A file or a text for each row."""
    return Port(name, "TYPE_STRING", (1,), optional)


def tensor_signature(artifact: ServedArtifact) -> Signature:
    """What an artifact's graph takes and gives.

    Where every output says how its size follows from the valid size, requests may have any size up to the canvas.

    Raises:
        ArtifactError: If its inputs and outputs do not share a batch, which is what Triton cuts into requests.
    """
    specs, results = artifact.specs, artifact.output_specs
    batches = {spec.shape[0] if spec.shape else 0 for spec in (*specs, *results)}
    if len(batches) != 1 or 0 in batches:
        raise ArtifactError(
            f"got tensors ({', '.join(map(str, (*specs, *results)))}) without a number of rows common to all; expected "
            "one, since requests share batches; make the first dimension of each the batch, and compile it again"
        )
    areas = [output.valid for output in artifact.interface.outputs]
    if areas and all(area is not None and area.input == VALID_SIZE for area in areas):
        canvas = padded_size(next(spec for spec in specs if spec.name != VALID_SIZE).shape)
        inputs = tuple(_port(spec, _canvas_axes(spec, canvas), optional=spec.name == VALID_SIZE) for spec in specs)
        outputs = tuple(_port(spec, area.axes if area else ()) for spec, area in zip(results, areas))
    else:
        inputs, outputs = tuple(map(_port, specs)), tuple(map(_port, results))
    return Signature(inputs, outputs, batches.pop())


def _canvas_axes(spec: TensorSpec, canvas: tuple[int, ...]) -> Collection[int]:
    """The axes of an input that are padded to the canvas."""
    rank = len(spec.shape)
    return range(rank - len(canvas), rank) if spec.name != VALID_SIZE and padded_size(spec.shape) == canvas else ()


def _port(spec: TensorSpec, free: Collection[int] = (), *, optional: bool = False) -> Port:
    """A tensor; the sizes of its `free` axes are the request's to choose."""
    dims = tuple(-1 if axis in free else size for axis, size in enumerate(spec.shape) if axis)
    return Port(spec.name, _TYPES[spec.dtype], dims, optional)
