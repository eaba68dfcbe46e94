"""OpenCV, imported when the first pixel is touched and not before."""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType

from neuronkit.errors import MissingDependencyError


@lru_cache(maxsize=1)
def load_cv2() -> ModuleType:
    """Import OpenCV.

    Raises:
        MissingDependencyError: If OpenCV is missing, or is there and cannot be loaded. The usual reason is a slim
            container without the display libraries (``libGL.so.1``) that the ordinary build links to.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingDependencyError(
            f"OpenCV cannot be imported ({error}); neuronkit.ocr needs it to resize images and to find boxes. "
            "The build without display libraries works everywhere: "
            "`pip uninstall -y opencv-python && pip install opencv-python-headless`"
        ) from error
    return cv2
