"""Other weights for a compiled model, without compiling again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from neuronkit.capture.fingerprint import hash_tensors, hash_weights
from neuronkit.errors import OptionError, SpecError
from neuronkit.specs import TensorSpec
from neuronkit.static.model import StaticModel, as_static
from neuronkit.targets import find_target
from neuronkit.targets.base import weight_kinds


def replace_weights(function: Callable[..., Any], manifest: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """Put the weights of a model of the same structure into a compiled one.

    Args:
        function: The compiled model, which is changed.
        manifest: Of the artifact.
        model: A model as the one that was compiled.

    Returns:
        What changes in the manifest.

    Raises:
        OptionError: If the artifact has its weights inside the program, or the target cannot replace them.
        SpecError: If the model is not of the same structure.
    """
    target, expected = find_target(manifest["target"]), manifest.get("separate_weights")
    if not expected:
        raise OptionError(
            f"got an artifact for {manifest['target']!r} whose weights are inside its program; expected one compiled "
            "for inf2, trn1 or trn2 with CompileOptions(inline_weights=False); compile the new model"
        )
    static = as_static(
        model, None if isinstance(model, StaticModel) else [TensorSpec.from_dict(spec) for spec in manifest["inputs"]]
    )
    static = static.for_target(is_neuron=target.is_neuron)
    graphs = static.graphs(target.rules)
    given = {name: target.separate_weights(*graph) for name, graph in graphs.items()}
    kinds = {name: weight_kinds(weights) for name, weights in given.items()}
    if kinds != expected:
        raise SpecError(f"got a model that differs from the compiled one: {_difference(kinds, expected)}; compile it")
    modules = {path.rsplit(".", 1)[-1]: module for path, module in _modules(function)}
    for name, weights in given.items():
        target.replace_weights(modules[name] if len(given) > 1 else function, weights)
    return {
        "weight_hash": hash_weights(graphs),
        "source": {**manifest["source"], "weight_hash": hash_tensors(static.source.state_dict())},
        # The earlier numbers were measured with other weights.
        "parity": {},
    }


def _modules(function: Any) -> list[tuple[str, Any]]:
    return list(function.named_modules()) if isinstance(function, torch.nn.Module) else []


def _difference(given: Mapping[str, Mapping[str, str]], expected: Mapping[str, Mapping[str, str]]) -> str:
    for graph in sorted({*given, *expected}):
        here, there = given.get(graph), expected.get(graph)
        if here is None or there is None:
            return f"graph {graph!r} is {'missing' if here is None else 'new'}"
        for name in sorted({*here, *there}):
            if here.get(name) != there.get(name):
                return f"weight {name!r} of graph {graph!r} is {here.get(name)}, and was {there.get(name)}"
    return "nothing"
