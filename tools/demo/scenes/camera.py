"""What light, lens, sensor and file format do to a picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]


def shade(rng: np.random.Generator, image: Pixels) -> Pixels:
    """Let light fall unevenly: a slope, the edge of a shadow, a shine."""
    height, width = image.shape[:2]
    kind = rng.random()
    if kind < 0.25:
        left, right = rng.uniform(0.5, 1.2, size=2)
        across = np.linspace(left, right, width, dtype=np.float32)
        return image * across[None, :, None]
    if kind < 0.37:
        light = np.ones((height, width), np.float32)
        x0, x1 = rng.uniform(-0.2, 1.2, size=2) * width
        edge = np.array([(x0, 0), (x1, height), (width * 2, height), (width * 2, 0)]).astype(np.int32)
        cv2.fillPoly(light, [edge], float(rng.uniform(0.4, 0.8)))
        soft = float(rng.uniform(0.5, 6))
        return image * cv2.GaussianBlur(light, (0, 0), soft)[..., None]
    if kind < 0.43:
        y, x = np.mgrid[:height, :width].astype(np.float32)
        cx, cy = rng.uniform(0, 1, size=2) * [width, height]
        reach = float(rng.uniform(0.4, 1.5)) * height
        shine = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * reach**2))
        return image + (shine * np.float32(rng.uniform(30, 120)))[..., None]
    return image


def shrink(rng: np.random.Generator, image: Pixels) -> Pixels:
    """Resize a crop to a height between barely readable and sharp."""
    height = int(np.exp(rng.uniform(np.log(13), np.log(64))))
    scale = height / image.shape[0]
    size = (int(np.clip(image.shape[1] * scale, 6, 1024)), height)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR))


def photograph(rng: np.random.Generator, image: Pixels, text_height: float) -> NDArray[np.uint8]:
    """Take the picture: blur of focus or motion, noise, contrast, JPEG.

    Args:
        rng: Source of every choice.
        image: (H, W, 3) float32, 0..255.
        text_height: Of the smallest text in pixels, which the blur must leave readable.
    """
    image = _blur(rng, image, text_height)
    image = _tone(rng, image)
    sigma = float(rng.uniform(0, 14)) if rng.random() < 0.5 else 2.0
    noise = rng.standard_normal((*image.shape[:2], 3 if rng.random() < 0.6 else 1), np.float32)
    image = image + noise * np.float32(sigma)
    taken = np.clip(image, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(12, 90))]
        taken = np.asarray(cv2.imdecode(cv2.imencode(".jpg", taken, quality)[1], cv2.IMREAD_COLOR), np.uint8)
    return taken


def _blur(rng: np.random.Generator, image: Pixels, height: float) -> Pixels:
    kind = rng.random()
    if kind < 0.3:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.2, 0.04 * height + 0.2))), np.float32)
    if kind < 0.42:
        length = max(2.0, float(rng.uniform(0.05, 0.16)) * height)
        reach = int(np.ceil(length / 2))
        kernel = np.zeros((2 * reach + 1,) * 2, np.float32)
        angle = rng.uniform(0, np.pi)
        dx, dy = np.cos(angle) * length / 2, np.sin(angle) * length / 2
        ends = [tuple(round(v) for v in (reach + s * dx, reach + s * dy)) for s in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA)
        return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.float32)
    if kind < 0.5:
        sharp = float(rng.uniform(0.3, 1.2))
        return image + (image - cv2.GaussianBlur(image, (0, 0), 1.0)) * np.float32(sharp)
    return image


def _tone(rng: np.random.Generator, image: Pixels) -> Pixels:
    if rng.random() < 0.25:
        grey = image @ np.array([0.114, 0.587, 0.299], np.float32)
        image = np.repeat(grey[..., None], 3, axis=2)
    if rng.random() < 0.3:
        gain, offset = rng.uniform(0.45, 1.25), rng.uniform(-25, 60)
        image = image * np.float32(gain) + np.float32(offset)
    return np.clip(image, 0, 255)
