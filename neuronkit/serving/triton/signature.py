"""What a served model takes and gives, read from the manifests of its artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neuronkit.errors import ArtifactError
from neuronkit.specs import TensorSpec
from neuronkit.static.shapes.fixed import VALID_SIZE

IMAGE = "image"
PAGE = "page"
TEXT = "text"
CONFIDENCE = "confidence"

DETECTOR, RECOGNIZER, TENSORS = "detector", "recognizer", "tensors"

# NumPy has no bfloat16: such tensors travel as float32.
_TYPES = {
    "float32": "TYPE_FP32", "float16": "TYPE_FP16", "bfloat16": "TYPE_FP32", "float64": "TYPE_FP64",
    "uint8": "TYPE_UINT8", "int8": "TYPE_INT8", "int16": "TYPE_INT16", "int32": "TYPE_INT32", "int64": "TYPE_INT64",
    "bool": "TYPE_BOOL",
}  # fmt: skip


@dataclass(frozen=True)
class Port:
    """An input or output, as config.pbtxt describes it.

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


def kind_of(manifest: Mapping[str, Any]) -> str:
    """What an artifact is: `DETECTOR`, `RECOGNIZER`, or `TENSORS` for one that only takes and gives tensors."""
    if manifest["family"] == "craft":
        return DETECTOR
    reads = manifest["processor"] is not None and manifest["processor"]["kind"] != "craft"
    return RECOGNIZER if reads and len(manifest["inputs"]) == 1 else TENSORS


def signature_of(manifest: Mapping[str, Any]) -> Signature:
    """What one artifact takes and gives.

    Raises:
        ArtifactError: If its inputs and outputs do not share a batch, which is what Triton cuts into requests; or a
            recogniser's input has the name of that for image files.
    """
    specs, results = ([TensorSpec.from_dict(spec) for spec in manifest[name]] for name in ("inputs", "outputs"))
    batches = {spec.shape[0] if spec.shape else 0 for spec in (*specs, *results)}
    if len(batches) != 1 or 0 in batches:
        raise ArtifactError(
            f"its tensors ({', '.join(map(str, (*specs, *results)))}) have no number of rows common to all, so that "
            "requests cannot share a batch; make the first dimension of each the batch, and compile it again"
        )
    kind = kind_of(manifest)
    if kind == DETECTOR:
        # Exact on any size up to the canvas, because the graph takes the valid size.
        canvas = specs[0].shape[2:]
        scores = tuple(side // 2 for side in canvas)
        inputs = [_port(spec, canvas, optional=spec.name == VALID_SIZE) for spec in specs]
        outputs = [_port(spec, scores) for spec in results]
    else:
        inputs = [_port(spec, optional=kind == RECOGNIZER) for spec in specs]
        outputs = [_port(spec) for spec in results]
    if kind == RECOGNIZER:
        if specs[0].name == IMAGE:
            raise ArtifactError(
                f"its input is called {IMAGE!r}, as that for image files is; compile it with another name, such as "
                "'images'"
            )
        inputs.append(Port(IMAGE, "TYPE_STRING", (1,), optional=True))
        outputs += [Port(TEXT, "TYPE_STRING", (1,)), Port(CONFIDENCE, "TYPE_FP32", (1,))]
    return Signature(tuple(inputs), tuple(outputs), batches.pop())


def reader_signature(detector: Mapping[str, Any]) -> Signature:
    """What a reader of whole pages takes and gives: an image file in, JSON out."""
    image, page = Port(IMAGE, "TYPE_STRING", (1,)), Port(PAGE, "TYPE_STRING", (1,))
    return Signature((image,), (page,), int(detector["inputs"][0]["shape"][0]))


def _port(spec: TensorSpec, variable: tuple[int, ...] = (), *, optional: bool = False) -> Port:
    """A tensor; two neighbouring dimensions that have the `variable` size are the request's to choose."""
    dims = list(spec.shape[1:])
    for place in range(len(dims) - len(variable), -1, -1):
        if variable and tuple(dims[place : place + 2]) == variable:
            dims[place : place + 2] = [-1, -1]
            break
    return Port(spec.name, _TYPES[spec.dtype], tuple(dims), optional)
