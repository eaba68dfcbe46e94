"""CRAFT and its refiner as a checkpoint describes them: channels from its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from neuronkit.errors import CheckpointError, OptionError
from neuronkit.models.contents import Contents
from neuronkit.models.craft import CRAFT
from neuronkit.models.refiner import LinkRefiner

Model = TypeVar("Model", CRAFT, LinkRefiner)

# The weight whose rows have each number of channels of the published CRAFT; the last one is its largest.
_CRAFT_CHANNELS = {
    16: "conv_cls.4.weight",
    32: "conv_cls.0.weight",
    64: "basenet.slice1.0.weight",
    128: "basenet.slice1.7.weight",
    256: "basenet.slice2.14.weight",
    512: "basenet.slice4.34.weight",
    1024: "basenet.slice5.1.weight",
}
_REFINER_CHANNELS = {64: "last_conv.0.weight", 128: "aspp1.0.weight"}


def infer_craft(cls: type[CRAFT], contents: Contents, label: str) -> CRAFT:
    """Build the CRAFT whose channels are those of the tensors."""
    counts = _counts(cls, contents, label, _CRAFT_CHANNELS)
    largest = contents.shape(_CRAFT_CHANNELS[1024], 4, cls, label)
    return _build(cls, counts, largest[1:] == (counts[512], 3, 3), label)


def infer_refiner(cls: type[LinkRefiner], contents: Contents, label: str) -> LinkRefiner:
    """Build the refiner whose channels are those of the tensors."""
    counts = _counts(cls, contents, label, _REFINER_CHANNELS)
    first = contents.shape(_REFINER_CHANNELS[64], 4, cls, label)
    return _build(cls, {32: first[1] - 2, **counts}, first[1] > 2 and first[2:] == (3, 3), label)


def _counts(cls: type, contents: Contents, label: str, names: Mapping[int, str]) -> dict[int, int]:
    return {base: contents.shape(name, 4, cls, label)[0] for base, name in names.items()}


def _build(cls: type[Model], counts: Mapping[int, int], fits: bool, label: str) -> Model:
    # Each count is a rounded share of the published one; the width lies where all of these shares allow it.
    low = max((count - 0.5) / base if count > 1 else 0.0 for base, count in counts.items())
    high = min((count + 0.5) / base for base, count in counts.items())
    if low > high or not fits:
        raise CheckpointError(
            f"{label}: got channels of {', '.join(map(str, counts.values()))}; expected those of the published "
            f"{cls.__name__} ({', '.join(map(str, counts))}) times one width; build the model yourself and pass it"
        )
    try:
        return cls(width=_width(low, high, counts))
    except OptionError as error:
        raise CheckpointError(f"{label}: {error}") from error


def _width(low: float, high: float, counts: Mapping[int, int]) -> float:
    """A width that gives these counts; a round one where there is one."""
    middle = (low + high) / 2
    rounded = (float(f"{middle:.{digits}g}") for digits in range(1, 8))
    return next((w for w in rounded if all(max(1, round(b * w)) == n for b, n in counts.items())), middle)
