"""Targets: one that traces, and one whose compiler runs in a child process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from neuronkit.capture.serialize import save_script
from neuronkit.capture.tracing import trace
from neuronkit.targets.base import CompiledGraphs, Target
from neuronkit.targets.sdk.target import SdkTarget, save_result


class ToyTarget(Target):
    name = "toy"
    chip = "Inferentia2"

    def check_environment(self) -> dict[str, str]:
        return {"torch": torch.__version__}

    def compile(self, graphs: Any, *, options: Any, op_whitelist: Any = (), progress: Any) -> CompiledGraphs:
        return CompiledGraphs({name: trace(*graph) for name, graph in graphs.items()}, dict.fromkeys(graphs, "toy"))


class ToySdk(SdkTarget):
    name = "toy-sdk"
    sdk = "json"
    supported_options = frozenset({"timeout_s"})

    def check_environment(self) -> dict[str, str]:
        return {}

    def call_arguments(self, options: Any, op_whitelist: Any) -> dict[str, Any]:
        return {"compiler_args": []}

    def capture(self, module: Any, specs: Any) -> Any:
        return trace(module, specs)

    def write_graph(self, program: Any, directory: Path) -> None:
        save_script(program, directory / "graph.pt")

    def compile_in_child(self, job: Any, directory: Path) -> None:
        save_result(torch.jit.load(str(directory / "graph.pt")), "toy", directory)
