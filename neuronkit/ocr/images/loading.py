"""Anything that people call an image, as one kind of array."""

from __future__ import annotations

import io
import os
from typing import IO, TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray

from neuronkit.errors import ImageError, NeuronKitError, SpecError
from neuronkit.ocr._arrays import to_numpy

if TYPE_CHECKING:
    from PIL import Image

ImageLike = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, IO[bytes], "Image.Image", NDArray[Any]]
RGBImage = NDArray[np.uint8]

MAX_PIXELS = 178_956_970
"""Largest image that is decoded, in pixels (Pillow's own limit for decompression bombs: half a gigabyte of RGB)."""


def load_image(source: ImageLike, *, max_pixels: int = MAX_PIXELS) -> RGBImage:
    """Read an image, whatever it is given as.

    Args:
        source: A path, the bytes of an image file, an open binary file, a Pillow image, or an array:
            (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA; uint8 or another integer type in 0..255,
            uint16 in 0..65535, bool, or floating point in 0..1.
        max_pixels: Largest height * width that is accepted. Pillow's own limit for files holds as well.

    Returns:
        (H, W, 3) uint8, RGB, 0..255, upright: the rotation that a camera notes in EXIF is applied. Transparency
        is dropped, as the originals do; of an animation or a multi-page file the first page is taken. An array
        that is (H, W, 3) uint8 comes back as it is, not copied.

    Raises:
        ImageError: If `source` is empty, unreadable, too large, or not an image.
    """
    try:
        if _is_array(source):
            return _from_array(to_numpy(source), max_pixels)
        return _from_pillow(source, max_pixels)
    except NeuronKitError:
        raise
    # Decoders of broken files raise nearly anything: SyntaxError, struct.error, IndexError, MemoryError...
    except Exception as error:
        raise ImageError(
            f"{describe(source)} cannot be read as an image ({type(error).__name__}: {error}); "
            "give a path, the bytes of an image file, a Pillow image or an (H, W, 3) uint8 array"
        ) from error


def as_batch(images: Any) -> list[Any]:
    """Check that `images` is a list of images, and not one by itself; an (N, H, W, C) array is N images."""
    if isinstance(images, np.ndarray) and images.ndim == 4:
        images = list(images)
    if not isinstance(images, (list, tuple)):
        raise SpecError(f"images are a {type(images).__name__}; give a list of images, also for a single one")
    if not images:
        raise SpecError("the list of images is empty; give at least one")
    return list(images)


def describe(source: Any) -> str:
    """Say in a few words what was given."""
    if isinstance(source, (str, os.PathLike)):
        return f"{os.fspath(source)!r:.500}"
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"{len(source)} bytes"
    if isinstance(source, np.ndarray):
        return f"an array of shape {source.shape} and dtype {source.dtype}"
    return f"a {type(source).__name__}"


def _is_array(source: Any) -> bool:
    return isinstance(source, np.ndarray) or (hasattr(source, "detach") and hasattr(source, "cpu"))


def _from_pillow(source: Any, max_pixels: int) -> RGBImage:
    from PIL import Image, UnidentifiedImageError

    if isinstance(source, Image.Image):
        return _decode(source, max_pixels)
    try:
        with Image.open(_openable(source)) as image:
            return _decode(image, max_pixels)
    except UnidentifiedImageError as error:
        # Pillow's own text names the address of an object in memory.
        raise ImageError(
            f"{describe(source)} cannot be read as an image: it is in no format that Pillow knows; give a whole image "
            "file, such as PNG or JPEG"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{describe(source)} is larger than Pillow opens ({error}); scale it down or cut it into tiles, or raise "
            "PIL.Image.MAX_IMAGE_PIXELS and max_pixels if you trust where it comes from"
        ) from error


def _openable(source: Any) -> Any:
    if isinstance(source, (bytes, bytearray, memoryview)):
        if not len(source):
            raise ImageError("0 bytes were given, and every image file has a header; check where they come from")
        return io.BytesIO(source)
    if isinstance(source, (str, os.PathLike)):
        return _existing_file(os.fspath(source))
    if hasattr(source, "read"):
        return source
    raise ImageError(
        f"{describe(source)} is not an image; give a path, the bytes of an image file, "
        "an open binary file, a Pillow image or an (H, W, 3) uint8 array; a reader takes a list of them too"
    )


def _existing_file(path: Any) -> Any:
    if not isinstance(path, str):
        raise ImageError(f"path {path!r:.500} is not text; give a str or a pathlib.Path")
    if os.path.isfile(path):
        return path
    if "://" in path:
        raise ImageError(f"{path!r:.500} is an address, not a path; download it and give its bytes")
    found = "a folder" if os.path.isdir(path) else "no ordinary file" if os.path.exists(path) else "not there"
    raise ImageError(f"{path!r:.500} is {found}; give the path of an image file")


def _decode(image: Image.Image, max_pixels: int) -> RGBImage:
    from PIL import ImageOps

    if image.format == "EPS":
        raise ImageError("the image is EPS, a program that Pillow has Ghostscript run; convert it to PNG or JPEG")
    # Only the header has been read so far: nothing of a bomb is decoded.
    _check_size(image.height, image.width, max_pixels)
    # Pillow opens 16-bit PPM files, and before release 11 PNG files too, in 32 bits.
    sixteen_bits = image.mode == "I" and image.format in ("PNG", "PPM")
    image = ImageOps.exif_transpose(image)
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        pixels = np.asarray(image)
        return _from_array(pixels.astype(np.uint16) if sixteen_bits else pixels, max_pixels)
    if image.mode == "P" and "transparency" in image.info:
        # Pillow warns of the direct way.
        image = image.convert("RGBA")
    rgb: RGBImage = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    return rgb


def _check_size(height: int, width: int, max_pixels: int) -> None:
    if height < 1 or width < 1:
        raise ImageError(f"the image is empty: height {height}, width {width}; give one with at least one pixel")
    if height * width > max_pixels:
        raise ImageError(
            f"the image has {height} x {width} pixels, more than max_pixels={max_pixels}; "
            "scale it down or cut it into tiles, or raise the limit if you trust where it comes from"
        )


def _from_array(array: NDArray[Any], max_pixels: int) -> RGBImage:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        hint = ""
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            hint = " (channels come last: image.transpose(1, 2, 0))"
        raise ImageError(f"{describe(array)} is not an image; give (H, W), (H, W, 3) RGB or (H, W, 4) RGBA{hint}")
    _check_size(array.shape[0], array.shape[1], max_pixels)
    given = describe(array)
    pixels = _to_uint8(array[:, :, None] if array.ndim == 2 else array[:, :, :3], given)
    return pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels


def _to_uint8(array: NDArray[Any], given: str) -> NDArray[np.uint8]:
    kind = array.dtype.kind
    if array.dtype == np.uint8:
        return array
    if kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if kind not in "iuf":
        raise ImageError(f"{given} holds no brightnesses; give uint8 in 0..255 or floats in 0..1")
    low, high = float(array.min()), float(array.max())
    # 16 bits a channel: uint16 arrays, and what Pillow makes of 16-bit files.
    sixteen_bits = array.dtype.newbyteorder("=") == np.uint16 or high > 255
    limit = 1.0 if kind == "f" else 65535.0 if sixteen_bits else 255.0
    # Written so that NaN fails it too.
    if not (low >= 0.0 and high <= limit):
        raise ImageError(
            f"{given} has values from {low:g} to {high:g}, expected "
            f"{'0 to 1' if kind == 'f' else '0 to 255, or 0 to 65535 for 16 bits'}; scale it, or convert it to uint8"
        )
    return np.rint(array * np.float64(255.0 / limit)).astype(np.uint8)
