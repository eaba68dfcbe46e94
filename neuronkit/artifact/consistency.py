"""Checks that an artifact's manifest describes its graphs correctly."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from neuronkit.errors import ArtifactError, OptionError
from neuronkit.options import CompileOptions
from neuronkit.shown import shown
from neuronkit.specs import TensorSpec
from neuronkit.targets import find_target
from neuronkit.tensors import dtype_name

# Operators and classes of the SDKs, in the code of a TorchScript archive.
_NEURON = re.compile(rb"\bops\.neuron\.|\bclasses\.neuron\.|__torch__\.torch_neuron")

# Most entries of an example input that a graph is run on.
_LARGEST_EXAMPLE = 1 << 30


def is_for_neuron(path: Path) -> bool:
    """Whether the graphs of a TorchScript archive call a Neuron runtime; nothing is loaded for that.

    Raises:
        ArtifactError: If its code cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if "/code/" in name and name.endswith(".py")]
            return any(_NEURON.search(archive.read(name)) for name in names)
    except Exception as error:  # zipfile raises errors of many kinds for archives that are none.
        raise ArtifactError(f"{shown(path)}: its graphs cannot be read ({shown(error)}); compile it again") from error


def check_graphs(path: Path, function: Any, manifest: Mapping[str, Any]) -> None:
    """Compare the manifest with what the graphs take and give, as far as that is known without computing.

    Shapes and dtypes are found by running the graphs on tensors without data. Operators of an SDK have no shapes there;
    the first call compares what such graphs give.

    Raises:
        ArtifactError: If they contradict each other.
    """
    declared = {name: [TensorSpec.from_dict(spec) for spec in specs] for name, specs in manifest["graphs"].items()}
    inputs = [TensorSpec.from_dict(spec) for spec in manifest["inputs"]]
    # A single graph whose inputs are not the model's is called from a loop.
    if len(declared) > 1 or (manifest["joining"] is not None and inputs not in declared.values()):
        modules = {name.rsplit(".", 1)[-1]: module for name, module in function.named_modules()}
        if len(modules) - 1 < len(declared):
            raise ArtifactError(
                f"{shown(path)}: its manifest names {len(declared)} graphs, and it has {max(1, len(modules) - 1)}; "
                "compile it again"
            )
        for name, specs in declared.items():
            # An adapter may join its graphs under other names than theirs.
            if name in modules:
                _outputs(path, f"graph {name!r}", modules[name], specs)
        return
    (specs,) = declared.values()
    if inputs != specs:
        raise ArtifactError(f"{shown(path)}: its manifest gives model and graph different inputs; compile it again")
    outputs = _outputs(path, "the graph", function, specs)
    if outputs is not None:
        check_outputs(outputs, manifest, path)


def check_described(path: Path, graphs: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Compare the manifest with the specs that the graphs of a directory have.

    Raises:
        ArtifactError: If they contradict each other.
    """
    for name, graph in graphs.items():
        declared = [TensorSpec.from_dict(spec) for spec in manifest["graphs"][name]]
        _same(path, f"graph {name!r} takes", graph.specs, declared)
        _check_precision(path, graph, manifest)
    if manifest["joining"] is None:
        (graph,) = graphs.values()
        _same(path, "the model takes", graph.specs, [TensorSpec.from_dict(spec) for spec in manifest["inputs"]])
        outputs = getattr(graph, "output_specs", None)
        # TorchNeuron's programs have no output specs before their first call, which compares them.
        if outputs is not None:
            found = [TensorSpec.from_dict({**spec, "name": "output"}) for spec in manifest["outputs"]]
            _same(path, "the graph gives", [replace(spec, name="output") for spec in outputs], found)


def _check_precision(path: Path, graph: Any, manifest: Mapping[str, Any]) -> None:
    if not hasattr(graph, "settings"):
        return  # TorchNeuron's flags are in its environment alone.
    given = {name: manifest["options"][name] for name in ("auto_cast", "auto_cast_type")}
    target: Any = find_target(manifest["target"])
    try:
        precision = target.settings(CompileOptions(**given))["precision"]
    except OptionError as error:
        raise ArtifactError(f"{shown(path)}: its manifest has options that no graph has: {error}") from error
    if graph.settings["precision"] != precision:
        raise ArtifactError(
            f"{shown(path)}: its manifest says that it computes in {precision}, and its graphs say "
            f"{graph.settings['precision']}; compile it again"
        )


def _same(path: Path, what: str, found: Sequence[TensorSpec], declared: Sequence[TensorSpec]) -> None:
    if list(found) != list(declared):
        raise ArtifactError(
            f"{shown(path)}: its manifest says that {what} {', '.join(map(str, declared))}, and its graphs say "
            f"{', '.join(map(str, found)) or 'nothing'}; compile it again"
        )


def check_outputs(outputs: Any, manifest: Mapping[str, Any], path: Path | None = None) -> None:
    """Compare what a model gave with what its manifest says.

    Raises:
        ArtifactError: If number, shapes or dtypes differ.
    """
    tensors, _ = tree_flatten(outputs)
    expected = [TensorSpec.from_dict(spec) for spec in manifest["outputs"]]
    given = [(tuple(t.shape), t.dtype) if isinstance(t, Tensor) else (type(t).__name__, None) for t in tensors]
    if given != [(spec.shape, spec.torch_dtype) for spec in expected]:
        found = [_kind(t) for t in tensors]
        where = "the artifact" if path is None else shown(path)
        raise ArtifactError(
            f"{where}: its graph gives {', '.join(found) or 'nothing'}, and its manifest says "
            f"{', '.join(map(str, expected)) or 'nothing'}; compile it again"
        )


def _kind(output: Any) -> str:
    if not isinstance(output, Tensor):
        return type(output).__name__
    return f"{dtype_name(output.dtype)}{list(output.shape)}"


def _outputs(path: Path, name: str, module: Any, specs: Sequence[TensorSpec]) -> Any:
    """A graph's outputs as tensors without data; None where they cannot be computed without data."""
    graph = getattr(module, "graph", None)
    takes = len(list(graph.inputs())) - 1 if graph is not None else None
    if takes != len(specs):
        raise ArtifactError(
            f"{shown(path)}: its manifest says that {name} takes {len(specs)} tensors, and it takes {takes}; "
            "compile it again"
        )
    try:
        run, constants = _without_data(module)
        given = [torch.empty(spec.shape, dtype=spec.torch_dtype, device="meta") for spec in specs]
        with torch.no_grad():
            return run(*given, *constants)
    except NotImplementedError:
        return None  # An operator has no rule for tensors without data.
    except RuntimeError:
        return _computed(path, name, module, specs)


def _without_data(module: Any) -> tuple[Any, list[Tensor]]:
    """A frozen graph as a function on tensors without data, and the constants that it takes after its inputs."""
    graph, constants = module.graph.copy(), []
    graph.eraseInput(0)
    for node in graph.findAllNodes("prim::Constant"):
        if node.hasAttribute("value") and node.kindOf("value") == "t":
            node.output().replaceAllUsesWith(graph.addInput())
            constants.append(node.t("value").to("meta"))
    # Without the switches of CUDA's libraries, convolutions are known for tensors without data.
    for node in graph.findAllNodes("aten::_convolution"):
        graph.setInsertPoint(node)
        other = graph.insertNode(graph.create("aten::convolution", list(node.inputs())[:9], 1))
        node.output().replaceAllUsesWith(other.output())
        node.destroy()
    return torch._C._create_function_from_graph("without_data", graph), constants


def _computed(path: Path, name: str, module: Any, specs: Sequence[TensorSpec]) -> Any:
    try:
        if any(math.prod(spec.shape) > _LARGEST_EXAMPLE for spec in specs):
            raise RuntimeError("too large to try")
        with torch.no_grad():
            return module(*(spec.example() for spec in specs))
    except RuntimeError as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise ArtifactError(
            f"{shown(path)}: its manifest says that {name} takes {', '.join(map(str, specs))}, with which it fails "
            f"({shown(said)}); compile it again"
        ) from error
