"""What a captured graph computes, and with which weights, as two hashes that are the same in every process.

Names of Python variables, classes and files, which change without changing the computation, stay out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from neuronkit.errors import OptionError

# The name of a class that TorchScript made, numbered by order of making.
_CLASS = re.compile(r"__torch__[\w.]*")


@dataclass(frozen=True)
class Fingerprint:
    """Two SHA-256 hashes, in hex.

    Attributes:
        graph: Operators, their order, settings and constants.
        weights: Names, shapes, dtypes and bytes of the tensors that the graph takes by name.
    """

    graph: str
    weights: str


def fingerprint(program: Any) -> Fingerprint:
    """The fingerprint of a traced module or of a torch.export program."""
    if isinstance(program, torch.jit.ScriptModule):
        writer = _ScriptWriter(program)
        lines = list(writer.lines(program.inlined_graph))
        weights: Mapping[str, Tensor] = writer.weights
    else:
        lines = list(_exported_lines(program))
        weights = dict(program.state_dict)
    digest = hashlib.sha256("\n".join(lines).encode())
    return Fingerprint(digest.hexdigest(), hash_tensors(weights))


def hash_tensors(tensors: Mapping[str, Any]) -> str:
    """SHA-256 over names, shapes, dtypes and bytes; of what else a state dict may hold, over its text."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        for place, value in _flat(name, tensors[name]):
            if isinstance(value, Tensor):
                digest.update(f"{place} {tuple(value.shape)} {value.dtype}".encode())
                plain = value.dequantize() if value.is_quantized else value
                digest.update(plain.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
            else:
                digest.update(f"{place} {value!r}".encode())
    return digest.hexdigest()


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A value, or those that a tuple holds: quantised layers pack weight and bias into one."""
    if isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from _flat(f"{name}[{i}]", item)
    else:
        yield name, value


def hash_weights(graphs: Mapping[str, tuple[torch.nn.Module, Any]]) -> str:
    """SHA-256 over the weights of several graphs: name → (module, its specs)."""
    return hash_tensors(
        {
            f"{graph}.{name}": tensor
            for graph, (module, _) in graphs.items()
            for name, tensor in (*module.named_parameters(), *module.named_buffers())
        }
    )


class _ScriptWriter:
    """Writes an inlined TorchScript graph line by line, its values numbered in order."""

    def __init__(self, module: torch.jit.ScriptModule) -> None:
        self._module = module
        self._numbers: dict[str, int] = {}
        # Value → (the object it is, its path), for modules and what is taken from them.
        self._objects: dict[str, tuple[Any, str]] = {}
        self.weights: dict[str, Tensor] = {}

    def lines(self, block: Any) -> Iterator[str]:
        inputs = list(block.inputs())
        if not self._numbers and inputs:
            self._objects[inputs[0].debugName()] = (self._module, "")
        yield f"in {self._values(inputs)}"
        for node in block.nodes():
            attributes = self._attribute(node) if node.kind() == "prim::GetAttr" else self._attributes(node)
            yield f"{self._values(node.outputs())} = {node.kind()} {attributes} {self._values(node.inputs())}"
            for inner in node.blocks():
                yield from self.lines(inner)
        yield f"out {self._values(block.outputs())}"

    def _values(self, values: Any) -> str:
        names = [(value.debugName(), _CLASS.sub("object", str(value.type()))) for value in values]
        return " ".join(f"{self._numbers.setdefault(name, len(self._numbers))}:{kind}" for name, kind in names)

    def _attribute(self, node: Any) -> str:
        """A module's attribute: a submodule, a weight, or a setting that the graph does not show."""
        owner, path = self._objects[node.inputsAt(0).debugName()]
        value, path = getattr(owner, node.s("name")), f"{path}.{node.s('name')}"
        self._objects[node.output().debugName()] = (value, path)
        if isinstance(value, Tensor):
            self.weights[path] = value
            return path
        return path if isinstance(value, torch.nn.Module) else f"{path}={_text(value)}"

    def _attributes(self, node: Any) -> str:
        kinds = {name: node.kindOf(name) for name in sorted(node.attributeNames())}
        return str({name: _text(getattr(node, kind)(name)) for name, kind in kinds.items()})


def _exported_lines(program: Any) -> Iterator[str]:
    """A torch.export program, node by node."""
    yield from (str((str(spec.kind), spec.target)) for spec in program.graph_signature.input_specs)
    yield from (str((str(spec.kind), spec.target)) for spec in program.graph_signature.output_specs)
    # Whether the outputs come as a tensor, a tuple, or a dictionary with which keys: no node shows it.
    yield _text(program.call_spec.out_spec)
    constants = {name: value for name, value in program.constants.items() if name not in program.state_dict}
    yield from (f"{name} {_text(value)}" for name, value in sorted(constants.items()))
    for path, module in program.graph_module.named_modules():
        if not isinstance(module, fx.GraphModule):
            continue
        numbers = {node: i for i, node in enumerate(module.graph.nodes)}
        yield f"graph {path}"
        for node, number in numbers.items():
            target = node.target if isinstance(node.target, str) else str(node.target)
            named = f"{getattr(node.target, '__module__', '')}.{getattr(node.target, '__name__', '')}"
            shown = _text(node.meta.get("val")) if isinstance(node.meta.get("val"), Tensor) else ""
            settings = _text((node.args, node.kwargs), numbers)
            yield f"{number} {node.op} {target if _is_stable(target) else named} {settings} {shown}"


def _is_stable(text: str) -> bool:
    """Whether a text is free of an address in memory."""
    return " at 0x" not in text


def _text(value: Any, nodes: Mapping[fx.Node, int] | None = None) -> str:
    """A value as text that is the same in every process; tensors by hash."""
    if isinstance(value, fx.Node):
        return f"%{(nodes or {})[value]}"
    if isinstance(value, torch._subclasses.FakeTensor):
        return f"{tuple(value.shape)} {value.dtype}"
    if isinstance(value, Tensor):
        return f"tensor {hash_tensors({'': value})}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_text(k, nodes)}: {_text(v, nodes)}' for k, v in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_text(item, nodes) for item in value)}]"
    text = _CLASS.sub("object", str(value) if not isinstance(value, (str, float)) else repr(value))
    if not _is_stable(text):
        raise OptionError(
            f"the graph holds a {type(value).__name__}, whose contents cannot be hashed; compile without cache_dir"
        )
    return text
