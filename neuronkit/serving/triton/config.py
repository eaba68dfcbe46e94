"""A served model's inputs and outputs, and its config.pbtxt for Triton."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neuronkit import checks
from neuronkit.errors import ArtifactError
from neuronkit.serving.artifact import ServedArtifact
from neuronkit.serving.triton.placement import group_name
from neuronkit.specs import TensorSpec
from neuronkit.static.shapes.canvas import padded_size
from neuronkit.static.shapes.fixed import VALID_SIZE, VALID_WIDTH

CONFIG = "config.pbtxt"
MARK = "# Written by neuronkit.serving.triton.export_repository, which replaces it at the next export.\n"


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


@dataclass(frozen=True)
class Queue:
    """How requests wait for a batch, in each of a model's processes.

    Attributes:
        max_delay_us: How long the first of a batch waits for others, in microseconds.
        max_size: Requests that may wait for each instance, which refuses more. None takes four batches, at least 10.
        timeout_s: How long a request may wait before the server refuses it; a request may ask for less.

    Raises:
        OptionError: If a value is out of its range.
    """

    max_delay_us: int
    max_size: int | None
    timeout_s: float

    def __post_init__(self) -> None:
        checks.integer("max_queue_delay_us", self.max_delay_us, 0, 60_000_000)
        if self.max_size is not None:
            checks.integer("max_queue_size", self.max_size, 1, 1 << 30)
        checks.number("queue_timeout_s", self.timeout_s, 0, 86_400, open_low=True)

    def parameters(self, batch_size: int) -> dict[str, Any]:
        """The entries of config.pbtxt that model.py reads."""
        return {
            "max_queue_delay_us": self.max_delay_us,
            "max_queue_size": self.max_size or max(10, 4 * batch_size),
            "queue_timeout_s": self.timeout_s,
        }


def config_text(
    name: str,
    version: int,
    signature: Signature,
    instances: Sequence[str],
    parameters: Mapping[str, Any],
) -> str:
    """Write a model's configuration.

    Args:
        name: The model's.
        version: The one that is served. Naming it makes the replacement of this file the moment at which a new version
            takes over, with the shapes that belong to it.
        signature: What it takes and gives.
        instances: The entries of its `instance_group`.
        parameters: Those that model.py reads, by name.
    """
    return (
        f"{MARK}"
        f"name: {json.dumps(name)}\n"
        'backend: "python"\n'
        f"max_batch_size: {signature.batch_size}\n"
        f"version_policy: {{ specific: {{ versions: [ {version} ] }} }}\n"
        f"input [\n{_ports(signature.inputs, ragged=True)}\n]\n"
        f"output [\n{_ports(signature.outputs)}\n]\n"
        "instance_group [\n"
        + ",\n".join(f"  {{ {instance} }}" for instance in instances)
        + "\n]\n"
        + "".join(
            f"parameters: {{ key: {json.dumps(key)} value: {{ string_value: {json.dumps(str(value))} }} }}\n"
            for key, value in parameters.items()
        )
    )


def cpu_instances(count: int) -> list[str]:
    """Entries for `count` processes on the CPU."""
    return [f"count: {count} kind: KIND_CPU"]


def neuron_instances(count: int, cores_each: int, taken: set[int]) -> list[str]:
    """Entries for `count` processes on NeuronCores of their own, the lowest that are free; marks them as taken.

    A core belongs to one process. Its number stands in the group's name, where model.py finds it.
    """
    entries = []
    for _ in range(count):
        first = next(n for n in range(1 << 16) if taken.isdisjoint(range(n, n + cores_each)))
        cores = range(first, first + cores_each)
        taken.update(cores)
        entries.append(f'name: "{group_name(cores)}" count: 1 kind: KIND_CPU')
    return entries


def _ports(ports: Sequence[Port], *, ragged: bool = False) -> str:
    return ",\n".join(f"  {{ {_port(port, ragged=ragged)} }}" for port in ports)


def _port(port: Port, *, ragged: bool) -> str:
    # Triton requires a dimension besides the batch; it takes one away, or adds it, where the graph has none.
    dims = ", ".join(map(str, port.dims)) or "1"
    text = f"name: {json.dumps(port.name)} data_type: {port.data_type} dims: [ {dims} ]"
    if not port.dims:
        text += " reshape: { shape: [ ] }"
    if port.optional:
        text += " optional: true"
    if ragged and -1 in port.dims:
        # Requests of different sizes share a batch; the backend pads them.
        text += " allow_ragged_batch: true"
    return text


def file_port(name: str, *, optional: bool = False) -> Port:
    """A file or a text for each row."""
    return Port(name, "TYPE_STRING", (1,), optional)


def tensor_signature(artifact: ServedArtifact) -> Signature:
    """Inputs, outputs and batch size of an artifact's graph, as Triton declares them.

    Where there is a valid size, or width, and the outputs' sizes follow from it or stay, requests may have any up to
    the canvas's.

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
    named = {spec.name for spec in specs} & {VALID_SIZE, VALID_WIDTH}
    if len(named) == 1 and len(specs) > 1 and {area.input for area in areas if area} <= named:
        (name,) = named
        canvas = padded_size(next(spec for spec in specs if spec.name != name).shape)
        free = len(canvas) if name == VALID_SIZE else 1
        inputs = tuple(
            _tensor_port(spec, optional=True) if spec.name == name else _tensor_port(spec, _last(spec, canvas, free))
            for spec in specs
        )
        outputs = tuple(_tensor_port(spec, area.axes if area else ()) for spec, area in zip(results, areas))
    else:
        inputs, outputs = tuple(map(_tensor_port, specs)), tuple(map(_tensor_port, results))
    return Signature(inputs, outputs, batches.pop())


def _last(spec: TensorSpec, canvas: tuple[int, ...], count: int) -> Collection[int]:
    """So many of an input's last axes, where it is padded to the canvas."""
    rank = len(spec.shape)
    return range(rank - count, rank) if padded_size(spec.shape) == canvas else ()


def _tensor_port(spec: TensorSpec, free: Collection[int] = (), *, optional: bool = False) -> Port:
    """A tensor; the sizes of its `free` axes are the request's to choose."""
    dims = tuple(-1 if axis in free else size for axis, size in enumerate(spec.shape) if axis)
    return Port(spec.name, _TYPES[spec.dtype], dims, optional)
