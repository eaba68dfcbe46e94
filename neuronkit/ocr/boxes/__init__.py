"""Words in CRAFT's score maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.ocr.boxes.find import find_boxes as find_boxes

_HOMES = {
    "find_boxes": "find",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
