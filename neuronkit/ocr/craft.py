"""CRAFT's pre- and post-processing, as in clovaai/CRAFT-pytorch: images to its input, score maps to boxes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuronkit import checks
from neuronkit.errors import OptionError, SpecError
from neuronkit.ocr._arrays import to_numpy
from neuronkit.ocr._cv2 import load_cv2
from neuronkit.ocr._settings import Settings
from neuronkit.ocr.boxes import find_boxes as find_boxes
from neuronkit.ocr.geometry import STRIDE, Letterbox, TextBox
from neuronkit.ocr.images import ImageLike, RGBImage, as_batch, load_pixels
from neuronkit.ocr.images.normalization import Normalization

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def _normalization(mean: tuple[float, ...], std: tuple[float, ...]) -> Normalization:
    return Normalization(1.0, tuple(m * 255.0 for m in mean), tuple(s * 255.0 for s in std))


NORMALIZATION = _normalization(MEAN, STD)
_ORIGINS: dict[str, dict[str, Any]] = {
    "clovaai": {},
    "easyocr": {"canvas_size": 2560, "mag_ratio": 1.0},
    "zerohertz": {
        "canvas_size": 2380,
        "mag_ratio": 2.75,
        "text_threshold": 0.5,
        "link_threshold": 0.2,
        "low_text": 0.6,
        "min_polygon_side": 30,
        "crop_padding": True,
    },
}
_LARGEST_CANVAS = 32_768


@dataclass(frozen=True, kw_only=True)
class CraftProcessor(Settings):
    """Turns images into CRAFT's input, and its score maps into boxes.

    Args:
        canvas_size: Longest side of a scaled image, in pixels. None is the original's 1280, or with a fixed `canvas`
            that canvas alone.
        mag_ratio: How much an image may be enlarged.
        canvas: (height, width) of a fixed canvas, for a detector with a fixed input shape; multiples of 32. None
            takes the smallest that holds the batch, as in the original.
        mean: Mean of red, green and blue, 0..1.
        std: Their standard deviation.
        raw_images: Give uint8 canvases, for a detector that normalises them itself; see `fold_normalization`.
        text_threshold: A word has a region score of at least this somewhere, 0..1.
        link_threshold: Pixels with a higher affinity score join what they touch, 0..1.
        low_text: Pixels with a higher region score belong to a word, 0..1.
        polygons: Fit polygons to curved words too.
        count_characters: Count the characters of each word.
        min_area: Fewest pixels of text and link in a word, in the score map.
        min_polygon_side: Words with a shorter side, in pixels of the score map, get no polygon.
        crop_padding: Search the scaled image alone, without what rounds its canvas up to multiples of 32.

    Raises:
        OptionError: If a value is out of its range.

    Examples:
        >>> canvas, letterboxes = CraftProcessor(canvas=(64, 96)).preprocess([np.zeros((50, 80, 3), np.uint8)])
        >>> canvas.shape, letterboxes[0].valid_size
        ((1, 3, 64, 96), (64, 96))
    """

    kind: ClassVar[str] = "craft"

    canvas_size: int | None = None
    mag_ratio: float = 1.5
    canvas: tuple[int, int] | None = None
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    raw_images: bool = False
    text_threshold: float = 0.7
    link_threshold: float = 0.4
    low_text: float = 0.4
    polygons: bool = False
    count_characters: bool = False
    min_area: int = 10
    min_polygon_side: int = 10
    crop_padding: bool = False

    def __post_init__(self) -> None:
        checks.set_field(self, "mag_ratio", checks.number, 0, 100, open_low=True)
        checks.set_field(self, "mean", checks.numbers, 3, 0, 1)
        checks.set_field(self, "std", checks.numbers, 3, 0, 1, open_low=True)
        for name in ("text_threshold", "link_threshold", "low_text"):
            checks.set_field(self, name, checks.number, 0, 1)
        for name in ("min_area", "min_polygon_side"):
            checks.set_field(self, name, checks.integer, 1, 1 << 31)
        for name in ("raw_images", "polygons", "count_characters", "crop_padding"):
            checks.set_field(self, name, checks.flag)
        checks.set_field(self, "canvas", checks.integers, 2, STRIDE, _LARGEST_CANVAS, optional=True)
        if any(side % STRIDE for side in self.canvas or ()):
            raise OptionError(
                f"got canvas={self.canvas} (height, width); expected multiples of {STRIDE}, CRAFT's stride; "
                f"give {tuple(-(-side // STRIDE) * STRIDE for side in self.canvas or ())}"
            )
        if self.canvas_size is None:
            object.__setattr__(self, "canvas_size", 1280 if self.canvas is None else max(self.canvas))
        checks.set_field(self, "canvas_size", checks.integer, STRIDE, _LARGEST_CANVAS)

    @classmethod
    def like(cls, origin: str, **changes: Any) -> CraftProcessor:
        """Make a processor with the settings of a published program.

        Args:
            origin: ``"clovaai"`` (CRAFT-pytorch), ``"easyocr"``, or ``"zerohertz"`` (the port to Inferentia).
            changes: Fields that are to differ.

        Raises:
            OptionError: If the program is unknown, or a value out of its range.
        """
        return cls(**{**_ORIGINS[checks.choice("origin", origin, sorted(_ORIGINS))], **changes})

    def preprocess(self, images: Sequence[ImageLike]) -> tuple[NDArray[Any], list[Letterbox]]:
        """Scale, place and normalise a batch of images (clovaai/CRAFT-pytorch, imgproc.py).

        Args:
            images: N images, each a path, bytes, an open file, a Pillow image or an array; see `load_image`.

        Returns:
            (N, 3, H, W) float32, RGB, normalised, each image at the top left of the canvas and normalised zeros
            around it (uint8, 0..255, with plain zeros with `raw_images`); and where each image lies in it.
            Without a fixed canvas, H and W are the largest of the batch.

        Raises:
            ImageError: If an image is empty, unreadable or not an image.
            SpecError: If there is no image, or no memory for the canvas.
        """
        arrays = [load_pixels(image) for image in as_batch(images)]
        letterboxes = [self.letterbox(array.shape[:2]) for array in arrays]
        height = max(letterbox.canvas_size[0] for letterbox in letterboxes)
        width = max(letterbox.canvas_size[1] for letterbox in letterboxes)
        letterboxes = [dataclasses.replace(box, canvas_size=(height, width)) for box in letterboxes]
        table = None if self.raw_images else self.normalization.table()
        canvas = _empty((len(arrays), 3, height, width), np.uint8 if self.raw_images else np.float32)
        for out, array, letterbox in zip(canvas, arrays, letterboxes, strict=True):
            _place(out, array, letterbox, table)
        return canvas, letterboxes

    @property
    def normalization(self) -> Normalization:
        """The normalisation of levels 0..255."""
        return _normalization(self.mean, self.std)

    def letterbox(self, source_size: tuple[int, int]) -> Letterbox:
        """Plan where an image of (height, width) goes in the canvas.

        Raises:
            OptionError: If `source_size` is not two whole numbers above 0.
        """
        limit = self.canvas_size or 1280
        return Letterbox.fit(source_size, canvas_size=limit, mag_ratio=self.mag_ratio, canvas=self.canvas)

    def postprocess(self, score_maps: Any, letterboxes: Sequence[Letterbox]) -> list[list[TextBox]]:
        """Find the words of a batch.

        Args:
            score_maps: (N, H/2, W/2, 2) array or tensor, channel 0 the region and 1 the affinity score, of the
                canvases that `preprocess` gave.
            letterboxes: N, as `preprocess` gave them.

        Returns:
            For each image its boxes, in source pixels, in the order of `find_boxes`.

        Raises:
            SpecError: If the score maps do not belong to the letterboxes, or are not finite.
        """
        maps = to_numpy(score_maps)
        if not isinstance(letterboxes, (list, tuple)) or not all(isinstance(box, Letterbox) for box in letterboxes):
            raise SpecError(
                f"got letterboxes={checks.shown(letterboxes)}; expected a list of Letterbox objects; "
                "give what preprocess gave"
            )
        wrong = [b for b in letterboxes if maps.shape[1:] != (b.canvas_size[0] // 2, b.canvas_size[1] // 2, 2)]
        if maps.ndim != 4 or len(maps) != len(letterboxes) or wrong:
            canvas = wrong[0].canvas_size if wrong else "none"
            raise SpecError(
                f"got score maps of shape {maps.shape}, which do not belong to {len(letterboxes)} letterboxes (canvas "
                f"{canvas}); expected (N, H/2, W/2, 2) for N canvases of (H, W); give what the detector made of them"
            )
        if len(letterboxes) == 1:
            return [self._boxes(maps[0], letterboxes[0])]
        # OpenCV and most of NumPy release the interpreter's lock, so images run side by side.
        with ThreadPoolExecutor(max_workers=min(len(letterboxes) or 1, os.cpu_count() or 1)) as threads:
            return list(threads.map(self._boxes, maps, letterboxes))

    def _boxes(self, scores: NDArray[Any], letterbox: Letterbox) -> list[TextBox]:
        searched = letterbox.resized_size if self.crop_padding else letterbox.valid_size
        height, width = (max(1, side // 2) for side in searched)
        found = find_boxes(
            scores[:height, :width, 0],
            scores[:height, :width, 1],
            text_threshold=self.text_threshold,
            link_threshold=self.link_threshold,
            low_text=self.low_text,
            polygons=self.polygons,
            count_characters=self.count_characters,
            min_area=self.min_area,
            min_polygon_side=self.min_polygon_side,
        )
        return [
            TextBox(
                letterbox.to_source(box.quad, stride=2),
                box.confidence,
                None if box.polygon is None else letterbox.to_source(box.polygon, stride=2),
                box.characters,
            )
            for box in found
        ]


def _empty(shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    try:
        return np.empty(shape, dtype)
    except MemoryError as error:
        raise SpecError(
            f"got a canvas of {shape}, for which there is no memory ({error}); expected a smaller one; "
            "give fewer images"
        ) from error


def _place(out: NDArray[Any], image: RGBImage, letterbox: Letterbox, table: NDArray[np.float32] | None) -> None:
    """Write one image into its (3, H, W) canvas.

    Resized images are whole numbers again, so normalising is looking up one of 256 values; and the original
    normalises its zeros too, so they are level 0 of the table.
    """
    cv2 = load_cv2()
    height, width = letterbox.resized_size
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    for index, plane in enumerate(cv2.split(resized)):
        channel = out[index]
        channel[:height, :width] = plane if table is None else cv2.LUT(plane, table[index])
        zero = 0 if table is None else table[index, 0]
        channel[height:] = zero
        channel[:height, width:] = zero
