"""Normalisation as the first step of a static graph, so that images travel to the device as bytes."""

from __future__ import annotations

import copy

from neuronkit import checks
from neuronkit.errors import OptionError
from neuronkit.ocr.craft import CraftProcessor
from neuronkit.ocr.parseq import ParseqProcessor
from neuronkit.static.model import StaticModel


def fold_normalization(model: StaticModel, processor: CraftProcessor | ParseqProcessor) -> StaticModel:
    """Make a static model that takes images as its processor scales them, uint8, and normalises them itself.

    A quarter of the bytes go to the device. Eagerly, results are those of `model` on normalised images, to the bit.
    Options with ``raw_images=True`` do the same, with the constants of the model's usual processor.

    Args:
        model: A static model whose first input is images (N, 3, H, W) float32, as `make_static` gives.
        processor: Its processor, with ``raw_images=True``.

    Returns:
        The same model with a uint8 input, to be given to `compile_for_inferentia` together with `processor`.

    Raises:
        OptionError: If the processor normalises too, or the model's first input is not float32 images.

    Examples:
        >>> processor = ParseqProcessor(charset=parseq.charset, raw_images=True)
        >>> folded = neuronkit.ocr.fold_normalization(neuronkit.StaticPARSeq(parseq), processor)
        >>> folded.specs[0].dtype
        'uint8'
    """
    if not isinstance(processor, (CraftProcessor, ParseqProcessor)):
        raise OptionError(
            f"got processor={checks.shown(processor)}; expected a processor; give a CraftProcessor or ParseqProcessor"
        )
    if not processor.raw_images:
        raise OptionError(
            f"got a {type(processor).__name__} that normalises already; expected one that leaves it to the model; give "
            "it raw_images=True"
        )
    if not isinstance(model, StaticModel):
        raise OptionError(f"got model={checks.shown(model)}; expected a static model; give what make_static returns")
    images = model.specs[0]
    if len(images.shape) != 4 or images.shape[1] != 3 or images.dtype != "float32":
        raise OptionError(
            f"got a model whose first input is {images}; expected images (N, 3, H, W) float32; give the model before "
            "its normalisation is folded in"
        )
    folded = copy.copy(model)
    folded.take_raw_images(processor.normalization)
    return folded
