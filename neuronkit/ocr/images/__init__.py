"""Images, whatever they are given as, as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.ocr.images.loading import MAX_PIXELS as MAX_PIXELS
    from neuronkit.ocr.images.loading import ImageLike as ImageLike
    from neuronkit.ocr.images.loading import RGBImage as RGBImage
    from neuronkit.ocr.images.loading import as_batch as as_batch
    from neuronkit.ocr.images.loading import load_image as load_image

_HOMES = {
    "MAX_PIXELS": "loading",
    "ImageLike": "loading",
    "RGBImage": "loading",
    "as_batch": "loading",
    "load_image": "loading",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
