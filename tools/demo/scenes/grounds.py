"""What text is printed on: photographs that packages ship, gradients and textures."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from neuronkit.errors import MissingDependencyError

Pixels = NDArray[np.float32]

# Without readable text: pages and logos of the same packages are left out.
_PHOTOGRAPHS = {
    "skimage": (
        "data",
        "astronaut brick camera chelsea clock_motion coffee coins grass gravel hubble_deep_field ihc moon "
        "motorcycle_left motorcycle_right retina rocket color cell",
    ),
    "sklearn": ("datasets/images", "china flower"),
}


@dataclass(frozen=True)
class Grounds:
    """Photographs to cut grounds from, (H, W, 3) uint8 each; without any, all grounds are drawn."""

    photographs: tuple[NDArray[np.uint8], ...] = ()

    @classmethod
    def installed(cls) -> Grounds:
        """Read the photographs of scikit-image and scikit-learn.

        Raises:
            MissingDependencyError: If one of them is not installed.
        """
        pictures = []
        for package, (folder, names) in _PHOTOGRAPHS.items():
            found = importlib.util.find_spec(package)
            if found is None or found.origin is None:
                raise MissingDependencyError(f"{package} is missing; expected its photographs; make .venv-train/.ready")
            place = Path(found.origin).parent / folder
            for name in names.split():
                pictures += [_read(path) for path in sorted(place.glob(f"{name}.*")) if path.suffix in (".png", ".jpg")]
        return cls(tuple(pictures))

    def cut(self, rng: np.random.Generator, size: tuple[int, int]) -> Pixels:
        """Make a ground, (H, W, 3) float32, 0..255: a piece of a photograph, or a plain, shaded or textured one."""
        if rng.random() < 0.25:
            return self.paper(rng, size)
        kind = rng.random()
        if self.photographs and kind < 0.5:
            ground = self._photograph(rng, size)
            if rng.random() < 0.5:
                ground = np.asarray(cv2.GaussianBlur(ground, (0, 0), float(rng.uniform(0.5, 6))), np.float32)
            if rng.random() < 0.5:
                # Paler or darker, as paper and painted walls are.
                ground += (_colour(rng) - ground) * np.float32(rng.uniform(0.3, 0.9))
            return ground
        ground = np.empty((*size, 3), np.float32)
        ground[:] = _colour(rng)
        if kind < 0.8:
            ground += _slope(rng, size, 70)
        if kind > 0.75:
            ground += _texture(rng, size)[..., None]
        return ground

    def paper(self, rng: np.random.Generator, size: tuple[int, int]) -> Pixels:
        """Receipts, labels and documents: nearly white, lit from one side."""
        ground = np.empty((*size, 3), np.float32)
        ground[:] = rng.uniform(130, 250) + rng.uniform(-14, 14, size=3)
        return np.asarray(ground + _slope(rng, size, 50), np.float32)

    def _photograph(self, rng: np.random.Generator, size: tuple[int, int]) -> Pixels:
        picture = self.photographs[rng.integers(len(self.photographs))]
        most = min(picture.shape[0] / size[0], picture.shape[1] / size[1])
        zoom = float(np.exp(rng.uniform(np.log(0.25), np.log(3)))) if most > 3 else most * float(rng.uniform(0.3, 1))
        zoom = min(zoom, most)
        height, width = max(1, int(size[0] * zoom)), max(1, int(size[1] * zoom))
        y = int(rng.integers(picture.shape[0] - height + 1))
        x = int(rng.integers(picture.shape[1] - width + 1))
        piece = cv2.resize(picture[y : y + height, x : x + width], size[::-1], interpolation=cv2.INTER_AREA)
        return piece[:, :, rng.permutation(3)].astype(np.float32, order="C")


def _read(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise MissingDependencyError(f"{path} cannot be read as an image; install its package anew")
    return np.asarray(picture, dtype=np.uint8)


def _colour(rng: np.random.Generator) -> Pixels:
    if rng.random() < 0.45:
        grey = rng.uniform(0, 256) if rng.random() < 0.5 else rng.uniform(170, 256)
        return (grey + rng.uniform(-15, 15, size=3)).astype(np.float32)
    return rng.uniform(0, 256, size=3).astype(np.float32)


def _slope(rng: np.random.Generator, size: tuple[int, int], strength: float) -> Pixels:
    down, across = rng.uniform(-strength, strength, size=2)
    y = np.linspace(-0.5, 0.5, size[0], dtype=np.float32)[:, None, None]
    x = np.linspace(-0.5, 0.5, size[1], dtype=np.float32)[None, :, None]
    return np.asarray(np.float32(down) * y + np.float32(across) * x, np.float32)


def _texture(rng: np.random.Generator, size: tuple[int, int]) -> Pixels:
    """Grain, cloth, stripes or planks, (H, W), about zero."""
    strength = float(rng.uniform(5, 45))
    kind = rng.random()
    if kind < 0.6:
        # Noise of one grain size, longer in one direction.
        cell = np.exp(rng.uniform(np.log(1), np.log(16), size=2))
        coarse = (max(2, int(size[0] / cell[0])), max(2, int(size[1] / cell[1])))
        noise = rng.standard_normal(coarse, dtype=np.float32)
        return cv2.resize(noise, size[::-1], interpolation=cv2.INTER_LINEAR) * np.float32(strength)
    angle, period = rng.uniform(0, np.pi), float(np.exp(rng.uniform(np.log(3), np.log(40))))
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    wave = np.sin((np.cos(angle) * x + np.sin(angle) * y) * (2 * np.pi / period))
    return np.asarray((np.sign(wave) if kind > 0.85 else wave) * strength * 0.6, np.float32)
