"""Processors brought in line with the fixed shapes of the models that they surround."""

from __future__ import annotations

import dataclasses
from typing import Any

from neuronkit.errors import OptionError, SpecError
from neuronkit.ocr.craft import CraftProcessor
from neuronkit.ocr.parseq import ParseqProcessor
from neuronkit.ocr.pipeline.calls import ModelCall


def fit_detector(given: CraftProcessor | None, model: ModelCall) -> Any:
    """Find the detector's processor, and give it the model's canvas and dtype.

    Raises:
        OptionError: If there is none, or its settings contradict the model's specs.
        SpecError: If the model's first input is no batch of images.
    """
    processor = _find(given, model)
    shape = model.fixed_shape
    if shape is not None and isinstance(processor, CraftProcessor):
        if len(shape) != 4:
            raise SpecError(f"the detector's first spec has shape {shape}, expected (N, 3, H, W)")
        canvas = shape[2], shape[3]
        if processor.canvas not in (None, canvas):
            raise OptionError(
                f"the detector is compiled for a canvas of {canvas} (height, width) and its processor has "
                f"canvas={processor.canvas}; give the same, or leave the processor's None"
            )
        if processor.canvas is None:
            processor = dataclasses.replace(processor, canvas=canvas)
    return _fit_bytes(processor, model)


def fit_recognizer(given: ParseqProcessor | None, model: ModelCall) -> Any:
    """Find the recogniser's processor, check it against the model's input, and give it the model's dtype.

    Raises:
        OptionError: If there is none, or its settings contradict the model's specs.
    """
    processor = _find(given, model)
    shape = model.fixed_shape
    wrong = shape is not None and (len(shape) != 4 or shape[2:] != getattr(processor, "image_size", shape[2:]))
    if wrong and isinstance(processor, ParseqProcessor):
        raise OptionError(
            f"the recogniser is compiled for inputs of {shape} and its processor has "
            f"image_size={processor.image_size} (height, width); give ParseqProcessor(image_size=...) that fits"
        )
    return _fit_bytes(processor, model)


def _fit_bytes(processor: Any, model: ModelCall) -> Any:
    """Leave normalising to a model that takes bytes, and refuse to leave it to one that does not."""
    dtype, normalize = model.dtype(), getattr(processor, "normalize", None)
    if normalize is None or dtype is None:
        return processor
    if dtype == "uint8":
        return dataclasses.replace(processor, normalize=False)
    if not normalize:
        raise OptionError(
            f"the {model.name} takes {dtype} and its processor has normalize=False; leave that True, "
            "or fold the normalisation into the model with fold_normalization"
        )
    return processor


def _find(given: Any, model: ModelCall) -> Any:
    """Take the processor that was given, or the model's own."""
    processor = getattr(model.function, "processor", None) if given is None else given
    if processor is None:
        example = "CraftProcessor()" if model.name == "detector" else "ParseqProcessor(charset=...)"
        raise OptionError(f"the {model.name} has no processor of its own; give {model.name}_processor={example}")
    missing = [name for name in ("preprocess", "postprocess") if not callable(getattr(processor, name, None))]
    if missing:
        raise OptionError(f"{model.name}_processor is a {type(processor).__name__} without {missing}; give a processor")
    return processor
