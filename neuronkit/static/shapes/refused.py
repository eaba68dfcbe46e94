"""Sizes of images on which a model's original cannot run, as data that a manifest holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from neuronkit import checks
from neuronkit.errors import SpecError

Range = tuple[int, ...]


@dataclass(frozen=True)
class RefusedSizes:
    """Sizes (height, width) within a canvas on which the original cannot run. All ranges hold both their ends.

    Args:
        input: Name of the input that gives valid sizes, (N, 2); or widths, (N,), of images of one height.
        heights: Ranges (first, last) of heights that it takes with no width.
        widths: Ranges of widths that it takes with no height.
        both: Of the other sizes, rectangles (first height, last height, first width, last width).

    Raises:
        SpecError: If one is no such range.
    """

    input: str
    heights: tuple[Range, ...] = ()
    widths: tuple[Range, ...] = ()
    both: tuple[Range, ...] = ()

    def __post_init__(self) -> None:
        checks.text("input", self.input, error=SpecError)
        for name, length in (("heights", 2), ("widths", 2), ("both", 4)):
            ranges = checks.items(name, getattr(self, name), "ranges", error=SpecError)
            given = tuple(checks.integers(name, each, length, 1, error=SpecError) for each in ranges)
            object.__setattr__(self, name, given)

    @classmethod
    def of(cls, input: str, runs: npt.NDArray[np.bool_]) -> RefusedSizes | None:
        """From a table [height - 1, width - 1] of whether the original runs; None if it always does.

        For images of one height, the table has one row.
        """
        if runs.all():
            return None
        no_height, no_width = ~np.any(runs, axis=1), ~np.any(runs, axis=0)
        rest: npt.NDArray[np.bool_] = ~runs & ~no_height[:, None] & ~no_width
        # Runs of equal rows, and in them runs of columns.
        changes = np.flatnonzero((rest[1:] != rest[:-1]).any(1)) + 1
        both = [
            (first + 1, last, *columns)
            for first, last in zip([0, *changes.tolist()], [*changes.tolist(), len(rest)])
            for columns in _ranges(rest[first])
        ]
        return cls(input, tuple(_ranges(no_height)), tuple(_ranges(no_width)), tuple(both))

    def check(self, valid_size: Tensor) -> None:
        """Refuse such sizes.

        Args:
            valid_size: (N, 2) integers, (height, width); or (N,), widths.

        Raises:
            SpecError: If there is one.
        """
        for size in valid_size.tolist():
            if self._holds(*size) if isinstance(size, list) else self._holds(1, size):
                raise SpecError(
                    f"got {self.input}={size}, a size on which the original model cannot run; expected that of an "
                    "image that it takes; give a larger image, or one of another size"
                )

    def _holds(self, height: int, width: int) -> bool:
        return (
            any(first <= height <= last for first, last in self.heights)
            or any(first <= width <= last for first, last in self.widths)
            or any(top <= height <= bottom and left <= width <= right for top, bottom, left, right in self.both)
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> RefusedSizes | None:
        """Read them from a manifest; None where it has none, as those of earlier releases.

        Raises:
            SpecError: If that is of another form.
        """
        given = manifest.get("refused_sizes")
        if given is None:
            return None
        if not isinstance(given, Mapping) or not given.keys() <= set(cls.__dataclass_fields__):
            raise SpecError(f"got refused_sizes={checks.shown(given)}; expected input, heights, widths and both")
        return cls(**given)


def _ranges(marked: npt.NDArray[np.bool_]) -> Iterable[Range]:
    """Runs of marked entries, counted from 1."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]))).tolist()
    return [(first + 1, last) for first, last in zip(edges[::2], edges[1::2])]
