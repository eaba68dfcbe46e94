"""Processors found, compared with their models, and adapted to the models' fixed shapes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import Any

from torch import nn

from neuronkit import checks
from neuronkit.adapters.registry import family_of
from neuronkit.errors import OptionError, SpecError
from neuronkit.interface import DETECTOR, RECOGNIZER, SEQ2SEQ, Interface
from neuronkit.models.characters import known_characters
from neuronkit.ocr.craft import CraftProcessor
from neuronkit.ocr.parseq import ParseqProcessor
from neuronkit.ocr.pipeline.calls import ModelCall
from neuronkit.ocr.processors import PROCESSORS, check_processor
from neuronkit.specs import TensorSpec
from neuronkit.static.original import unwrap
from neuronkit.static.shapes.buckets import Buckets
from neuronkit.static.shapes.fixed import FixedShape
from neuronkit.static.shapes.replicas import Replicas
from neuronkit.static.shapes.tiled import Tiled

# What each of them calls.
_WRAPPERS = {FixedShape: "fn", Tiled: "tile", partial: "func", MethodType: "__self__"}
_FAMILY_ROLES = {"craft": DETECTOR, "huggingface": SEQ2SEQ}


@dataclass(frozen=True)
class _Described:
    """A model's interface, inputs, outputs and characters."""

    interface: Interface
    specs: tuple[TensorSpec, ...]
    output_specs: tuple[TensorSpec, ...]
    charset: Any


def fit_detector(given: CraftProcessor | None, model: ModelCall) -> Any:
    """Find the detector's processor, and give it the model's canvas and dtype.

    Raises:
        OptionError: If there is none, or it does not belong to the model, or the model is not a detector.
        SpecError: If the model's first input is not a batch of images.
    """
    processor, shape = _fit(given, model), model.fixed_shape
    if shape and isinstance(processor, CraftProcessor) and processor.canvas is None:
        return dataclasses.replace(processor, canvas=(shape[2], shape[3]))
    return processor


def fit_recognizer(given: ParseqProcessor | None, model: ModelCall) -> Any:
    """Find the recogniser's processor, and give it the model's dtype.

    Raises:
        OptionError: If there is none, or it does not belong to the model, or the model is not a recogniser.
        SpecError: If the model's first input is not a batch of images.
    """
    return _fit(given, model)


def _fit(given: Any, model: ModelCall) -> Any:
    processor = _find(given, model)
    if model.fixed_shape and len(model.fixed_shape) != 4:
        raise SpecError(
            f"got a {model.name} whose first input has the shape {model.fixed_shape}; expected images (N, 3, H, W); "
            "give a model that takes them"
        )
    # The caller's own processors are taken as they are.
    if type(processor) in PROCESSORS:
        check_processor(processor, _describe(model, processor), role=model.name)
    return processor


def _describe(model: ModelCall, processor: Any) -> _Described:
    function = _model_within(model.function)
    # Anything with a name and a shape is a spec; one without a dtype takes what the processor gives.
    dtype = "uint8" if processor.raw_images else "float32"
    specs = tuple(TensorSpec(s.name, tuple(s.shape), model.dtype(i) or dtype) for i, s in enumerate(model.specs))
    interface = getattr(function, "interface", None)
    if not isinstance(interface, Interface):
        interface = _interface_of(function) if isinstance(function, nn.Module) else Interface()
    outputs = tuple(getattr(function, "output_specs", None) or ())
    return _Described(interface, specs, outputs, getattr(function, "charset", None))


def _model_within(function: Any) -> Any:
    """The model that a wrapper calls, which knows what it reads; of several shapes the first."""
    while True:
        if isinstance(function, Replicas):
            inner = function._origin or function._fixed[0]
        elif isinstance(function, Buckets):
            inner = next(iter(function.buckets.values()))
        else:
            name = next((name for kind, name in _WRAPPERS.items() if isinstance(function, kind)), None)
            inner = getattr(function, name) if name else None
        if inner is None:
            return function
        function = inner


def _interface_of(module: nn.Module) -> Interface:
    """What a dynamic model is for, by its family."""
    family = family_of(module)
    if family is None:
        return Interface()
    role = _FAMILY_ROLES.get(family.name, RECOGNIZER)
    module = unwrap(module)
    head = getattr(getattr(module, "model", module), "head", None)
    if family.name != "parseq" or not isinstance(head, nn.Linear):
        return Interface(role)
    return Interface(role, characters=known_characters(module, head.out_features - 1))


def _find(given: Any, model: ModelCall) -> Any:
    """Take the processor that was given, or the model's own."""
    own = getattr(model.function, "processor", None) or getattr(_model_within(model.function), "processor", None)
    processor = own if given is None else given
    if processor is None:
        example = "CraftProcessor()" if model.name == DETECTOR else "ParseqProcessor(charset=...)"
        raise OptionError(
            f"got a {model.name} without a processor of its own; expected one; give {model.name}_processor={example}"
        )
    missing = [name for name in ("preprocess", "postprocess") if not callable(getattr(processor, name, None))]
    if missing:
        raise OptionError(
            f"got {model.name}_processor={checks.shown(processor)} without {' and '.join(missing)}; expected a "
            "processor; give a CraftProcessor for a detector, a ParseqProcessor for a recognizer"
        )
    return processor
