"""Pictures for whatever reads some."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image


def encode(picture: Any, format: str = "PNG", **options: Any) -> bytes:
    """An image file of a Pillow image, or of pixels (H, W, 3) uint8."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def noise(height: int, width: int, seed: int = 0) -> Any:
    """Random pixels (H, W, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
