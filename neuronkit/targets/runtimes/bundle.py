"""A folder of ONNX graphs: a file each, one file of weights for all of them, and what they take and give."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from torch.utils._pytree import tree_flatten

from neuronkit import checks
from neuronkit.errors import ArtifactError
from neuronkit.shown import shown
from neuronkit.specs import TensorSpec
from neuronkit.storage.sealed import read_text
from neuronkit.targets.base import graph_name

GRAPHS, WEIGHTS = "graphs.json", "weights.bin"
# Smaller weights stay in the graph's own file.
SMALLEST = 1024
# Of the cache lines of current processors.
_ALIGNED = 64
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Description:
    """Inputs and outputs of a graph.

    Attributes:
        inputs: In order.
        outputs: In order.
        tree: The structure that the outputs stand in, with their numbers in their places.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    tree: Any

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        specs = {name: [spec.to_dict() for spec in getattr(self, name)] for name in ("inputs", "outputs")}
        return {**specs, "tree": _tree_to_json(self.tree)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Description:
        """Read what `to_dict` gave."""
        inputs, outputs = (tuple(TensorSpec.from_dict(spec) for spec in fields[name]) for name in ("inputs", "outputs"))
        tree = _tree_from_json(fields["tree"])
        for place in tree_flatten(tree)[0]:
            if place is not None:
                checks.integer("tree", place, 0, len(outputs) - 1)
        return cls(inputs, outputs, tree)


def _tree_to_json(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {"dict": {key: _tree_to_json(item) for key, item in tree.items()}}
    if isinstance(tree, (tuple, list)):
        return {"list" if isinstance(tree, list) else "tuple": [_tree_to_json(item) for item in tree]}
    return tree


def _tree_from_json(fields: Any) -> Any:
    if not isinstance(fields, dict):
        return fields
    ((kind, items),) = fields.items()
    if kind == "dict":
        return {key: _tree_from_json(item) for key, item in items.items()}
    listed = [_tree_from_json(item) for item in items]
    return listed if kind == "list" else tuple(listed)


def graph_file(name: str) -> str:
    """Name of a graph's file."""
    return f"{name}.onnx"


def write(models: Mapping[str, tuple[Any, Description]], directory: Path, settings: Mapping[str, Any]) -> None:
    """Write graphs into an empty directory.

    Args:
        models: Name → (ONNX model with its weights in memory, what it takes and gives).
        directory: Where.
        settings: Options of the runtime, ready for JSON.
    """
    _write({name: (model, _in_memory) for name, (model, _) in models.items()}, directory)
    _describe({name: description for name, (_, description) in models.items()}, directory, settings)


def merge(directories: Mapping[str, Path], directory: Path) -> None:
    """Write the single graphs of several folders into an empty one; weights that they share are written once.

    Args:
        directories: Name → folder with that graph alone.
        directory: Where.
    """
    import onnx

    models, descriptions = {}, {}
    settings: dict[str, Any] = {}
    for name, folder in directories.items():
        model = onnx.load(str(folder / graph_file(name)), load_external_data=False)
        models[name] = (model, _in_folder(folder))
        settings, found = read(folder)
        descriptions[name] = found[name]
    _write(models, directory)
    _describe(descriptions, directory, settings)


def copy(source: Path, directory: Path) -> None:
    """Copy a folder's graphs, weights and description, and nothing else that lies there, into an empty one."""
    _, descriptions = read(source)
    for name in (GRAPHS, WEIGHTS, *map(graph_file, descriptions)):
        shutil.copyfile(source / name, directory / name)


def read(directory: Path) -> tuple[dict[str, Any], dict[str, Description]]:
    """The settings of a folder's graphs, and what each of them takes and gives.

    Raises:
        ArtifactError: If it says nothing of the kind.
    """
    try:
        fields = json.loads(read_text(directory / GRAPHS))
        graphs = {graph_name(name): Description.from_dict(graph) for name, graph in fields["graphs"].items()}
        return _checked_settings(fields["settings"]), graphs
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ArtifactError(
            f"{shown(directory / GRAPHS)}: does not describe its graphs ({shown(error)}); compile it again"
        ) from error


def _checked_settings(found: Mapping[str, Any]) -> dict[str, Any]:
    # Runtimes crash with a million threads.
    threads = found["threads"]
    return {
        **found,
        "threads": None if threads is None else checks.integer("threads", threads, 1, 1024),
        "precision": checks.choice("precision", found["precision"], PRECISIONS),
        **({"streams": checks.integer("streams", found["streams"], 1, 1024)} if "streams" in found else {}),
    }


def _describe(descriptions: Mapping[str, Description], directory: Path, settings: Mapping[str, Any]) -> None:
    graphs = {name: {"file": graph_file(name), **found.to_dict()} for name, found in descriptions.items()}
    text = json.dumps({"settings": dict(settings), "graphs": graphs}, indent=1)
    (directory / GRAPHS).write_text(text, encoding="utf-8")


_Read = Callable[[Any], Any]


def _write(models: Mapping[str, tuple[Any, _Read]], directory: Path) -> None:
    with (directory / WEIGHTS).open("wb") as file:
        store = _Store(file)
        for name, (model, read_weight) in models.items():
            for weight in _large_weights(model.graph):
                offset, length = store.place(read_weight(weight))
                weight.ClearField("raw_data")
                weight.data_location = weight.EXTERNAL
                del weight.external_data[:]
                for key, value in {"location": WEIGHTS, "offset": offset, "length": length}.items():
                    weight.external_data.add(key=key, value=str(value))
            (directory / graph_file(name)).write_bytes(model.SerializeToString())


class _Store:
    """A file of weights, in which equal ones lie once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._places: dict[bytes, tuple[int, int]] = {}

    def place(self, content: Any) -> tuple[int, int]:
        """Write a weight unless it is there; its offset and length in bytes."""
        key = hashlib.sha256(content).digest()
        if key not in self._places:
            self._file.write(b"\0" * (-self._file.tell() % _ALIGNED))
            self._places[key] = self._file.tell(), len(content)
            self._file.write(content)
        return self._places[key]


def _large_weights(graph: Any) -> Iterator[Any]:
    """The weights of a graph that lie beside it, or are to."""
    for tensor in graph.initializer:
        if tensor.data_location == tensor.EXTERNAL or len(tensor.raw_data) >= SMALLEST:
            yield tensor


def check_weights(path: Path) -> None:
    """Refuse a graph whose weights lie in other files than `WEIGHTS`, where the package onnx is there to read it.

    Older releases of ONNX Runtime, such as 1.23, the last one for Python 3.10, open any file that a graph names.

    Raises:
        ArtifactError: If there are such weights.
        ValueError: If it is not an ONNX file.
    """
    if find_spec("onnx") is None:
        return
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except DecodeError as error:
        raise ValueError(f"{path.name} is no ONNX file ({error})") from error
    entries = [entry for tensor in _tensors(graph) for entry in tensor.external_data]
    elsewhere = sorted({entry.value for entry in entries if entry.key == "location"} - {WEIGHTS})
    if elsewhere:
        raise ArtifactError(
            f"{shown(path)}: its weights are in {shown(elsewhere)}; expected {WEIGHTS} beside it; compile it again"
        )


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)


def _in_memory(weight: Any) -> Any:
    return weight.raw_data


def _in_folder(folder: Path) -> _Read:
    path = folder / WEIGHTS
    content = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.empty(0, np.uint8)

    def read_weight(weight: Any) -> Any:
        entries = {entry.key: entry.value for entry in weight.external_data}
        return content[int(entries["offset"]) :][: int(entries["length"])]

    return read_weight
