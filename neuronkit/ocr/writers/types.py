"""What a writer needs of a page, so that pages can be written without this package knowing their class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from neuronkit.ocr.images import RGBImage
    from neuronkit.ocr.page.words import Line


class WritablePage(Protocol):
    """A page that was read; see `neuronkit.ocr.Page`."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""

    @property
    def lines(self) -> tuple[Line, ...]:
        """In reading order."""

    @property
    def text(self) -> str:
        """The lines, one below the other."""

    @property
    def source(self) -> Any:
        """What it was read from."""

    @property
    def name(self) -> str:
        """Of the file."""

    @property
    def dpi(self) -> float | None:
        """Pixels per inch."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""

    def pixels(self) -> RGBImage:
        """The image, turned as it was read."""

    def draw(self) -> RGBImage:
        """The image with what was found."""
