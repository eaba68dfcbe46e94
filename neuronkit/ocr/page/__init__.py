"""Pages: what was read, as objects, JSON, hOCR and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.ocr.page.content import Line as Line
    from neuronkit.ocr.page.content import Page as Page
    from neuronkit.ocr.page.content import Word as Word

_HOMES = {
    "Line": "content",
    "Page": "content",
    "Word": "content",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
