"""ONNX Runtime on the CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from neuronkit.targets.runtimes.target import Opened, Port, RuntimeTarget

if TYPE_CHECKING:
    import numpy as np

# What ONNX Runtime calls the dtypes of tensors.
_DTYPES = {
    **{name: name for name in ("int8", "int16", "int32", "int64", "uint8", "bool", "float16")},
    **{"float": "float32", "double": "float64"},
}


class OnnxTarget(RuntimeTarget):
    """Exports each graph to ONNX, and runs it with ONNX Runtime's CPU provider, in float32."""

    name = "onnx"
    runtime = "onnxruntime"

    def open(self, path: Path, settings: Mapping[str, Any]) -> Opened:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings["threads"] or torch.get_num_threads()
        # Below errors, it reports what it does with a graph.
        options.log_severity_level = 3
        with _errors():
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def run(inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
            with _errors():
                return session.run(None, inputs)  # type: ignore[no-any-return]

        return Opened(run, _ports(session.get_inputs()), _ports(session.get_outputs()))


def _ports(nodes: Sequence[Any]) -> tuple[Port, ...]:
    kinds = {f"tensor({theirs})": name for theirs, name in _DTYPES.items()}
    return tuple(Port(frozenset({node.name}), tuple(node.shape), kinds.get(node.type, node.type)) for node in nodes)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Give the runtime's errors, which have no class in common, as RuntimeError."""
    try:
        yield
    except Exception as error:
        raise RuntimeError(str(error)) from error
