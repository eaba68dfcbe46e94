"""Pages written as files: text, tables, hOCR, ALTO, PDF, pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.ocr.writers.saving import FORMATS as FORMATS
    from neuronkit.ocr.writers.saving import ending_of as ending_of
    from neuronkit.ocr.writers.saving import format_of as format_of
    from neuronkit.ocr.writers.saving import page_text as page_text
    from neuronkit.ocr.writers.saving import save_page as save_page
    from neuronkit.ocr.writers.saving import save_pages as save_pages

_HOMES = {
    "FORMATS": "saving",
    "ending_of": "saving",
    "format_of": "saving",
    "page_text": "saving",
    "save_page": "saving",
    "save_pages": "saving",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
