"""Options of a family, given as a whole or one by one, and the checks that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from neuronkit import checks
from neuronkit.errors import OptionError, SpecError
from neuronkit.shown import shown
from neuronkit.static.decoding.decoding import LOGITS, OUTPUTS
from neuronkit.static.decoding.methods import AUTO

Options = TypeVar("Options")
# Pixels of a side from which twice as many are many.
_SMALL = 256


@dataclass(frozen=True, kw_only=True)
class VisionOptions:
    """What can be chosen for every model of images.

    Args:
        raw_images: Take images as bytes, 0..255, and normalise them inside as the model's processor does: a quarter of
            the bytes travel to the device. Not for "inf1", which takes no bytes.

    Raises:
        OptionError: If `raw_images` is neither True nor False.
    """

    raw_images: bool = False

    def __post_init__(self) -> None:
        checks.set_field(self, "raw_images", checks.flag)


@dataclass(frozen=True, kw_only=True)
class ReadingOptions(VisionOptions):
    """What can be chosen for every recogniser.

    Args:
        outputs: "logits", or "tokens": the ids and their probabilities, which is all that reading them needs.
        raw_images: Take images as bytes; see `VisionOptions`.

    Raises:
        OptionError: If `outputs` is neither, or `raw_images` is not a flag.
    """

    outputs: str = LOGITS

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("outputs", self.outputs, OUTPUTS)


def either(wanted: type[Options], whole: Any, **single: Any) -> Options:
    """The options of a static model that takes them as single keywords too.

    Args:
        wanted: The class that they must have.
        whole: The argument `options`, or None.
        **single: What the keywords say.

    Raises:
        OptionError: If `whole` is of another class, or both say something.
    """
    if whole is None:
        return wanted(**single)
    if not isinstance(whole, wanted):
        raise OptionError(f"got options={shown(whole)}; expected {wanted.__name__}; make one, or leave it out")
    given = [f"{name}={shown(value)}" for name, value in single.items() if value not in (None, AUTO)]
    if given:
        raise OptionError(f"got options={shown(whole)} and {', '.join(given)}; expected one of the two; leave one out")
    return whole


def check_sizes(options: Any, *names: str) -> None:
    """Check the fields of a frozen dataclass that are whole numbers of at least 1, or None to follow the model.

    Raises:
        SpecError: If one is something else.
    """
    for name in names:
        checks.set_field(options, name, checks.integer, 1, error=SpecError, optional=True)


def smaller_canvas(height: int, width: int) -> tuple[int, int]:
    """A canvas that is computed in little time and divides like the given one; itself where it is small."""

    def smaller(size: int) -> int:
        return size if size < 2 * _SMALL else _SMALL + size % _SMALL

    return smaller(height), smaller(width)
