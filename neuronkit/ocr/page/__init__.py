"""Pages: what was read, as objects and as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.ocr.page.content import Page as Page
    from neuronkit.ocr.page.words import Line as Line
    from neuronkit.ocr.page.words import Word as Word

_HOMES = {
    "Line": "words",
    "Page": "content",
    "Word": "words",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
