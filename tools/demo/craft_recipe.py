"""The training recipe of the demo's CRAFT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuronkit.demo.pages import RenderedPage, render_page
from neuronkit.models.craft import CRAFT
from neuronkit.ocr.craft import MEAN, STD
from tools.demo.recipe import Batch, Recipe
from tools.demo.scenes.pages import render_scene
from tools.demo.scenes.words import Scenery
from tools.demo.targets import score_maps

_WIDTH = 12 / 64
_PLAIN_SHARE = 0.25


@dataclass(frozen=True)
class CraftRecipe(Recipe):
    """CRAFT on small pages, by squared error, with hard negative mining.

    Attributes:
        page_size: Height and width of a page, in pixels.
        scenery: What three in four pages are scenes of; None renders the package's own pages alone.
    """

    name: str = "craft"
    steps: int = 1500
    learning_rate: float = 1.0e-3
    warmup: int = 100
    batch_size: int = 4
    page_size: int = 320
    scenery: Scenery | None = None

    def hyper_parameters(self) -> dict[str, Any]:
        # The width, its only one, follows from the shapes.
        return {}

    def build(self) -> CRAFT:
        return CRAFT(width=_WIDTH)

    def batch(self, seed: int, step: int) -> Batch:
        rng = np.random.default_rng([seed, step])
        size = (self.page_size, self.page_size)
        pages = [self._page(rng, size) for _ in range(self.batch_size)]
        return {
            "images": np.stack([page.image for page in pages]),
            "maps": np.stack([score_maps(page.words, size) for page in pages]),
        }

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "scenery": self.scenery and len(self.scenery.faces)}

    def _page(self, rng: np.random.Generator, size: tuple[int, int]) -> RenderedPage:
        if self.scenery is None or rng.random() < _PLAIN_SHARE:
            return render_page(rng, size)
        return render_scene(rng, size, self.scenery)

    def loss(self, model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        pixels = (batch["images"].float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
        images = pixels.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        scores, maps = model(images)[0].float(), batch["maps"]
        errors, inside = (scores - maps) ** 2, maps > 0.1
        positives = int(inside.sum())
        # Nine in ten pixels are background; only the hardest count, three for each pixel of text.
        hard = torch.topk(errors[~inside], min(max(3 * positives, 100), int((~inside).sum()))).values
        loss = errors[inside].sum() / max(positives, 1) + hard.mean()
        wanted, found = maps > 0.4, scores > 0.4
        overlap = (wanted & found).sum() / (wanted | found).sum().clamp(min=1)
        return loss, overlap
