"""OpenVINO on the CPU."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from neuronkit.errors import OptionError
from neuronkit.options import CompileOptions
from neuronkit.targets.runtimes.target import Opened, Port, RuntimeGraph, RuntimeTarget

if TYPE_CHECKING:
    import numpy as np

# What a narrow type is called in options, in manifests, and by the runtime.
_PRECISIONS = {None: "float32", "bf16": "bfloat16", "fp16": "float16"}
_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


class OpenVinoTarget(RuntimeTarget):
    """Exports each graph to ONNX, and runs it with OpenVINO, in float32 unless the options name another type.

    OpenVINO's own choice on newer processors is bfloat16. A process that was forked from one that uses OpenVINO can
    call the graphs that are open there, and opens none of its own: RuntimeError.
    """

    name = "openvino"
    runtime = "openvino"
    supported_options = RuntimeTarget.supported_options | {"auto_cast", "auto_cast_type"}

    def check_options(self, options: CompileOptions) -> None:
        super().check_options(options)
        if options.auto_cast == "matmult" or options.precision.narrow_type not in _PRECISIONS:
            raise OptionError(
                f"got auto_cast={options.auto_cast!r}, auto_cast_type={options.auto_cast_type!r}, which target "
                f"{self.name!r} cannot honour; expected auto_cast='all' with auto_cast_type='bf16' or 'fp16'; give "
                "these, or neither for float32"
            )

    def settings(self, options: CompileOptions) -> dict[str, Any]:
        return {**super().settings(options), "precision": _PRECISIONS[options.precision.narrow_type], "streams": 1}

    def open(self, path: Path, settings: Mapping[str, Any]) -> Opened:
        streams = settings.get("streams", 1)
        compiled = _core().compile_model(
            str(path),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": _HINTS[settings["precision"]],
                "INFERENCE_NUM_THREADS": (settings["threads"] or torch.get_num_threads()) * streams,
                "NUM_STREAMS": streams,
                # Of several processes on one machine, each would pin its threads to the same cores.
                "ENABLE_CPU_PINNING": False,
            },
        )
        requests = threading.local()

        def run(inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
            if not hasattr(requests, "own"):
                requests.own = compiled.create_infer_request()
            results = requests.own.infer(dict(inputs), share_inputs=True)
            return [results[i] for i in range(len(results))]

        return Opened(run, _ports(compiled.inputs), _ports(compiled.outputs))

    def replicate(self, function: Callable[..., Any], copies: int) -> Sequence[Callable[..., Any]]:
        # Requests of several threads wait for each other unless there is a stream for each.
        for graph in _graphs(function):
            graph.reopen(streams=copies)
        return super().replicate(function, copies)


def _ports(nodes: Sequence[Any]) -> tuple[Port, ...]:
    return tuple(
        Port(
            frozenset(node.get_names()),
            tuple(size.get_length() if size.is_static else None for size in node.partial_shape),
            node.element_type.to_dtype().name,
        )
        for node in nodes
    )


def _graphs(function: Any) -> Iterator[RuntimeGraph]:
    """The graphs that a joined function calls."""
    if isinstance(function, RuntimeGraph):
        yield function
    elif isinstance(function, nn.Module):
        for module in function.modules():
            yield from (value for value in vars(module).values() if isinstance(value, RuntimeGraph))


def _core() -> Any:
    core, process = _first_core()
    if process != os.getpid():
        raise RuntimeError(
            "got a process that was forked from one that uses OpenVINO, in which OpenVINO opens no graph and never "
            "says so; expected a new process; start it with multiprocessing's 'spawn'"
        )
    return core


@lru_cache(maxsize=1)
def _first_core() -> tuple[Any, int]:
    """OpenVINO's core, and the process that made it."""
    import openvino

    return openvino.Core(), os.getpid()
