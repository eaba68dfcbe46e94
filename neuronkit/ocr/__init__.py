"""OCR: images, pre- and post-processing of detectors and recognisers, pages and their files, and `OCRPipeline`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.ocr.boxes import find_boxes as find_boxes
    from neuronkit.ocr.charset import Charset as Charset
    from neuronkit.ocr.craft import CraftProcessor as CraftProcessor
    from neuronkit.ocr.crops import crop_words as crop_words
    from neuronkit.ocr.ctc import CtcProcessor as CtcProcessor
    from neuronkit.ocr.doctr import DoctrProcessor as DoctrProcessor
    from neuronkit.ocr.geometry import Letterbox as Letterbox
    from neuronkit.ocr.geometry import TextBox as TextBox
    from neuronkit.ocr.images import ImagePage as ImagePage
    from neuronkit.ocr.images import ImageWarning as ImageWarning
    from neuronkit.ocr.images import image_pages as image_pages
    from neuronkit.ocr.images import load_image as load_image
    from neuronkit.ocr.images import load_images as load_images
    from neuronkit.ocr.images import page_stream as page_stream
    from neuronkit.ocr.page import Line as Line
    from neuronkit.ocr.page import Page as Page
    from neuronkit.ocr.page import Word as Word
    from neuronkit.ocr.parseq import ParseqProcessor as ParseqProcessor
    from neuronkit.ocr.parseq import Recognition as Recognition
    from neuronkit.ocr.pipeline import OCRPipeline as OCRPipeline
    from neuronkit.ocr.pipeline.folding import fold_normalization as fold_normalization
    from neuronkit.ocr.processors import processor_from_dict as processor_from_dict
    from neuronkit.ocr.writers import save_pages as save_pages

_HOMES = {
    "Charset": "charset",
    "CraftProcessor": "craft",
    "CtcProcessor": "ctc",
    "DoctrProcessor": "doctr",
    "ImagePage": "images",
    "ImageWarning": "images",
    "Letterbox": "geometry",
    "Line": "page",
    "OCRPipeline": "pipeline",
    "Page": "page",
    "ParseqProcessor": "parseq",
    "Recognition": "parseq",
    "TextBox": "geometry",
    "Word": "page",
    "crop_words": "crops",
    "find_boxes": "boxes",
    "fold_normalization": "pipeline.folding",
    "image_pages": "images",
    "load_image": "images",
    "load_images": "images",
    "page_stream": "images",
    "processor_from_dict": "processors",
    "save_pages": "writers",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
