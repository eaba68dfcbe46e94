"""Images, whatever they are given as, as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.ocr.images.loading import image_pages as image_pages
    from neuronkit.ocr.images.loading import load_image as load_image
    from neuronkit.ocr.images.loading import load_images as load_images
    from neuronkit.ocr.images.loading import load_pixels as load_pixels
    from neuronkit.ocr.images.loading import open_page as open_page
    from neuronkit.ocr.images.opening import image_endings as image_endings
    from neuronkit.ocr.images.opening import is_image_file as is_image_file
    from neuronkit.ocr.images.sources import page_stream as page_stream
    from neuronkit.ocr.images.types import MAX_PIXELS as MAX_PIXELS
    from neuronkit.ocr.images.types import PDF_DPI as PDF_DPI
    from neuronkit.ocr.images.types import ImageLike as ImageLike
    from neuronkit.ocr.images.types import ImagePage as ImagePage
    from neuronkit.ocr.images.types import ImageWarning as ImageWarning
    from neuronkit.ocr.images.types import RGBImage as RGBImage
    from neuronkit.ocr.images.types import as_batch as as_batch
    from neuronkit.ocr.images.types import describe as describe

_HOMES = {
    "load_pixels": "loading",
    "ImageWarning": "types",
    "open_page": "loading",
    "is_image_file": "opening",
    "describe": "types",
    "load_images": "loading",
    "page_stream": "sources",
    "PDF_DPI": "types",
    "image_pages": "loading",
    "image_endings": "opening",
    "ImagePage": "types",
    "MAX_PIXELS": "types",
    "ImageLike": "types",
    "RGBImage": "types",
    "as_batch": "types",
    "load_image": "loading",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
