"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from neuronkit.targets.runtimes.target import RuntimeTarget

if TYPE_CHECKING:
    from neuronkit.targets.runtimes.target import Run


class OnnxTarget(RuntimeTarget):
    """Exports each graph to ONNX, and runs it with ONNX Runtime's CPU provider, in float32."""

    name = "onnx"
    runtime = "onnxruntime"

    def open(self, path: Path, settings: Mapping[str, Any]) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings["threads"] or torch.get_num_threads()
        # Below errors, it reports what it does with a graph.
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return lambda inputs: session.run(None, inputs)
