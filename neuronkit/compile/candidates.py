"""What `compare_models` runs: artifacts, compiled models, and the originals of static models and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuronkit import checks, tensors
from neuronkit.adapters.registry import make_static
from neuronkit.artifact.loading import load
from neuronkit.artifact.model import CompiledModel
from neuronkit.errors import ArtifactError, SpecError
from neuronkit.interface import DETECTOR, Interface, Output
from neuronkit.models.any_file import open_model
from neuronkit.ocr.metrics import box_f1
from neuronkit.shown import shown
from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.graphs import tokens_until_end
from neuronkit.static.decoding.loops import end_at_eos, until_eos
from neuronkit.static.model import StaticModel
from neuronkit.static.shapes.canvas import clear_outside
from neuronkit.static.trees import leaves

ORIGINAL = "original"
Outputs = dict[str, Tensor]
Tensors = tuple[Tensor, ...]
Pictures = list[Any]
# Inputs that say how much of a canvas is meaningful: all of it, where they are not given.
_SIZES = {"valid_size": (-2, -1), "valid_width": (-1,)}


@dataclass(frozen=True)
class Candidate:
    """A model, and what has to be known to compare it with others.

    Attributes:
        name: Shown in reports.
        target: What it was compiled for; "original" where it was not.
        run: Takes tensors as `specs` say.
        specs: Its inputs.
        interface: What its outputs mean.
        processor: Prepares pictures for it, and reads its outputs; None without one.
        stops_at_eos: Whether what follows a sequence's end has no meaning.
    """

    name: str
    target: str
    run: Callable[..., Any]
    specs: tuple[TensorSpec, ...]
    interface: Interface
    processor: Any
    stops_at_eos: bool

    def prepare(self, given: Tensors | Pictures) -> tuple[Tensors, Any]:
        """An input as this model takes it, and the letterboxes that its processor needs to read the results.

        Raises:
            SpecError: If it is pictures, and there is no processor.
        """
        if isinstance(given, tuple):
            return self._complete(given), None
        if self.processor is None:
            raise SpecError(
                f"got {shown(given[0])} for {self.name}, which has no processor; expected tensors, or .npy files; give "
                "these, or compile it with a processor"
            )
        prepared = self.processor.preprocess(given)
        images, letterboxes = prepared if isinstance(prepared, tuple) else (prepared, None)
        inputs = [torch.from_numpy(np.ascontiguousarray(images))]
        if letterboxes is not None and len(self.specs) > 1:
            inputs.append(torch.from_numpy(np.array([box.valid_size for box in letterboxes], np.int32)))
        return self._complete(inputs), letterboxes

    def _complete(self, inputs: Sequence[Tensor]) -> Tensors:
        found = [tensors.tensor("an input", x) for x in inputs]
        for spec in self.specs[len(found) :]:
            if spec.name in _SIZES and found[0].dim() == len(self.specs[0].shape):
                whole = [found[0].shape[axis] for axis in _SIZES[spec.name]]
                sizes = torch.tensor([whole] * len(found[0]), dtype=spec.torch_dtype)
                found.append(sizes.reshape(len(found[0]), *spec.shape[1:]))
        return tuple(found)

    def call(self, inputs: Sequence[Tensor]) -> list[Any]:
        """Run it in batches of its size, the last one filled up with its last row; one entry for each batch."""
        rows = self.specs[0].shape[0]
        counts = {x.shape[0] if x.dim() else 0 for x in inputs}
        # Others are run, and refused, as they are.
        fits = all(x.shape[1:] == spec.shape[1:] and spec.shape[0] == rows for x, spec in zip(inputs, self.specs))
        if not fits or len(inputs) != len(self.specs) or len(counts) > 1 or counts & {0, rows}:
            return [self.run(*inputs)]
        batches = zip(*(x.split(rows) for x in inputs))
        return [self.run(*(_filled(x, rows) for x in batch)) for batch in batches]

    def outputs(self, called: Sequence[Any], inputs: Sequence[Tensor]) -> Outputs:
        """Name → what `call` gave for so many rows, zero where it has no meaning."""
        columns = list(zip(*(leaves(outputs) for outputs in called)))
        names = [output.name for output in self.interface.outputs]
        if len(names) != len(columns):
            names = [f"output_{i}" for i in range(len(columns))]
        whole = [column[0] if len(column) == 1 else torch.cat(column)[: len(inputs[0])] for column in columns]
        found = {name: tensor.detach().cpu() for name, tensor in zip(names, whole)}
        if self.interface.ends and "logits" in found:
            found["logits"] = end_at_eos(found["logits"], self.interface.ends)
        given = dict(zip((spec.name for spec in self.specs), inputs))
        return {
            name: _inside(tensor, output, given) if output else tensor
            for (name, tensor), output in zip(found.items(), [*self.interface.outputs, *[None] * len(found)])
        }

    def as_tokens(self, outputs: Outputs) -> Outputs:
        """Logits as tokens and their probabilities, in which form another model gives them."""
        ends = self.interface.ends
        if "logits" not in outputs or not ends:
            return outputs
        return dict(zip(("tokens", "probabilities"), tokens_until_end(outputs["logits"], ends, self.stops_at_eos)))

    def read(self, outputs: Outputs, letterboxes: Any) -> list[Any] | None:
        """The results, one for each row: boxes, ids or texts; None without what is needed to read them."""
        first, eos = next(iter(outputs.values())), self.interface.eos_id
        if self.interface.role == DETECTOR:
            return None if letterboxes is None else list(self.processor.postprocess(first, letterboxes))
        if eos is not None and first.dim() < 4:
            return until_eos(first if first.is_floating_point() else (first,), eos)
        if self.processor is None or self.interface.role != "recognizer":
            return None
        return [result.text for result in self.processor.postprocess(first)]


def same_results(ours: Sequence[Any], theirs: Sequence[Any], role: str) -> float:
    """How far results agree, 0..1: the mean F1 of boxes, or the share of equal sequences."""
    agree = box_f1 if role == DETECTOR else lambda a, b: float(a == b)
    return sum(agree(a, b) for a, b in zip(ours, theirs)) / max(1, len(theirs))


def candidate(name: str, model: Any, first: Candidate | None, charset: str | None) -> Candidate:
    """A model of any kind, as it is compared.

    Args:
        name: Shown in reports.
        model: A compiled or static model, or the path of an artifact or checkpoint.
        first: What it is compared with; a checkpoint takes its sizes and its processor from there.
        charset: See `compare_models`.

    Raises:
        SpecError: If it is nothing of the kind, or a checkpoint comes first.
        ArtifactError, CheckpointError: If a file is neither.
    """
    if isinstance(model, (str, PathLike)):
        model = _opened(model, first, charset)
    if isinstance(model, CompiledModel):
        stops = bool((model.manifest.get("joining") or {}).get("stops_at_eos", True))
        target = str(model.manifest["target"])
        return Candidate(name, target, model, model.specs, model.interface, model.processor, stops)
    if isinstance(model, StaticModel):
        processor = first.processor if first is not None else None
        stops = getattr(model, "stops_at_eos", True)
        return Candidate(name, ORIGINAL, model.reference, model.specs, model.interface, processor, stops)
    raise SpecError(
        f"got {shown(model)}; expected an artifact's or checkpoint's path, a compiled model or a static one; compile "
        "it, or make it static"
    )


def check_same_origin(model: Candidate, first: Candidate) -> None:
    """Refuse a model that is for something else, or reads other characters: where nothing is found, all agree.

    Raises:
        SpecError: If it is.
    """
    ours, theirs = model.interface, first.interface
    for what, own, wanted in (("role", ours.role, theirs.role), ("characters", ours.characters, theirs.characters)):
        if own != wanted and None not in (own, wanted):
            raise SpecError(
                f"got {model.name} with {what}={shown(own)} to compare with {first.name}, of {what}={shown(wanted)}; "
                "expected models of one origin; give these"
            )


def _opened(path: str | PathLike[str], first: Candidate | None, charset: str | None) -> Any:
    try:
        return load(path)
    except ArtifactError:
        if first is None:
            raise
        model = open_model(path, charset=charset)
    images, names = first.specs[0], [output.name for output in first.interface.outputs]
    raw: dict[str, Any] = {"raw_images": images.dtype == "uint8"}
    if first.interface.role == DETECTOR:
        from neuronkit.adapters.craft import CRAFTOptions

        size = images.shape[2:]
        return make_static(
            model, batch_size=images.shape[0], options=CRAFTOptions(*size, features="features" in names, **raw)
        )
    from neuronkit.adapters.parseq import PARSeqOptions

    outputs = "tokens" if "tokens" in names else "logits"
    return make_static(model, batch_size=images.shape[0], options=PARSeqOptions(outputs=outputs, **raw))


def examples(first: Candidate, manifest: Mapping[str, Any], seed: int) -> tuple[Tensor, ...]:
    """Random inputs of a model: ids of its vocabulary or of its tables, whole canvases."""
    ranges, columns = manifest.get("input_ranges", {}), manifest.get("column_ranges", {})
    named: dict[str, Tensor] = {}
    for i, spec in enumerate(first.specs):
        if spec.name in _SIZES:
            continue
        low, high = ranges.get(spec.name, (0, 255))
        generator = torch.Generator().manual_seed(seed + i)
        if spec.torch_dtype.is_floating_point and spec.name not in ranges:
            named[spec.name] = spec.example(seed + i)
        else:
            named[spec.name] = torch.randint(low, high + 1, spec.shape, generator=generator).to(spec.torch_dtype)
        for column, low, high in columns.get(spec.name, ()):
            ids = torch.randint(low, high + 1, spec.shape[:-1], generator=generator)
            named[spec.name][..., column] = ids.to(spec.torch_dtype)
    return tuple(named.values())


def sorted_inputs(given: Sequence[Any]) -> list[Tensors | Pictures]:
    """Inputs as they are run: a tuple for each call with tensors, and all pictures in one."""
    calls: list[Tensors | Pictures] = []
    pictures: Pictures = []
    for item in given:
        if isinstance(item, Tensor):
            calls.append((item,))
        elif isinstance(item, (tuple, list)) and any(isinstance(x, Tensor) for x in item):
            calls.append(tuple(item))
        elif isinstance(item, (str, PathLike)) and Path(item).suffix == ".npy":
            calls.append((_read_array(item),))
        else:
            pictures.append(item)
    return [*calls, *([pictures] if pictures else [])]


def _read_array(path: str | PathLike[str]) -> Tensor:
    try:
        # Of a file that declares more than it has, nothing is read.
        mapped = np.load(checks.input_file("inputs", path, error=SpecError), mmap_mode="r", allow_pickle=False)
        return torch.from_numpy(np.array(mapped))
    except SpecError:
        raise
    except (OSError, ValueError, TypeError, EOFError, OverflowError) as error:
        raise SpecError(f"got {str(path)!r}, which cannot be read: {error}; expected an array of numbers") from error


def _filled(rows: Tensor, count: int) -> Tensor:
    return torch.cat([rows, rows[-1:].expand(count - len(rows), *rows.shape[1:])])


def _inside(tensor: Tensor, output: Output, inputs: Mapping[str, Tensor]) -> Tensor:
    """An output, zero beyond its valid area."""
    if output.valid is None or output.valid.input not in inputs:
        return tensor
    return clear_outside(tensor, output.valid, inputs[output.valid.input])


def named_models(models: Any) -> list[tuple[str, Any]]:
    """Models with what they are called, two at least.

    Raises:
        SpecError: If they are fewer.
    """
    if isinstance(models, Mapping):
        listed = [(checks.text("a model's name", name, error=SpecError), model) for name, model in models.items()]
    else:
        given = checks.items("models", models, "models or paths", error=SpecError)
        listed = [(_name(model), model) for model in given]
    if len(listed) < 2:
        raise SpecError(f"got {len(listed)} models; expected two at least; give the one to compare with first")
    return listed


def _name(model: Any) -> str:
    if isinstance(model, (str, PathLike)):
        return Path(model).name
    source = getattr(model, "source", None)
    kind = type(source).__name__ if source is not None else type(model).__name__
    return kind if not isinstance(model, CompiledModel) else str(model.manifest["family"])
